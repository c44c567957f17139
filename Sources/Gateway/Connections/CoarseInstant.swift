// Points in time in half the memory, for what is kept of every member and every room. Pure.

import EventLoop

/// A reading of CLOCK_MONOTONIC in ticks of the deadline wheel: for thirteen years after the machine's
/// start.
struct CoarseInstant: Comparable {
    private static let tickNanoseconds = Limits.deadlineTick.wholeNanoseconds

    private let ticks: UInt32

    /// Before everything.
    static let distantPast = CoarseInstant(ticks: 0)
    /// After everything.
    static let never = CoarseInstant(ticks: .max)

    /// The first one that is not before `instant`.
    init(notBefore instant: MonotonicInstant) {
        ticks = UInt32(clamping: CoarseInstant.ticks(instant.nanoseconds))
    }

    private init(ticks: UInt32) {
        self.ticks = ticks
    }

    /// The same point in time, precisely. Not for `never`.
    var instant: MonotonicInstant {
        MonotonicInstant(nanoseconds: Int64(ticks) * CoarseInstant.tickNanoseconds)
    }

    func hasCome(by now: MonotonicInstant) -> Bool { self != .never && instant <= now }

    /// The duration is rounded up to whole ticks, and what is subtracted again is what was added.
    static func + (instant: CoarseInstant, duration: Duration) -> CoarseInstant {
        CoarseInstant(ticks: UInt32(clamping: Int64(instant.ticks) + ticks(duration.wholeNanoseconds)))
    }

    static func - (instant: CoarseInstant, duration: Duration) -> CoarseInstant {
        CoarseInstant(ticks: UInt32(clamping: Int64(instant.ticks) - ticks(duration.wholeNanoseconds)))
    }

    static func < (left: CoarseInstant, right: CoarseInstant) -> Bool { left.ticks < right.ticks }

    private static func ticks(_ nanoseconds: Int64) -> Int64 {
        (nanoseconds + tickNanoseconds - 1) / tickNanoseconds
    }
}
