// Text on stdout and stderr; progress is one line drawn over itself on a terminal, and a line now and then
// elsewhere. Used by the coordinator, on its thread.

import EventLoop
import Glibc
import Options

/// Where the program's words go.
struct Console {
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let isQuiet: Bool
    private var isLineShown = false
    private var nextLine = MonotonicInstant.now
    /// A log wants a sign of life only.
    private static let plainInterval = Duration.seconds(5)

    init(isQuiet: Bool) { self.isQuiet = isQuiet }

    /// Shows how far the run is; called about once a second.
    mutating func progress(_ text: String) {
        guard !isQuiet else { return }
        if isTerminal {
            // Back to the margin, the text, and the rest of the line erased (ECMA-48 EL).
            Console.write("\r\(text)\u{1B}[K", to: STDERR_FILENO)
            isLineShown = true
        } else if MonotonicInstant.now >= nextLine {
            nextLine = .now + Console.plainInterval
            Console.write("loadtest: \(text)\n", to: STDERR_FILENO)
        }
    }

    /// A line about trouble.
    static func writeError(_ text: String) {
        write("loadtest: \(DisplayText.text(text))\n", to: STDERR_FILENO)
    }

    /// Takes the progress line away.
    mutating func wipe() {
        guard isLineShown else { return }
        isLineShown = false
        Console.write("\r\u{1B}[K", to: STDERR_FILENO)
    }

    /// Writes everything, or gives up when nobody reads any more: the outcome is in the exit code too.
    static func write(_ text: String, to descriptor: Int32) {
        _ = StandardStreams.write(text, to: descriptor)
    }
}
