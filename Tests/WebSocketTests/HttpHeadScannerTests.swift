import Testing

@testable import WebSocket

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
}
