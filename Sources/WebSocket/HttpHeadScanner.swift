// Finds the end of an HTTP head that arrives in pieces, looking at every byte once. Pure, any thread.

/// Remembers how far one head was searched for its empty line, so that a sender of single bytes costs no
/// more than one of whole packets. Begin a new one for every head.
///
/// A line feed without a carriage return fails at once: a recipient that took it for a line end would see
/// another head than one that did not (RFC 9112 section 2.2 leaves that open).
package struct HttpHeadScanner: Sendable {
    package enum Progress: Equatable, Sendable {
        case incomplete
        /// The head is the bytes from `start` (behind empty lines that are to be ignored) to `end`.
        case complete(start: Int, end: Int)
        case failed(HttpHeadError)
    }

    private var searchedBytes = 0
    private var lineStart = 0
    private var headStart = 0

    package init() {}

    /// Searches on.
    /// - Parameters:
    ///   - bytes: All bytes since the head's start, those of earlier calls included; they may have moved.
    ///   - maximumBytes: The longest head, leading empty lines included; `tooLarge` beyond it, as soon as it
    ///     is sure.
    /// - Complexity: O(new bytes).
    package mutating func scan(_ bytes: UnsafeRawBufferPointer, maximumBytes: Int) -> Progress {
        let visible = bytes.part(0..<min(bytes.count, maximumBytes))
        while let lineFeed = Word.firstOffset(of: Ascii.lineFeed, in: visible, from: searchedBytes) {
            guard lineFeed > lineStart, visible[lineFeed - 1] == Ascii.carriageReturn else {
                return .failed(.malformed)
            }
            let isEmptyLine = lineFeed - 1 == lineStart
            searchedBytes = lineFeed + 1
            lineStart = searchedBytes
            guard isEmptyLine else { continue }
            if lineFeed - 1 > headStart { return .complete(start: headStart, end: searchedBytes) }
            // RFC 9112 section 2.2: an empty line in front of the request line is ignored.
            headStart = searchedBytes
        }
        searchedBytes = visible.count
        return bytes.count >= maximumBytes ? .failed(.tooLarge) : .incomplete
    }
}
