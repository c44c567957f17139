// Text on stdout and stderr. A progress bar on stderr is wiped before anything else is written there.

import Glibc

/// Where the program's words go.
struct Console {
    private let progressStyle: Progress.Style
    private var isBarShown = false

    init(progressStyle: Progress.Style) { self.progressStyle = progressStyle }

    /// A line of results on stdout.
    ///
    /// - Returns: false when nobody reads it any more.
    @discardableResult
    mutating func result(_ line: String) -> Bool {
        wipeBar()
        return Self.write(line + "\n", to: STDOUT_FILENO)
    }

    /// A line about trouble on stderr.
    mutating func complain(_ line: String) {
        wipeBar()
        Self.write("publisher: \(line)\n", to: STDERR_FILENO)
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

    /// Writes everything, or gives up when nobody reads any more: the outcome is in the exit code too.
    ///
    /// - Returns: whether everything was written.
    @discardableResult
    static func write(_ text: String, to descriptor: Int32) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
