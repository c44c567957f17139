// The HTTP statuses in use, and those that answer a broken request head. Pure values, any thread.

/// A response status; the raw value is the code on the status line.
package enum HttpStatus: Int, Sendable {
    case switchingProtocols = 101
    case ok = 200
    case noContent = 204
    case notModified = 304
    case permanentRedirect = 308
    case badRequest = 400
    case unauthorized = 401
    case forbidden = 403
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case contentTooLarge = 413
    case unsupportedMediaType = 415
    case expectationFailed = 417
    case misdirectedRequest = 421
    case tooManyRequests = 429
    case headerFieldsTooLarge = 431
    case internalServerError = 500
    case serviceUnavailable = 503
    case versionNotSupported = 505

    /// The phrase behind the code (RFC 9110 section 15).
    package var reasonPhrase: StaticString {
        switch self {
        case .switchingProtocols: "Switching Protocols"
        case .ok: "OK"
        case .noContent: "No Content"
        case .notModified: "Not Modified"
        case .permanentRedirect: "Permanent Redirect"
        case .badRequest: "Bad Request"
        case .unauthorized: "Unauthorized"
        case .forbidden: "Forbidden"
        case .notFound: "Not Found"
        case .methodNotAllowed: "Method Not Allowed"
        case .requestTimeout: "Request Timeout"
        case .contentTooLarge: "Content Too Large"
        case .unsupportedMediaType: "Unsupported Media Type"
        case .expectationFailed: "Expectation Failed"
        case .misdirectedRequest: "Misdirected Request"
        case .tooManyRequests: "Too Many Requests"
        case .headerFieldsTooLarge: "Request Header Fields Too Large"
        case .internalServerError: "Internal Server Error"
        case .serviceUnavailable: "Service Unavailable"
        case .versionNotSupported: "HTTP Version Not Supported"
        }
    }

    /// 1xx and 204 have neither body nor Content-Length (RFC 9110 section 8.6), and 304 has none of its own.
    package var allowsBody: Bool {
        self != .switchingProtocols && self != .noContent && self != .notModified
    }
}

/// Why a message head is refused. The connection cannot go on: where the next request starts is unknown.
package enum HttpHeadError: Error, Equatable, Sendable {
    /// Not HTTP, or HTTP that two parsers could read in two ways.
    case malformed
    /// More bytes or more fields than allowed.
    case tooLarge
    /// HTTP of another major version than 1.
    case unsupportedVersion

    /// The answer to give before the connection is closed.
    package var status: HttpStatus {
        switch self {
        case .malformed: .badRequest
        case .tooLarge: .headerFieldsTooLarge
        case .unsupportedVersion: .versionNotSupported
        }
    }
}
