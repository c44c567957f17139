// Finds the end of an HTTP head that arrives in pieces, looking at every byte once. Pure, any thread.

import Bytes

/// What has become of bytes that begin with a head.
package enum HttpHeadResult<Head: Sendable>: Sendable {
    /// The end has not come yet: call again with more bytes.
    case incomplete
    case complete(Head)
    /// A server answers with the error's status, then closes.
    case failed(HttpHeadError)
}

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

    /// Room for Cookie fields besides the head's limit. No endpoint reads a cookie, but a browser sends all
    /// that its site has set, and must not be refused for them.
    package static let maximumCookieBytes = 16 * 1024
    private static let cookieName: StaticString = "cookie:"

    private var searchedBytes = 0
    private var lineStart = 0
    private var headStart = 0
    /// The whole lines so far that are Cookie fields.
    private var cookieBytes = 0

    package init() {}

    /// Continues the search.
    /// - Parameters:
    ///   - bytes: All bytes since the head's start, those of earlier calls included; they may have moved.
    ///   - maximumBytes: The longest head, leading empty lines included and Cookie fields left out;
    ///     `tooLarge` beyond
    ///     it, as soon as that is certain.
    /// - Complexity: O(new bytes).
    package mutating func scan(_ bytes: UnsafeRawBufferPointer, maximumBytes: Int) -> Progress {
        while true {
            let limit = lineLimit(bytes, maximumBytes: maximumBytes)
            let visible = bytes.part(0..<min(bytes.count, max(limit, searchedBytes)))
            guard let lineFeed = Word.firstOffset(of: Ascii.lineFeed, in: visible, from: searchedBytes)
            else {
                searchedBytes = visible.count
                return bytes.count >= limit ? .failed(.tooLarge) : .incomplete
            }
            guard lineFeed > lineStart, visible[lineFeed - 1] == Ascii.carriageReturn else {
                return .failed(.malformed)
            }
            let isEmptyLine = lineFeed - 1 == lineStart
            if HttpHeadScanner.isCookie(bytes.part(lineStart..<lineFeed)) {
                cookieBytes += lineFeed + 1 - lineStart
            }
            searchedBytes = lineFeed + 1
            lineStart = searchedBytes
            guard isEmptyLine else { continue }
            if lineFeed - 1 > headStart { return .complete(start: headStart, end: searchedBytes) }
            // RFC 9112 section 2.2: an empty line in front of the request line is ignored.
            headStart = searchedBytes
        }
    }

    /// Parses a head at the start of `bytes` as soon as its end is there; parameters as in `scan`.
    ///
    /// - Parameter make: is given the head, and how many bytes it took with empty lines in front.
    /// - Complexity: O(new bytes) while incomplete, O(head) when complete.
    mutating func parse<Head>(
        _ bytes: UnsafeRawBufferPointer, maximumBytes: Int,
        _ make: (UnsafeRawBufferPointer, Int) throws(HttpHeadError) -> Head
    ) -> HttpHeadResult<Head> {
        switch scan(bytes, maximumBytes: maximumBytes) {
        case .incomplete: return .incomplete
        case .failed(let error): return .failed(error)
        case .complete(let start, let end):
            do throws(HttpHeadError) {
                return .complete(try make(bytes.part(start..<end), end))
            } catch {
                return .failed(error)
            }
        }
    }

    /// Whether a line, as far as it is there, is a Cookie field (RFC 6265 section 5.4) or may become one.
    static func isCookie(_ line: UnsafeRawBufferPointer, orMayBecomeOne: Bool = false) -> Bool {
        let name = cookieName.rawBytes
        guard line.count >= name.count || orMayBecomeOne else { return false }
        let count = min(line.count, name.count)
        return line.part(0..<count).equalsIgnoringCase(name.part(0..<count))
    }

    /// Where the current line must end. Lines may come in pieces of any size: a line of which only the
    /// beginning of `Cookie:` has come is judged once more of it is there.
    private func lineLimit(_ bytes: UnsafeRawBufferPointer, maximumBytes: Int) -> Int {
        let headLimit = maximumBytes + cookieBytes
        guard lineStart < headLimit,
            HttpHeadScanner.isCookie(bytes.part(lineStart..<bytes.count), orMayBecomeOne: true)
        else { return headLimit }
        return lineStart + HttpHeadScanner.maximumCookieBytes - cookieBytes
    }
}
