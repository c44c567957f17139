// The head of one HTTP/1 request: request line, fields, and what they say about body and connection. An
// immutable value that owns its bytes, so that it may outlive the read buffer while Redis is asked. Any
// thread.

import Bytes

/// A request method; all methods that no endpoint knows are one case.
package enum HttpMethod: Sendable, Equatable {
    case get, head, post, delete, other

    init(_ name: UnsafeRawBufferPointer) {
        if name.equals(("GET" as StaticString).rawBytes) {
            self = .get
        } else if name.equals(("HEAD" as StaticString).rawBytes) {
            self = .head
        } else if name.equals(("POST" as StaticString).rawBytes) {
            self = .post
        } else if name.equals(("DELETE" as StaticString).rawBytes) {
            self = .delete
        } else {
            self = .other
        }
    }
}

/// What a request expects before it sends its body (RFC 9110 section 10.1.1).
package enum HttpExpectation: Sendable, Equatable {
    case none
    /// `100-continue`: to learn whether the server wants its body.
    case `continue`
    /// An expectation that this server does not know.
    case unknown
}

/// A request head that every parser reads in the same way (RFC 9112).
///
/// Refused as malformed: a bare line feed, folded lines, a blank in front of a colon, control characters, a
/// target with bytes outside visible ASCII or with a fragment, no Host (HTTP/1.1) or two, more than one
/// Content-Length or one that is not plain digits, and any Transfer-Encoding: no endpoint takes a body that
/// would need one.
package struct HttpRequestHead: Sendable {
    private static let continueExpectation: StaticString = "100-continue"

    package let method: HttpMethod
    /// 0 or 1; a higher minor version counts as 1 (RFC 9110 section 2.5).
    package let versionMinor: Int
    /// How many bytes of the buffer the head took, ignored empty lines in front included; the body follows.
    package let headBytes: Int
    /// The length of the body behind the head; 0 without Content-Length.
    package let contentLengthBytes: Int
    package let fields: HttpFields
    private let methodRange: Range<Int>
    private let target: RequestTarget

    /// Parses a head at the start of `bytes`, as `HttpHeadScanner.parse` does.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, maximumBytes: Int, scanner: inout HttpHeadScanner
    ) -> HttpHeadResult<HttpRequestHead> {
        scanner.parse(bytes, maximumBytes: maximumBytes) { head, headBytes throws(HttpHeadError) in
            try HttpRequestHead(head, headBytes: headBytes)
        }
    }

    /// Parses in one go, for a buffer that is not going to grow.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, maximumBytes: Int
    ) -> HttpHeadResult<HttpRequestHead> {
        var scanner = HttpHeadScanner()
        return parse(bytes, maximumBytes: maximumBytes, scanner: &scanner)
    }

    private init(_ head: UnsafeRawBufferPointer, headBytes: Int) throws(HttpHeadError) {
        let line = try RequestLine(head)
        let fields = try HttpFields(head: head, from: line.endBytes)
        methodRange = line.method
        method = HttpMethod(head.part(line.method))
        target = try RequestTarget(line.target, in: head)
        versionMinor = line.versionMinor
        self.headBytes = headBytes
        self.fields = fields
        contentLengthBytes = try HttpRequestHead.contentLength(fields)
        try HttpRequestHead.checkHost(fields, versionMinor: line.versionMinor)
    }

    /// The method as it was sent.
    package var methodName: String {
        fields.withBytes(methodRange) { String(decoding: $0, as: UTF8.self) }
    }

    /// The path as it was sent, escapes included; `/` for an absolute target without one, `*` for the
    /// asterisk form.
    /// - Complexity: O(path); no allocation up to 15 bytes.
    package var path: String {
        guard let range = target.path else { return "/" }
        return fields.withBytes(range) { String(decoding: $0, as: UTF8.self) }
    }

    /// Runs `body` with the bytes behind the target's first `?`, undecoded; none if there is no `?`.
    package func withQuery<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        fields.withBytes(target.query, body)
    }

    /// The decoded query.
    /// - Throws: `QueryError` for a bad escape, a NUL, or bytes that are not UTF-8.
    /// - Complexity: O(query).
    package func queryParameters() throws(QueryError) -> QueryParameters {
        try withQuery { query in
            Result { () throws(QueryError) in try QueryParameters(query) }
        }.get()
    }

    /// Whether the connection stays open after the answer: by default from HTTP/1.1 on, before on request.
    package var isKeepAlive: Bool {
        if fields.list("Connection", contains: "close") { return false }
        return versionMinor >= 1 || fields.list("Connection", contains: "keep-alive")
    }

    /// The answer's Connection field if the connection is to stay open when the client asks for it.
    package var connectionOption: HttpConnectionOption {
        guard isKeepAlive else { return .close }
        return versionMinor >= 1 ? .implied : .keepAlive
    }

    /// The expectation of `Expect`; an HTTP/1.0 client cannot have one.
    package var expectation: HttpExpectation {
        guard versionMinor >= 1 else { return .none }
        let count = fields.count(of: "Expect")
        guard count > 0 else { return .none }
        let isContinue = fields.first("Expect") {
            $0.equalsIgnoringCase(HttpRequestHead.continueExpectation.rawBytes)
        }
        return count == 1 && isContinue == true ? .continue : .unknown
    }

    private static func contentLength(_ fields: HttpFields) throws(HttpHeadError) -> Int {
        guard fields.count(of: "Transfer-Encoding") == 0 else { throw .malformed }
        let count = fields.count(of: "Content-Length")
        guard count > 0 else { return 0 }
        let length: Int?? = fields.first("Content-Length") { digits in
            // 18 digits fit an Int whatever they are.
            guard !digits.isEmpty, digits.count <= 18, digits.allSatisfy(Ascii.isDigit) else { return nil }
            return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        }
        guard count == 1, case .some(.some(let bytes)) = length else { throw .malformed }
        return bytes
    }

    private static func checkHost(_ fields: HttpFields, versionMinor: Int) throws(HttpHeadError) {
        let count = fields.count(of: "Host")
        guard count == 1 || (count == 0 && versionMinor == 0) else { throw .malformed }
        let isPlain = fields.first("Host") { host in
            host.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "@"), Ascii.comma,
                    UInt8(ascii: "\\"):
                    false
                default: Ascii.isVisible(byte)
                }
            }
        }
        guard isPlain != false else { throw .malformed }
    }
}
