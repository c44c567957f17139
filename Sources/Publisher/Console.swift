// Text on stdout and stderr. A progress bar on stderr is wiped before anything else is written there.

import Glibc
import Options

/// Where the program's words go.
struct Console {
    /// Redis' words may be as long as it likes.
    private static let maximumColumnCount = 4000

    private let progressStyle: Progress.Style
    private var isBarShown = false
    /// The `errno` with which a result could not be written; 0 as long as all were.
    private var unwritten: Int32 = 0

    init(progressStyle: Progress.Style) { self.progressStyle = progressStyle }

    /// A line of results on stdout; nothing after one that could not be written.
    ///
    /// - Returns: false when it could not be written: see `exitCode`.
    @discardableResult
    mutating func result(_ line: String) -> Bool {
        result { StandardStreams.write(line + "\n", to: STDOUT_FILENO) }
    }

    /// Results that are written in another way.
    ///
    /// - Parameter write: returns 0 or an `errno`.
    mutating func result(_ write: () -> Int32) -> Bool {
        wipeBar()
        if unwritten == 0 { unwritten = write() }
        return unwritten == 0
    }

    /// What a call ends with whose results may not have been written. Says why they were not.
    ///
    /// - Parameter code: what it ends with otherwise; one that tells of trouble stays.
    mutating func exitCode(_ code: Int32) -> Int32 {
        wipeBar()
        let written = StandardStreams.exitCode(afterWriting: unwritten, of: "publisher")
        return code == 0 ? written : code
    }

    /// A line about trouble on stderr.
    mutating func complain(_ line: String) {
        wipeBar()
        Self.writeError(line)
    }

    /// A line about trouble on stderr, of a program that has no console yet. Words of Redis and of records
    /// are in it.
    static func writeError(_ line: String) {
        write("publisher: \(DisplayText.text(line, columnCount: maximumColumnCount))\n", to: STDERR_FILENO)
    }

    /// A line of progress on stderr.
    mutating func progress(_ line: String) {
        if progressStyle == .bar {
            // Back to the margin, the text, and the rest of the line erased (ECMA-48 EL).
            Self.write("\r\(line)\u{1B}[K", to: STDERR_FILENO)
            isBarShown = true
        } else {
            Self.write("publisher: \(line)\n", to: STDERR_FILENO)
        }
    }

    /// Takes the bar away at the end.
    mutating func wipeBar() {
        guard isBarShown else { return }
        isBarShown = false
        Self.write("\r\u{1B}[K", to: STDERR_FILENO)
    }

    /// Writes to stderr; what cannot be written there has no other place, and the outcome is in the exit
    /// code too.
    static func write(_ text: String, to descriptor: Int32) {
        _ = StandardStreams.write(text, to: descriptor)
    }
}
