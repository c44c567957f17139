// What a token's remaining life says about its last heartbeat. Pure.

import EventLoop

/// The arithmetic of heartbeats: every heartbeat sets a record's life to its TTL, so TTL less the remaining
/// life is the age of the last one, on whichever node it was, and no two machines' clocks are compared.
enum HeartbeatClock {
    enum Decision: Equatable {
        /// The last heartbeat is too old.
        case close
        /// Look again after this time: not before a close can be due.
        case check(after: Duration)
    }

    /// - Parameters:
    ///   - ttlSeconds: with which the record is renewed.
    ///   - remainingMilliseconds: its life that is left, as PTTL says.
    ///   - timeout: the age at which a connection is closed.
    static func decide(
        ttlSeconds: Int64, remainingMilliseconds: Int64, timeout: Duration
    ) -> Decision {
        let life = min(max(ttlSeconds, 0), Limits.recordLifeSeconds) * 1_000
        // A longer life than the TTL can only have been set by hand: count it as renewed just now.
        let age = life - min(max(remainingMilliseconds, 0), life)
        let left = timeout.wholeMilliseconds - age
        return left <= 0 ? .close : .check(after: .milliseconds(left))
    }

    /// One Pong in each period renews a record. So after any Pong the record lives for its life less one
    /// period: at least three quarters of it, and longer than `timeout`, in which the next Pong comes.
    static func renewalPeriod(ttlSeconds: Int64, timeout: Duration) -> Duration {
        let life = Duration.seconds(ttlSeconds)
        return max(min(life / 4, (life - timeout) / 2), Limits.deadlineTick)
    }

    /// Whether the Pong that has come renews its record: if a period has begun since the sign of life before
    /// it. So the last renewal need not be remembered.
    ///
    /// - Parameter number: the member's, by which the beginnings of periods are spread.
    static func renews(since last: CoarseInstant, now: CoarseInstant, period: Duration, number: UInt64)
        -> Bool
    {
        let period = period.wholeNanoseconds
        let tick = Limits.deadlineTick.wholeNanoseconds
        let shift = Int64(number % UInt64(period / tick)) * tick
        return (last.instant.nanoseconds + shift) / period != (now.instant.nanoseconds + shift) / period
    }
}
