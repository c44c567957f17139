// Token buckets as points in time. Pure: the clock is given.

import EventLoop

/// So many a second, and at once as many as a second brings.
///
/// A bucket is one number: when it will be full again. Each thing that is let through moves that time by one step
/// further; who would move it further than a second ahead finds the bucket empty.
struct RateLimit: Sendable {
    /// After this time without use any bucket is full.
    static let burstTime = Duration.seconds(1)

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
    /// - Returns: when it is full now; nil when there was none to take.
    func take(fullAt: MonotonicInstant, now: MonotonicInstant) -> MonotonicInstant? {
        let next = max(fullAt, now) + step
        return next - now <= RateLimit.burstTime ? next : nil
    }
}

/// The handshakes of a node, or its tokens: so many a second, and for each one too many a time to come back.
struct NodeRate: Sendable {
    /// Longer than this nobody is sent away: a client that was told more would rather be taken for lost.
    static let longestAbsence = Duration.seconds(30)

    private var fullAt = MonotonicInstant(nanoseconds: 0)
    /// When the last one of those who were sent away is due.
    private var lastReturn = MonotonicInstant(nanoseconds: 0)

    /// Takes one in.
    ///
    /// Those for whom there is no room are sent away as if they stood in a queue that moves at the rate: were all
    /// told the same time, all would be back at the same time.
    /// - Returns: nil, or after how many whole seconds to come back.
    mutating func take(_ limit: RateLimit, now: MonotonicInstant) -> Int? {
        if let next = limit.take(fullAt: fullAt, now: now) {
            fullAt = next
            return nil
        }
        lastReturn = min(max(lastReturn, now) + limit.step, now + NodeRate.longestAbsence)
        let nanoseconds = (lastReturn - now).wholeNanoseconds
        return Int((nanoseconds + 999_999_999) / 1_000_000_000)
    }
}
