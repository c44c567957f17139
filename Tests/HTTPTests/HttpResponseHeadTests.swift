import TestSupport
import Testing

@testable import HTTP

@Suite struct HttpResponseHeadTests {
    private func parse(_ text: String) -> HttpHeadResult<HttpResponseHead> {
        withRaw(text) { HttpResponseHead.parse($0, maximumBytes: 1000) }
    }

    private func statusCode(_ line: String) -> Int? {
        if case .complete(let head) = parse(line + "\r\n\r\n") { head.statusCode } else { nil }
    }

    private func failure(_ line: String) -> HttpHeadError? {
        if case .failed(let error) = parse(line + "\r\n\r\n") { error } else { nil }
    }

    @Test func readsTheStatusLine() {
        #expect(statusCode("HTTP/1.1 101 Switching Protocols") == 101)
        #expect(statusCode("HTTP/1.0 200 OK") == 200)
        #expect(statusCode("HTTP/1.1 599 ") == 599)
        #expect(statusCode("HTTP/1.1 418") == 418)
        #expect(statusCode("HTTP/1.1 418 Ich bin\teine Teekanne, natürlich") == 418)
    }

    @Test(arguments: [
        "", "x", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1  200 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 099 X", "HTTP/1.1 600 X", "http/1.1 200 OK", "HTTP/1.1\t200 OK",
        "HTTP/1.1 200 O\rK", "HTTP/1.1 200 O\0K", "HTTP/1.1 200 \u{7f}",
    ])
    func badStatusLineIsMalformed(line: String) {
        // An empty line in front is skipped, so the field stands where the status line should.
        let fields = "\r\nX: a"
        #expect(failure(line + fields) == .malformed)
    }

    @Test func otherMajorVersionsAreUnsupported() {
        #expect(failure("HTTP/2.0 200 OK") == .unsupportedVersion)
    }

    @Test func lengthIsNilUnlessSinglePlain() {
        func length(_ fields: String) -> Int?? {
            if case .complete(let head) = parse("HTTP/1.1 200 OK\r\n\(fields)\r\n") {
                head.contentLengthBytes
            } else {
                nil
            }
        }
        #expect(length("Content-Length: 12\r\n") == .some(12))
        #expect(length("") == .some(nil))
        #expect(length("Content-Length: 1\r\nContent-Length: 1\r\n") == .some(nil))
        #expect(length("Content-Length: -1\r\n") == .some(nil))
    }
}
