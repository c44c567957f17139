// Whether what is published anywhere in a Redis Cluster comes to the feed. Pure: connections, timer and clock are the
// feed's.

import EventLoop
import Redis

/// A node of a cluster passes on what is published at the others. One that the others have forgotten, or that is cut
/// off from them, still answers everything, and brings nothing.
///
/// So the first worker publishes an *echo* to the node's own channel by way of one master after another, four in each
/// silence timeout, and says which have been taken. The feed leaves its node when nothing has come for three of
/// them, if at least two were taken meanwhile, by two masters if there are so many: one master that is cut off is
/// not the fault of the feed's node. A feed hears the echoes that its own node has taken, whatever the others hold
/// back: they count only if there is no other master.
struct ClusterEchoes {
    typealias Address = RedisURL.Address

    private struct Taken {
        let number: UInt64
        let address: Address
        let sentAt: MonotonicInstant
    }

    /// Echoes that are remembered, taken or heard: those of some silence timeouts.
    private static let maximumCount = 64
    /// A feed that has left its node for want of echoes waits longer each time, up to so many silence timeouts.
    private static let maximumPatience = 10

    private let silenceTimeout: Duration
    /// Since when the node's own channel is subscribed; nil while it is not.
    private var upAt: MonotonicInstant?
    private var heard: [(number: UInt64, at: MonotonicInstant)] = []
    /// When the last echo came by way of each master.
    private var heardAt: [Address: MonotonicInstant] = [:]
    private var taken: [Taken] = []
    /// Of each master: everything that was published there before this has come, if it was to come at all.
    private var complete: [Address: MonotonicInstant] = [:]
    private var patience = 1
    private var attemptedAt = MonotonicInstant(nanoseconds: 0)
    private var nextAttemptAt = MonotonicInstant(nanoseconds: 0)

    init(silenceTimeout: Duration) { self.silenceTimeout = silenceTimeout }

    /// - Parameter masters: those of the map.
    mutating func linkIsUp(_ masters: [Address], now: MonotonicInstant) {
        upAt = now
        heardAt = [:]
        heard = []
        taken = []
        complete = [:]
        look(after: masters, now: now)
    }

    mutating func linkLost() { upAt = nil }

    /// An echo has come on the subscriber's connection.
    mutating func heard(_ number: UInt64, now: MonotonicInstant) {
        heard.append((number, now))
        if heard.count > ClusterEchoes.maximumCount { heard.removeFirst() }
        match()
    }

    /// A master has taken an echo.
    mutating func taken(_ number: UInt64, by address: Address, sentAt: MonotonicInstant) {
        // An echo from before the connection proves nothing.
        guard let upAt, upAt <= sentAt else { return }
        taken.append(Taken(number: number, address: address, sentAt: sentAt))
        if taken.count > ClusterEchoes.maximumCount { taken.removeFirst() }
        match()
    }

    /// Looks after what is published at these masters from now on, and no longer after the others: what was
    /// known of one that becomes a master again would be old.
    mutating func look(after masters: [Address], now: MonotonicInstant) {
        complete = complete.filter { masters.contains($0.key) }
        for master in masters where complete[master] == nil { complete[master] = now }
    }

    private mutating func match() {
        for echo in taken {
            guard let coming = heard.first(where: { $0.number == echo.number }) else { continue }
            complete[echo.address] = max(complete[echo.address] ?? echo.sentAt, echo.sentAt)
            heardAt[echo.address] = max(heardAt[echo.address] ?? coming.at, coming.at)
        }
        let numbers = heard.map(\.number)
        taken.removeAll { numbers.contains($0.number) }
    }

    /// Everything that was published before this has come, if it was to come at all; nil if nothing is known. Too
    /// early by up to a quarter of the silence timeout for each master, and never too late.
    ///
    /// - Parameter masters: those of the map.
    func completeUntil(_ masters: [Address]) -> MonotonicInstant? {
        masters.compactMap { complete[$0] }.min()
    }

    /// Looks whether the feed's node brings nothing: to be called four times in the silence timeout.
    ///
    /// - Parameters:
    ///   - masters: those of the map.
    ///   - ownNode: the subscriber's.
    /// - Returns: why the feed should go to the next node.
    mutating func check(_ masters: [Address], ownNode: Address?, now: MonotonicInstant) -> String? {
        guard let upAt, now >= nextAttemptAt else { return nil }
        let others = Set(masters.filter { $0 != ownNode })
        let ways = others.isEmpty ? Set(masters) : others
        let lastAt = ways.compactMap { heardAt[$0] }.max() ?? upAt
        guard now - lastAt >= silenceTimeout * 3 / 4 else { return nil }
        let missing = taken.filter { $0.sentAt > lastAt && ways.contains($0.address) }
        guard missing.count >= 2, Set(missing.map(\.address)).count >= min(2, ways.count) else { return nil }
        if lastAt > max(upAt, attemptedAt) { patience = 1 }
        attemptedAt = now
        nextAttemptAt = now + silenceTimeout * patience
        patience = min(patience + 1, ClusterEchoes.maximumPatience)
        return "what the node publishes to itself by way of other masters does not come"
    }
}
