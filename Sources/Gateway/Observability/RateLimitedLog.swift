// Warnings that a stranger can cause by the thousand. Loop-confined.

import EventLoop

/// Lets one line a second through and counts the others: the next line tells how many were left out.
struct RateLimitedLog {
    private static let interval = Duration.seconds(1)

    private let log: Log
    private var nextAllowed = MonotonicInstant(nanoseconds: 0)
    private var leftOutCount = 0

    init(_ log: Log) {
        self.log = log
    }

    mutating func warning(_ message: String, _ fields: Log.Fields, now: MonotonicInstant = .now) {
        guard now >= nextAllowed else {
            leftOutCount += 1
            return
        }
        nextAllowed = now + RateLimitedLog.interval
        var fields = fields
        if leftOutCount > 0 { fields.append("left_out", "\(leftOutCount)") }
        leftOutCount = 0
        log.warning(message, fields)
    }
}

/// Tells when a connection to Redis goes and comes: each reason once, however often the attempts repeat it.
struct LinkLog {
    private let log: Log
    private let role: String
    private var lastReason: String?
    private var hasBeenUp = false

    init(_ log: Log, role: String) {
        self.log = log
        self.role = role
    }

    mutating func down(_ reason: String) {
        guard reason != lastReason else { return }
        lastReason = reason
        log.warning(hasBeenUp ? "redis connection lost" : "redis not reached", ["role": role, "reason": reason])
    }

    mutating func up() {
        log.info(hasBeenUp ? "redis connection restored" : "redis connected", ["role": role])
        lastReason = nil
        hasBeenUp = true
    }
}
