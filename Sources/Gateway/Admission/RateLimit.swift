// Token buckets as points in time. Pure: the clock is given.

import EventLoop

/// A number of events a second, as many of which may come at once.
///
/// A bucket is one number: the time at which it will be full again. Each admitted event moves that time one
/// step on; an event that would move it more than a second ahead finds the bucket empty.
struct RateLimit: Sendable {
    let perSecond: Int

    /// - Parameter perSecond: 1 to 1,000,000.
    init(perSecond: Int) {
        precondition((1...1_000_000).contains(perSecond), "a rate is 1 to 1,000,000 a second")
        self.perSecond = perSecond
    }

    /// The time in which a bucket gets one more.
    var step: Duration { .nanoseconds(1_000_000_000 / perSecond) }

    /// Takes one out of a bucket that is full again at `fullAt`.
    ///
    /// - Returns: the time at which it is full again; nil if the bucket is empty.
    func take(fullAt: MonotonicInstant, now: MonotonicInstant) -> MonotonicInstant? {
        let next = max(fullAt, now) + step
        return next - now <= Limits.rateBurstTime ? next : nil
    }
}

/// A limited rate of a node, of handshakes or of tokens, which gives each refused client a time to come
/// back.
struct NodeRate: Sendable {
    private var fullAt = MonotonicInstant(nanoseconds: 0)
    /// When the last refused client is due.
    private var lastReturn = MonotonicInstant(nanoseconds: 0)

    /// Admits one, or refuses it.
    ///
    /// Refused clients get times as if they stood in a queue that moves at the rate: with the same time for
    /// all, all would come back together.
    /// - Returns: nil, or the whole seconds after which to come back.
    mutating func take(_ limit: RateLimit, now: MonotonicInstant) -> Int? {
        if let next = limit.take(fullAt: fullAt, now: now) {
            fullAt = next
            return nil
        }
        lastReturn = min(max(lastReturn, now) + limit.step, now + Limits.longestAbsence)
        let nanoseconds = (lastReturn - now).wholeNanoseconds
        return Int((nanoseconds + 999_999_999) / 1_000_000_000)
    }
}
