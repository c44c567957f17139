// Whether a node's connections to Redis lead to one server. Pure: connections, timer and clock are the feed's.

import EventLoop
import Redis

/// Behind a proxy, or a name that is given to another server, a connection may stay at a server that was
/// demoted: the subscriber's would be healthy and bring nothing.
///
/// So the first worker publishes an *echo* to the node's own channel, over its command connection, of which the
/// writes have shown that it leads to a master. The echo says which server that is, and must come back on the
/// subscriber's connection. Where it does not, one side is made anew: first the feed's, then, if that was in
/// vain, the workers', and so on with pauses that double.
struct ServerAgreement {
    /// What the first worker says to the feed when Redis has taken an echo.
    struct Echo: Sendable {
        let number: UInt64
        /// The `run_id` of the server that has taken it; nil if that does not say.
        let run: String?
        /// The master that has taken it; nil for one Redis.
        var address: RedisURL.Address?
        let sentAt: MonotonicInstant
        let takenAt: MonotonicInstant
    }

    enum Action: Equatable {
        case nothing
        /// Connect the subscriber and the reader of histories again, with the reason.
        case renewFeed(String)
        /// Connect the reader of histories again.
        case renewReader(String)
        /// Connect the workers again.
        case renewCommands(String)
    }

    private static let otherServer = "the command connection leads to another server"
    private static let echoMissing = "what the node publishes to itself does not come"

    private let silenceTimeout: Duration
    private var upAt: MonotonicInstant?
    private var heardNumber: UInt64 = 0
    /// The oldest echo that has not come back.
    private var missing: Echo?
    /// Attempts in vain.
    private var attemptCount = 0
    private var nextAttemptAt = MonotonicInstant(nanoseconds: 0)
    private var nextReaderAttemptAt = MonotonicInstant(nanoseconds: 0)

    init(silenceTimeout: Duration) { self.silenceTimeout = silenceTimeout }

    /// The node's own channel is subscribed.
    mutating func linkIsUp(now: MonotonicInstant) { upAt = now }

    mutating func linkLost() {
        upAt = nil
        missing = nil
    }

    /// An echo has come on the subscriber's connection.
    mutating func heard(_ number: UInt64) {
        heardNumber = max(heardNumber, number)
        if let missing, missing.number <= heardNumber { self.missing = nil }
    }

    /// Redis has taken an echo.
    ///
    /// - Parameters:
    ///   - subscriberRun: the `run_id` of the subscriber's server; nil if it does not say.
    ///   - readerRun: that of the reader's; nil as well if there is no reader.
    mutating func taken(
        _ echo: Echo, subscriberRun: String?, readerRun: String?, now: MonotonicInstant
    ) -> Action {
        // An echo from before the connection proves nothing.
        guard let upAt, upAt <= echo.sentAt else { return .nothing }
        if echo.number > heardNumber, missing == nil { missing = echo }
        if let run = echo.run, let subscriberRun, run != subscriberRun {
            return disagreement(ServerAgreement.otherServer, now)
        }
        if missing == nil { attemptCount = 0 }
        if let run = echo.run, let readerRun, run != readerRun, now >= nextReaderAttemptAt {
            nextReaderAttemptAt = now + silenceTimeout * 4
            return .renewReader(ServerAgreement.otherServer)
        }
        return .nothing
    }

    /// Looks whether an echo is missing: to be called four times in the silence timeout.
    ///
    /// - Parameter completeUntil: what was published before has come, if it was to come at all.
    mutating func check(completeUntil: MonotonicInstant, now: MonotonicInstant) -> Action {
        guard let missing, completeUntil > missing.takenAt, now - missing.takenAt >= silenceTimeout / 4
        else {
            return .nothing
        }
        return disagreement(ServerAgreement.echoMissing, now)
    }

    private mutating func disagreement(_ reason: String, _ now: MonotonicInstant) -> Action {
        guard now >= nextAttemptAt else { return .nothing }
        missing = nil
        attemptCount += 1
        nextAttemptAt =
            now + min(silenceTimeout * (1 << min(attemptCount - 1, 10)), Limits.agreementPause)
        return attemptCount % 2 == 1 ? .renewFeed(reason) : .renewCommands(reason)
    }
}
