// Which signals end the programs, and which ones they ignore. Any thread.

import Glibc

/// Signals by which others end a process, on purpose or not.
package enum EndSignals {
    /// A second signal that follows the first this soon belongs to it: timeout(1) and some supervisors send
    /// one to the process and one to its group.
    package static let sameWishTime = Duration.seconds(1)

    /// Ignores signals that would end the process by default and should not: a reader that goes away
    /// (SIGPIPE), a log file that has reached its limit (SIGXFSZ: the write fails instead), and those by
    /// which operators ask other programs to report or to reopen files (SIGUSR1, SIGUSR2). Call it before
    /// any thread starts.
    package static func ignoreStray() {
        for number in [SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2] { signal(number, SIG_IGN) }
    }

    /// Whether the process was started with this signal ignored, as nohup(1) does with SIGHUP.
    package static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}
