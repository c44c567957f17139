// What a peer may ask of an HTTP connection's patience and memory. Immutable, any thread.

import HTTP

/// The limits of one HTTP connection: what options say, beside `Limits`.
struct HttpLimits {
    let maximumHeaderBytes: Int
    /// From the first byte of a request (or from the connection's begin) to the end of its head.
    let requestTimeout: Duration
    /// From an answer to the next request.
    let keepAliveTimeout: Duration

    init(_ configuration: Configuration) {
        maximumHeaderBytes = configuration.maximumHeaderBytes
        requestTimeout = configuration.requestTimeout
        keepAliveTimeout = configuration.keepAliveTimeout
    }

    /// What is wrong with a head that is refused.
    func detail(of error: HttpHeadError) -> String {
        switch error {
        case .malformed: "the request head is malformed, or two parsers could read it in two ways"
        case .tooLarge:
            "the request head is over \(maximumHeaderBytes) bytes, its Cookie fields over "
                + "\(HttpHeadScanner.maximumCookieBytes), or it has over \(HttpFields.maximumCount) fields"
        case .unsupportedVersion: "only HTTP/1.1 and HTTP/1.0 are spoken here"
        }
    }
}
