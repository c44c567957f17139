// Writes log lines to stderr on a thread of its own: a reader of the log may stall, and no loop waits for
// it. Any thread.

import EventLoop
import Glibc
import Options
import Synchronization

/// Takes lines without waiting and writes them in the background, in order. While no one reads stderr, it
/// keeps up to `maximumPendingBytes`, and drops and counts the lines beyond that.
final class LogWriter: Sendable {
    /// The process's stderr. Its thread starts with the first line; lines that wait when the process exits
    /// are still written.
    static let standardError: LogWriter = {
        let writer = LogWriter(descriptor: STDERR_FILENO)
        atexit { LogWriter.standardError.flush(within: Limits.logFlushTime) }
        return writer
    }()

    private let lines = Mailbox<[UInt8]>()
    private let pendingBytes = Atomic<Int>(0)
    private let dropped = Atomic<UInt64>(0)
    private let unreported = Atomic<UInt64>(0)

    /// - Parameter descriptor: stays open for the life of the process.
    init(descriptor: Int32) {
        do throws(SystemError) {
            // Never joined: it may stand in `write` for as long as the process lives.
            _ = try LoopThread(name: "log") { [self] loop in
                lines.open(on: loop) { [self] lines in writeOut(lines, to: descriptor) }
                loop.run()
            }
        } catch {
            // A process that cannot start this thread cannot start the others: it ends, and says so without
            // a log.
        }
    }

    /// Lines that were dropped since the start.
    var droppedCount: UInt64 { dropped.load(ordering: .relaxed) }

    /// Takes a line, which ends in a line feed; drops it if too many bytes wait.
    func write(_ line: [UInt8]) {
        guard pendingBytes.load(ordering: .relaxed) + line.count <= Limits.pendingLogBytes else {
            dropped.add(1, ordering: .relaxed)
            unreported.add(1, ordering: .relaxed)
            return
        }
        pendingBytes.add(line.count, ordering: .relaxed)
        lines.post(line)
    }

    /// The lines dropped since the last call, once there is room again; until then 0.
    func takeUnreportedCount() -> UInt64 {
        guard unreported.load(ordering: .relaxed) > 0,
            pendingBytes.load(ordering: .relaxed) <= Limits.pendingLogBytes / 2
        else { return 0 }
        return unreported.exchange(0, ordering: .relaxed)
    }

    /// Waits until everything is written, at the end of the process: its last lines say why it ends.
    ///
    /// - Returns: false if the time was over first.
    @discardableResult
    func flush(within patience: Duration) -> Bool {
        let deadline = MonotonicInstant.now + patience
        while pendingBytes.load(ordering: .acquiring) > 0 {
            guard MonotonicInstant.now < deadline else { return false }
            usleep(1_000)
        }
        return true
    }

    private func writeOut(_ lines: [[UInt8]], to descriptor: Int32) {
        let bytes = Array(lines.joined())
        // There is no other place to report what cannot be written.
        _ = StandardStreams.write(bytes, to: descriptor)
        pendingBytes.subtract(bytes.count, ordering: .releasing)
    }
}
