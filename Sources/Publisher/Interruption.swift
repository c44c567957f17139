// SIGINT and SIGTERM as a flag and a readable descriptor, so that no wait misses them: the handler writes to
// a pipe on which every wait polls. The handler runs on whatever thread the kernel picks and touches only
// atomics. SIGWINCH wakes a wait in the same way.

import Glibc
import Synchronization

/// Whether the user asked to stop.
enum Interruption {
    private static let signalNumber = Atomic<Int32>(0)
    private static let writeEnd = Atomic<Int32>(-1)
    private static let readEnd = Atomic<Int32>(-1)

    /// Takes over SIGINT and SIGTERM; the second one of a kind ends the process at once.
    static func install() {
        openPipe()
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interruption.arrived(number)
                signal(number, SIG_DFL)
            }
        }
    }

    /// Takes over all signals that end a program which holds the terminal, and the one that tells of its new size.
    /// The second one of a kind gives the terminal back and ends the process at once.
    static func installForScreen() {
        openPipe()
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal(number) { number in
                Interruption.arrived(number)
                signal(number) { number in
                    TerminalScreen.giveBack()
                    _exit(128 + number)
                }
            }
        }
        signal(SIGWINCH) { _ in Interruption.wake() }
    }

    /// The signal that arrived, or nil.
    static var requested: Int32? {
        let number = signalNumber.load(ordering: .relaxed)
        return number == 0 ? nil : number
    }

    /// What the process ends with because of the signal that has arrived, by the shell's convention; nil if none has.
    static var exitCode: Int32? { requested.map { 128 + $0 } }

    /// Waits until the descriptor can be read, a signal arrives or the time is over.
    ///
    /// - Parameters:
    ///   - descriptor: -1 waits for the signal and the time only.
    ///   - timeout: nil waits for ever.
    /// - Returns: whether the descriptor can be read (or has an error to read).
    static func wait(forReadable descriptor: Int32, timeout: Duration?) -> Bool {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        while requested == nil {
            let remaining = deadline.map { max($0 - ContinuousClock.now, .zero) }
            if wait(forAny: [descriptor], timeout: remaining)[0] { return true }
            if remaining == .zero { return false }
        }
        return false
    }

    /// Waits once: until one of the descriptors can be read, a signal arrives (also one that asks for nothing, such
    /// as a new size of the terminal) or the time is over.
    ///
    /// - Parameters:
    ///   - descriptors: -1 is passed over.
    ///   - timeout: nil waits for ever.
    /// - Returns: which descriptors can be read (or have an error to read).
    static func wait(forAny descriptors: [Int32], timeout: Duration?) -> [Bool] {
        var watched = (descriptors + [readEnd.load(ordering: .relaxed)]).map { descriptor in
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        }
        let milliseconds = timeout.map {
            Int32(clamping: $0.components.seconds * 1000 + $0.wholeMilliseconds)
        }
        if let timeout, timeout > .zero, milliseconds == 0 {
            // poll counts milliseconds: the rest under one is slept, too short to matter for a signal.
            usleep(UInt32(timeout.components.attoseconds / 1_000_000_000_000))
        }
        guard poll(&watched, nfds_t(watched.count), milliseconds ?? -1) > 0 else {
            return descriptors.map { _ in false }
        }
        // What asked for an end stays to be seen by every wait; only a mere wake-up is taken away.
        if watched[descriptors.count].revents != 0, requested == nil { takeWakeUps() }
        return watched.dropLast().map { $0.revents != 0 }
    }

    private static func openPipe() {
        var ends: [Int32] = [-1, -1]
        // Without a pipe the flag alone still works; only a wait for input would end late.
        if pipe(&ends) == 0 {
            for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
            readEnd.store(ends[0], ordering: .relaxed)
            writeEnd.store(ends[1], ordering: .relaxed)
        }
        // Also makes sure that the flag exists before a handler could be the first to touch it.
        signalNumber.store(0, ordering: .relaxed)
    }

    private static func arrived(_ number: Int32) {
        signalNumber.store(number, ordering: .relaxed)
        wake()
    }

    private static func takeWakeUps() {
        var bytes: UInt64 = 0
        while read(readEnd.load(ordering: .relaxed), &bytes, MemoryLayout<UInt64>.size) > 0 {}
    }

    private static func wake() {
        var byte: UInt8 = 1
        _ = write(writeEnd.load(ordering: .relaxed), &byte, 1)
    }
}

extension Duration {
    /// Milliseconds of the part under a second.
    fileprivate var wholeMilliseconds: Int64 { components.attoseconds / 1_000_000_000_000_000 }
}
