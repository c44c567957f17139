// Warnings that a stranger can trigger by the thousand. Loop-confined.

import EventLoop

/// Writes one line a second and counts the others: the next line says how many it left out.
struct RateLimitedLog {
    private let log: Log
    private var nextAllowed = MonotonicInstant(nanoseconds: 0)
    private var leftOutCount = 0

    init(_ log: Log) {
        self.log = log
    }

    /// - Parameter fields: evaluated only for a line that is written.
    mutating func warning(
        _ message: String, _ fields: @autoclosure () -> Log.Fields, now: MonotonicInstant = .now
    ) {
        guard now >= nextAllowed else {
            leftOutCount += 1
            return
        }
        nextAllowed = now + Limits.repeatedLogInterval
        var fields = fields()
        if leftOutCount > 0 { fields.append("left_out", "\(leftOutCount)") }
        leftOutCount = 0
        log.warning(message, fields)
    }
}
