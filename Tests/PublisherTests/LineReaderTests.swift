import Testing

@testable import Publisher

@Suite struct LineReaderTests {
    /// All lines of a stream that arrives in chunks of the given size.
    private func lines(_ text: String, chunkBytes: Int, maximumBytes: Int = 8) -> [LineReader.Line] {
        var reader = LineReader(maximumBytes: maximumBytes)
        var found: [LineReader.Line] = []
        var rest = Array(text.utf8)[...]
        while true {
            while let line = reader.next() { found.append(line) }
            let chunk = Array(rest.prefix(chunkBytes))
            reader.append(chunk)
            rest = rest.dropFirst(chunkBytes)
            if chunk.isEmpty { break }
        }
        while let line = reader.next() { found.append(line) }
        return found
    }

    private func text(_ number: Int, _ text: String) -> LineReader.Line {
        .text(number: number, bytes: Array(text.utf8))
    }

    @Test(arguments: 1...12)
    func chunksDoNotMatter(_ chunkBytes: Int) {
        let expected = [text(1, "one"), text(4, "four"), text(5, "last")]
        #expect(lines("one\n\n \t\r\nfour\r\nlast", chunkBytes: chunkBytes) == expected)
        #expect(lines("one\n\n \t\r\nfour\r\nlast\n", chunkBytes: chunkBytes) == expected)
        #expect(lines("one\n\n \t\r\nfour\r\nlast\r\n\n\n", chunkBytes: chunkBytes) == expected)
    }

    @Test(arguments: 1...30)
    func theLimitIsExact(_ chunkBytes: Int) {
        let expected = [text(1, "12345678"), .tooLong(number: 2), text(3, "12345678"), .tooLong(number: 4)]
        #expect(
            lines("12345678\n123456789\n12345678\r\n1234567890123456", chunkBytes: chunkBytes) == expected)
        #expect(lines("123456789", chunkBytes: chunkBytes) == [.tooLong(number: 1)])
        #expect(lines("12345678\r", chunkBytes: chunkBytes) == [text(1, "12345678")])
    }

    @Test(arguments: 1...6)
    func byteOrderMarkAtTheStartIsNoText(_ chunkBytes: Int) {
        let mark = "\u{FEFF}"
        #expect(
            lines(mark + "one\n\(mark)x", chunkBytes: chunkBytes) == [text(1, "one"), text(2, mark + "x")])
        #expect(lines(mark + "12345678\r\n", chunkBytes: chunkBytes) == [text(1, "12345678")])
        #expect(lines(mark + "123456789\n", chunkBytes: chunkBytes) == [.tooLong(number: 1)])
        #expect(lines(mark, chunkBytes: chunkBytes) == [])
        #expect(lines("\n" + mark, chunkBytes: chunkBytes) == [text(2, mark)])
    }

    @Test func emptyStreamsHaveNoLines() {
        #expect(lines("", chunkBytes: 4) == [])
        #expect(lines("\n\n\n", chunkBytes: 4) == [])
    }
}
