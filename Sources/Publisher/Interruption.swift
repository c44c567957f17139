// SIGINT and SIGTERM as a flag and a readable descriptor, so that no wait misses them: the handler writes to
// a pipe on which every wait polls. The handler runs on whatever thread the kernel picks and touches only the
// atomics here.

import Glibc
import Synchronization

/// Whether the user asked to stop.
enum Interruption {
    private static let signalNumber = Atomic<Int32>(0)
    private static let writeEnd = Atomic<Int32>(-1)
    private static let readEnd = Atomic<Int32>(-1)

    /// Takes over SIGINT and SIGTERM; the second one of a kind ends the process at once.
    static func install() {
        var ends: [Int32] = [-1, -1]
        // Without a pipe the flag alone still works; only a wait for input would end late.
        if pipe(&ends) == 0 {
            readEnd.store(ends[0], ordering: .relaxed)
            writeEnd.store(ends[1], ordering: .relaxed)
        }
        // Also makes sure that the flag exists before a handler could be the first to touch it.
        signalNumber.store(0, ordering: .relaxed)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in Interruption.arrived(number) }
        }
    }

    /// The signal that arrived, or nil.
    static var requested: Int32? {
        let number = signalNumber.load(ordering: .relaxed)
        return number == 0 ? nil : number
    }

    /// Waits until the descriptor can be read, a signal arrives or the time is over.
    ///
    /// - Parameters:
    ///   - descriptor: -1 waits for the signal and the time only.
    ///   - timeout: nil waits for ever.
    /// - Returns: whether the descriptor can be read (or has an error to read).
    static func wait(forReadable descriptor: Int32, timeout: Duration?) -> Bool {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        var watched = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: readEnd.load(ordering: .relaxed), events: Int16(POLLIN), revents: 0),
        ]
        while requested == nil {
            let remaining = deadline.map { max($0 - ContinuousClock.now, .zero) }
            let milliseconds = remaining.map {
                Int32(clamping: $0.components.seconds * 1000 + $0.wholeMilliseconds)
            }
            if let remaining, remaining > .zero, milliseconds == 0 {
                // poll counts milliseconds: the rest under one is slept, too short to matter for a signal.
                usleep(UInt32(remaining.components.attoseconds / 1_000_000_000_000))
                continue
            }
            let count = poll(&watched, 2, milliseconds ?? -1)
            if count > 0 { return watched[0].revents != 0 }
            if count == 0 && milliseconds == 0 { return false }
        }
        return false
    }

    private static func arrived(_ number: Int32) {
        signalNumber.store(number, ordering: .relaxed)
        signal(number, SIG_DFL)
        var byte: UInt8 = 1
        _ = write(writeEnd.load(ordering: .relaxed), &byte, 1)
    }
}

extension Duration {
    /// Milliseconds of the part under a second.
    fileprivate var wholeMilliseconds: Int64 { components.attoseconds / 1_000_000_000_000_000 }
}
