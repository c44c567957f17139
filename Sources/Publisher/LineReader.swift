// Cuts a stream of bytes into lines, holding one line at a time. Pure: bytes are handed in, lines come out.

import Glibc

/// A line splitter with a limit.
struct LineReader {
    /// A line, with its number counted from 1.
    enum Line: Equatable {
        case text(number: Int, bytes: [UInt8])
        /// Over the limit; its bytes are gone.
        case tooLong(number: Int)

        var number: Int {
            switch self {
            case .text(let number, _), .tooLong(let number): number
            }
        }
    }

    /// U+FEFF in UTF-8, which some editors put in front of a file.
    static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// Longest line, in bytes without the line feed.
    let maximumBytes: Int
    /// Lines that have begun, the last of which may still be incomplete.
    private(set) var lineCount = 0

    private var chunk: ArraySlice<UInt8> = []
    private var partial: [UInt8] = []
    private var isSkipping = false
    private var isEnded = false

    init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

    /// Hands in bytes; an empty array ends the stream. To be called only after `next` has returned nil.
    mutating func append(_ bytes: [UInt8]) {
        precondition(chunk.isEmpty && !isEnded, "Bytes are handed in when the last ones are used up")
        chunk = bytes[...]
        isEnded = bytes.isEmpty
    }

    /// The next line; nil when more bytes are needed, or at the end. A carriage return before the line feed
    /// is dropped, as is a byte order mark at the start; blank lines are counted but not returned, and a
    /// last line needs no line feed.
    ///
    /// - Complexity: O(bytes of the line).
    mutating func next() -> Line? {
        while let end = nextLineFeed {
            keep(chunk[..<end])
            chunk = chunk[(end + 1)...]
            if let line = finishLine() { return line }
        }
        keep(chunk)
        chunk = []
        guard isEnded, isSkipping || !partial.isEmpty else { return nil }
        return finishLine()
    }

    /// Adds to the unfinished line, or gives it up when it grows over the limit (one byte more for a
    /// carriage return, three for a byte order mark).
    private mutating func keep(_ bytes: ArraySlice<UInt8>) {
        guard !isSkipping else { return }
        let markBytes = lineCount == 0 ? Self.byteOrderMark.count : 0
        if partial.count + bytes.count > maximumBytes + 1 + markBytes {
            isSkipping = true
            partial = []
        } else if partial.isEmpty {
            partial = Array(bytes)
        } else {
            partial += bytes
        }
    }

    private var nextLineFeed: Int? {
        chunk.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress, let found = memchr(start, 0x0A, bytes.count) else {
                return nil
            }
            return chunk.startIndex + (UnsafeRawPointer(found) - start)
        }
    }

    private mutating func finishLine() -> Line? {
        lineCount += 1
        // Taken out, so that the line is not copied when it leaves.
        var line: [UInt8] = []
        swap(&line, &partial)
        let isTooLong = isSkipping
        isSkipping = false
        if lineCount == 1, line.starts(with: Self.byteOrderMark) {
            line.removeFirst(Self.byteOrderMark.count)
        }
        if line.last == 0x0D { line.removeLast() }
        if isTooLong || line.count > maximumBytes { return .tooLong(number: lineCount) }
        let isBlank = line.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
        return isBlank ? nil : .text(number: lineCount, bytes: line)
    }
}
