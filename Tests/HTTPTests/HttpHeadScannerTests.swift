import TestSupport
import Testing

@testable import HTTP

@Suite struct HttpHeadScannerTests {
    private func scan(_ text: String, limit: Int = 1000) -> HttpHeadScanner.Progress {
        var scanner = HttpHeadScanner()
        return withRaw(text) { scanner.scan($0, maximumBytes: limit) }
    }

    @Test func findsTheEmptyLine() {
        #expect(scan("") == .incomplete)
        #expect(scan("a\r\n") == .incomplete)
        #expect(scan("a\r\n\r") == .incomplete)
        #expect(scan("a\r\n\r\n") == .complete(start: 0, end: 5))
        #expect(scan("a\r\n\r\nb\r\n\r\n") == .complete(start: 0, end: 5))
        #expect(scan("\r\n\r\na\r\nb\r\n\r\nc") == .complete(start: 4, end: 12))
    }

    @Test func aSenderOfSingleBytesIsReadOnce() {
        let bytes = Array(("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 200) + "\r\n\r\n").utf8)
        var scanner = HttpHeadScanner()
        // What was searched is overwritten with bytes that would end the scan if they were looked at again.
        for length in 1..<bytes.count {
            var seen = [UInt8](repeating: 0x0A, count: length)
            seen[length - 1] = bytes[length - 1]
            if length > 1 { seen[length - 2] = bytes[length - 2] }
            #expect(withRaw(seen) { scanner.scan($0, maximumBytes: 1000) } == .incomplete, "\(length) bytes")
        }
        #expect(
            withRaw(bytes) { scanner.scan($0, maximumBytes: 1000) } == .complete(start: 0, end: bytes.count))
    }

    @Test func limitCountsWhatTheHeadMustStillGrow() {
        #expect(scan("a\r\n\r\n", limit: 5) == .complete(start: 0, end: 5))
        #expect(scan("a\r\n\r\n", limit: 4) == .failed(.tooLarge))
        #expect(scan("a\r\n\r", limit: 4) == .failed(.tooLarge))
        #expect(scan("a\r\n\r", limit: 5) == .incomplete)
        #expect(scan("", limit: 0) == .failed(.tooLarge))
    }

    private static let cookieBytes = HttpHeadScanner.maximumCookieBytes

    /// A Cookie field that takes so many bytes with its line's end.
    private func cookie(_ bytes: Int, _ name: String = "Cookie") -> String {
        "\(name):" + String(repeating: "c", count: bytes - name.utf8.count - 3) + "\r\n"
    }

    @Test func cookiesHaveALimitOfTheirOwn() {
        for name in ["Cookie", "cookie", "COOKIE"] {
            let head = "a\r\n" + cookie(Self.cookieBytes, name) + "b\r\n\r\n"
            #expect(scan(head, limit: 8) == .complete(start: 0, end: head.utf8.count), "\(name)")
            #expect(scan(head, limit: 7) == .failed(.tooLarge), "the rest counts as ever")
        }
        let parts = "a\r\n" + cookie(Self.cookieBytes - 100) + "b\r\n" + cookie(100) + "\r\n"
        #expect(scan(parts, limit: 8) == .complete(start: 0, end: parts.utf8.count))
        let tooMany = "a\r\n" + cookie(Self.cookieBytes - 100) + cookie(101) + "\r\n"
        #expect(scan(tooMany, limit: 8) == .failed(.tooLarge))
        #expect(scan("a\r\n" + cookie(Self.cookieBytes + 1), limit: 8) == .failed(.tooLarge))
        #expect(scan("a\r\n" + cookie(Self.cookieBytes - 1).dropLast(1) + "cc", limit: 8) == .incomplete)
        #expect(
            scan("a\r\n" + cookie(Self.cookieBytes - 1).dropLast(1) + "ccc", limit: 8) == .failed(.tooLarge))
        for other in ["Cookies", "XCookie", "Cooki"] {
            #expect(scan("a\r\n" + cookie(20, other) + "\r\n", limit: 8) == .failed(.tooLarge), "\(other)")
        }
    }

    /// The limit falls where it falls for the whole head, also when a piece ends within the name.
    @Test func cookiesInSingleBytesCountTheSame() {
        for (head, limit) in [
            ("a\r\n" + cookie(40) + "b\r\n\r\n", 8), ("a\r\n" + cookie(40) + "\r\n", 5),
            ("a\r\nCook:1\r\n\r\n", 13), ("a\r\nC\r\n\r\n", 8),
        ] {
            let bytes = Array(head.utf8)
            var scanner = HttpHeadScanner()
            for length in 1..<bytes.count {
                let progress = withRaw(Array(bytes[..<length])) { scanner.scan($0, maximumBytes: limit) }
                #expect(progress == .incomplete, "\(length) of \(head)")
            }
            #expect(
                withRaw(bytes) { scanner.scan($0, maximumBytes: limit) }
                    == .complete(start: 0, end: bytes.count))
            scanner = HttpHeadScanner()
            let results = (1...bytes.count).map { length in
                withRaw(Array(bytes[..<length])) { scanner.scan($0, maximumBytes: limit - 1) }
            }
            #expect(results.contains(.failed(.tooLarge)), "\(head)")
        }
    }
}
