// How many control frames and compressed messages a client may send. Pure: the clock is given.

import EventLoop

/// A bucket as a point in time: when it will be full again. Each control frame moves that time by one step
/// further; it may lie ten seconds ahead.
///
/// A client has reason for a Ping every few seconds. A hundred a second, or a thousand at once after a
/// pause, is what no client sends that means well, and few enough to cost nothing.
struct ControlFrameRate {
    private static let stepNanoseconds = Int64(1_000_000_000 / Limits.controlFramesPerSecond)

    /// In steps since the machine's start, the lower half of their number.
    private var fullAt: UInt32 = 0

    /// How many more may come at this moment.
    func allowance(now: MonotonicInstant) -> Int { Limits.controlFrameBurstCount - usedCount(now) }

    /// Counts frames that have come: no more than the burst at once.
    mutating func take(_ count: Int, now: MonotonicInstant) {
        fullAt =
            ControlFrameRate.step(now) &+ UInt32(min(usedCount(now) + count, Limits.controlFrameBurstCount))
    }

    /// What is further ahead than a burst is a time of long ago.
    private func usedCount(_ now: MonotonicInstant) -> Int {
        let ahead = Int(Int32(bitPattern: fullAt &- ControlFrameRate.step(now)))
        return (0...Limits.controlFrameBurstCount).contains(ahead) ? ahead : 0
    }

    private static func step(_ now: MonotonicInstant) -> UInt32 {
        UInt32(truncatingIfNeeded: now.nanoseconds / stepNanoseconds)
    }
}
