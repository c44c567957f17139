// SIGINT, SIGTERM and SIGHUP as a flag and a readable descriptor, so that no wait misses them: the handler
// writes to a pipe on which every wait polls. The handler runs on whatever thread the kernel picks and
// touches only atomics. SIGWINCH wakes a wait in the same way.
//
//     install → a signal ends the process at once: nothing has been done
//     begin   → the first signal is a flag; one that comes more than a second later ends the process at once
//
// Both are done by handlers, never by the default action: process 1 of a container has none.

import EventLoop
import Glibc
import Options
import Synchronization

/// Whether the user asked to stop.
enum Interruption {
    private static let signalNumber = Atomic<Int32>(0)
    /// CLOCK_MONOTONIC nanoseconds of the first signal.
    private static let firstAt = Atomic<Int64>(0)
    private static let hasBegun = Atomic<Bool>(false)
    private static let writeEnd = Atomic<Int32>(-1)
    private static let readEnd = Atomic<Int32>(-1)

    /// Takes the signals over, at the start of the process. A terminal that goes away is a wish for an end,
    /// too, unless nohup(1) has said otherwise.
    static func install() {
        EndSignals.ignoreStray()
        openPipe()
        for number in [SIGINT, SIGTERM] + (EndSignals.isIgnored(SIGHUP) ? [] : [SIGHUP]) {
            signal(number) { Interruption.arrived($0) }
        }
    }

    /// Says that something is under way from now on, whose end is accounted for.
    static func begin() { hasBegun.store(true, ordering: .relaxed) }

    /// As `begin`, and takes over what else ends a program that holds the terminal, and the signal that
    /// tells of its new size.
    static func beginForScreen() {
        begin()
        signal(SIGQUIT) { Interruption.arrived($0) }
        signal(SIGWINCH) { _ in Interruption.wake() }
    }

    /// The signal that arrived, or nil.
    static var requested: Int32? {
        let number = signalNumber.load(ordering: .relaxed)
        return number == 0 ? nil : number
    }

    /// What the process ends with because of the signal that has arrived, by the shell's convention; nil if
    /// none has.
    static var exitCode: Int32? { requested.map { 128 + $0 } }

    /// Waits until the descriptor can be read, a signal arrives or the time is over.
    ///
    /// - Parameters:
    ///   - descriptor: -1 waits for the signal and the time only.
    ///   - timeout: nil waits for ever.
    /// - Returns: whether the descriptor can be read (or has an error to read).
    static func wait(forReadable descriptor: Int32, timeout: Duration?) -> Bool {
        let deadline = timeout.map { MonotonicInstant.now + $0 }
        var watched = [descriptor, readEnd.load(ordering: .relaxed)].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while requested == nil {
            let left = deadline.map { max(.zero, $0 - .now) }
            let milliseconds = left.map { Int32(clamping: $0.wholeMilliseconds) }
            if let left, left > .zero, milliseconds == 0 {
                // poll counts milliseconds: the rest under one is slept, too short to matter for a signal.
                usleep(UInt32(left.wholeNanoseconds / 1_000))
            }
            // Not to be woken again by a mere wake-up.
            if watched[1].revents != 0 { takeWakeUps() }
            if poll(&watched, nfds_t(watched.count), milliseconds ?? -1) > 0, watched[0].revents != 0 {
                return true
            }
            if left == .zero { return false }
        }
        return false
    }

    /// Wakes a loop for each signal, also for one that asks for nothing.
    ///
    /// - Parameter onSignal: called on the loop.
    static func watcher(on loop: EventLoop, onSignal: @escaping () -> Void) -> DescriptorWatcher? {
        let descriptor = readEnd.load(ordering: .relaxed)
        guard descriptor >= 0 else { return nil }
        return DescriptorWatcher(descriptor, on: loop) {
            takeWakeUps()
            onSignal()
        }
    }

    private static func openPipe() {
        var ends: [Int32] = [-1, -1]
        // Without a pipe the flag alone still works; only a wait for input would end late.
        if pipe(&ends) == 0 {
            for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
            readEnd.store(ends[0], ordering: .relaxed)
            writeEnd.store(ends[1], ordering: .relaxed)
        }
        // Also makes sure that all of them exist before a handler could be the first to touch one.
        signalNumber.store(0, ordering: .relaxed)
        firstAt.store(0, ordering: .relaxed)
        hasBegun.store(false, ordering: .relaxed)
    }

    private static func arrived(_ number: Int32) {
        guard hasBegun.load(ordering: .relaxed) else {
            let words: StaticString = "publisher: interrupted before anything was done\n"
            _ = write(STDERR_FILENO, words.utf8Start, words.utf8CodeUnitCount)
            _exit(128 + number)
        }
        let (isFirst, _) = signalNumber.compareExchange(
            expected: 0, desired: number, ordering: .relaxed)
        if isFirst {
            firstAt.store(monotonicNanoseconds, ordering: .relaxed)
        } else if monotonicNanoseconds - firstAt.load(ordering: .relaxed) >= sameWishNanoseconds {
            TerminalScreen.giveBack()
            _exit(128 + number)
        }
        wake()
    }

    private static var sameWishNanoseconds: Int64 {
        EndSignals.sameWishTime.components.seconds * 1_000_000_000
    }

    /// Read by a handler: nothing but the system call.
    private static var monotonicNanoseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
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
