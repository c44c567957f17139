// Text on stdout and stderr. A progress line on stderr is wiped before anything else is written there.

import Glibc

/// How a program shows its progress.
package enum ProgressStyle: Equatable, Sendable {
    case none
    /// A line that is drawn over itself.
    case bar
    /// Lines in a log.
    case lines

    /// A bar on a terminal, and lines elsewhere.
    package init(isQuiet: Bool) {
        self = isQuiet ? .none : isatty(STDERR_FILENO) == 1 ? .bar : .lines
    }

    /// Ten pictures a second look smooth; a log needs a sign of life only, and short runs need none at all.
    package var interval: Duration {
        switch self {
        case .none: .zero
        case .bar: .milliseconds(100)
        case .lines: .seconds(5)
        }
    }
}

/// Where a program's words go.
package struct Console {
    /// A message of Redis may have any length.
    private static let maximumColumnCount = 4000

    private let program: String
    private let progressStyle: ProgressStyle
    private var isBarShown = false
    /// The `errno` with which a result could not be written; 0 as long as all were.
    private var unwritten: Int32 = 0

    /// - Parameter program: begins the lines on stderr.
    package init(of program: String, progressStyle: ProgressStyle) {
        self.program = program
        self.progressStyle = progressStyle
    }

    /// A line of results on stdout; nothing after one that could not be written.
    ///
    /// - Returns: false when it could not be written: see `exitCode`.
    @discardableResult
    package mutating func result(_ line: String) -> Bool {
        result { StandardStreams.write(line + "\n", to: STDOUT_FILENO) }
    }

    /// Results that are written in another way.
    ///
    /// - Parameter write: returns 0 or an `errno`.
    package mutating func result(_ write: () -> Int32) -> Bool {
        wipeBar()
        if unwritten == 0 { unwritten = write() }
        return unwritten == 0
    }

    /// The exit code of a call whose results may not have been written. Says why they were not.
    ///
    /// - Parameter code: what it ends with otherwise; one that reports trouble stays.
    package mutating func exitCode(_ code: Int32) -> Int32 {
        wipeBar()
        let written = StandardStreams.exitCode(afterWriting: unwritten, of: program)
        return code == 0 ? written : code
    }

    /// A line about trouble on stderr.
    package mutating func complain(_ line: String) {
        wipeBar()
        Self.complain(line, of: program)
    }

    /// A line about trouble on stderr, of a program that has no console yet. It may hold words of Redis and
    /// of records.
    package static func complain(_ line: String, of program: String) {
        write("\(program): \(DisplayText.text(line, columnCount: maximumColumnCount))\n")
    }

    /// A line of progress on stderr.
    package mutating func progress(_ line: String) {
        switch progressStyle {
        case .none: break
        case .bar:
            // Back to the margin, the text, and the rest of the line erased (ECMA-48 EL).
            Self.write("\r\(line)\u{1B}[K")
            isBarShown = true
        case .lines: Self.write("\(program): \(line)\n")
        }
    }

    /// Takes the bar away at the end.
    package mutating func wipeBar() {
        guard isBarShown else { return }
        isBarShown = false
        Self.write("\r\u{1B}[K")
    }

    /// What cannot be written to stderr has no other place; the exit code shows the outcome, too.
    private static func write(_ text: String) {
        _ = StandardStreams.write(text, to: STDERR_FILENO)
    }
}
