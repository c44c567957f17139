// The head of a response as a client reads it: load tests and tests of the gateway. An immutable value, any
// thread.

import Bytes

/// Status line and fields of one HTTP/1 response.
package struct HttpResponseHead: Sendable {
    /// The status code, 100...599; it need not be one of `HttpStatus`.
    package let statusCode: Int
    /// How many bytes of the buffer the head took; the body, or the first frame, follows.
    package let headBytes: Int
    package let fields: HttpFields

    /// Parses a head at the start of `bytes`, as `HttpHeadScanner.parse` does.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, maximumBytes: Int, scanner: inout HttpHeadScanner
    ) -> HttpHeadResult<HttpResponseHead> {
        scanner.parse(bytes, maximumBytes: maximumBytes) { head, headBytes throws(HttpHeadError) in
            try HttpResponseHead(head, headBytes: headBytes)
        }
    }

    /// Parses in one go, for a buffer that is not going to grow.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, maximumBytes: Int
    ) -> HttpHeadResult<HttpResponseHead> {
        var scanner = HttpHeadScanner()
        return parse(bytes, maximumBytes: maximumBytes, scanner: &scanner)
    }

    /// The body's length as announced; nil without a single, plain Content-Length.
    package var contentLengthBytes: Int? {
        guard fields.count(of: "Content-Length") == 1, let digits = fields.value(of: "Content-Length"),
            digits.utf8.allSatisfy(Ascii.isDigit)
        else { return nil }
        return Int(digits)
    }

    /// `HTTP/1.x SP 3 digits [SP reason]`
    private init(_ head: UnsafeRawBufferPointer, headBytes: Int) throws(HttpHeadError) {
        guard let lineFeed = Word.firstOffset(of: Ascii.lineFeed, in: head, from: 0), lineFeed >= 13,
            head[8] == Ascii.space, head[9...11].allSatisfy(Ascii.isDigit),
            lineFeed == 13 || head[12] == Ascii.space,
            // RFC 9112 section 2.2: a carriage return alone makes the line invalid; so does any control
            // character.
            head[12..<lineFeed - 1].allSatisfy(Ascii.isFieldValueByte)
        else { throw .malformed }
        _ = try RequestLine.minorVersion(head.part(0..<8))
        statusCode = head[9...11].reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        guard (100...599).contains(statusCode) else { throw .malformed }
        self.headBytes = headBytes
        fields = try HttpFields(head: head, from: lineFeed + 1)
    }
}
