// How many control frames a client may send. Pure: the clock is given.

import EventLoop

/// A bucket as a point in time: when it will be full again. Each control frame moves that time by one step
/// further; it may lie ten seconds ahead.
///
/// A client has reason for a Ping every few seconds. A hundred a second, or a thousand at once after a
/// pause, is what no client sends that means well, and few enough to cost nothing.
struct ControlFrameRate {
    private static let stepNanoseconds = Int64(1_000_000_000 / Limits.controlFramesPerSecond)

    private var fullAt = MonotonicInstant(nanoseconds: 0)

    /// How many more may come at this moment.
    func allowance(now: MonotonicInstant) -> Int {
        let aheadNanoseconds = max(0, fullAt.nanoseconds - now.nanoseconds)
        let usedCount =
            (aheadNanoseconds + ControlFrameRate.stepNanoseconds - 1) / ControlFrameRate.stepNanoseconds
        return max(0, Limits.controlFrameBurstCount - Int(usedCount))
    }

    /// Counts frames that have come.
    mutating func take(_ count: Int, now: MonotonicInstant) {
        let from = max(fullAt.nanoseconds, now.nanoseconds)
        fullAt = MonotonicInstant(nanoseconds: from + Int64(count) * ControlFrameRate.stepNanoseconds)
    }
}
