// When an open member is looked at: for its heartbeat, and for its silence. Pure, but for the extension,
// which belongs to the member's loop.

import EventLoop

/// The two deadlines of an open member. The wheel has the earlier one.
struct MemberDeadlines {
    /// When the last known sign of life is too old. `never` while Redis is being asked for a later one.
    private(set) var heartbeat = CoarseInstant.never
    /// When the member is pinged, if nothing is sent before. `never` without `--ping-interval`.
    private(set) var ping = CoarseInstant.never

    /// What the wheel has to know.
    var next: CoarseInstant { min(heartbeat, ping) }

    /// Whether Redis is being asked for a sign of life, and none has come meanwhile.
    var isInDoubt: Bool { heartbeat == .never }

    /// The heartbeat is looked at after this time.
    mutating func awaitHeartbeat(within time: Duration, now: MonotonicInstant) {
        heartbeat = CoarseInstant(notBefore: now) + time
    }

    /// Takes the heartbeat's deadline if it has come: the member is in doubt then.
    mutating func takeHeartbeat(now: MonotonicInstant) -> Bool {
        guard heartbeat.hasCome(by: now) else { return false }
        heartbeat = .never
        return true
    }

    /// Silence begins now.
    mutating func awaitPing(after interval: Duration, now: MonotonicInstant) {
        ping = CoarseInstant(notBefore: now) + interval
    }

    /// Whether the member is to be pinged now. Puts the ping's deadline off: if something was sent, to the
    /// end of the silence that began then.
    ///
    /// - Parameter lastSent: when something was last sent.
    mutating func takePing(after interval: Duration, lastSent: CoarseInstant, now: MonotonicInstant) -> Bool
    {
        guard ping.hasCome(by: now) else { return false }
        ping = lastSent + interval
        if !ping.hasCome(by: now) { return false }
        awaitPing(after: interval, now: now)
        return true
    }
}

extension Member {
    /// The member is complete, and has the whole time for its first heartbeat.
    final func beginDeadlines(_ now: MonotonicInstant = .now) {
        if let interval = worker.pingInterval { deadlines.awaitPing(after: interval, now: now) }
        deadlines.awaitHeartbeat(within: worker.heartbeatTimeout, now: now)
        arm(now)
    }

    /// Gives the member so much time for its next sign of life.
    final func awaitHeartbeat(within time: Duration) {
        guard isOpen else { return }
        let now = MonotonicInstant.now
        deadlines.awaitHeartbeat(within: time, now: now)
        arm(now)
    }

    /// A deadline of the open member has come.
    final func lookAtDeadlines(_ now: MonotonicInstant = .now) {
        if let interval = worker.pingInterval,
            deadlines.takePing(after: interval, lastSent: beatsByPong ? .distantPast : lastSent, now: now)
        {
            ping()
        }
        let isDue = deadlines.takeHeartbeat(now: now)
        arm(now)
        if isDue { worker.shards.of(token).heartbeats.isDue(self) }
    }

    /// When its rooms last brought messages. Nothing is noted for a single member, so that a delivery costs
    /// no more; what else it was sent, such as a Pong, does not count: at worst it gets a Ping too many.
    private final var lastSent: CoarseInstant {
        max(firstRoom?.lastSent ?? .distantPast, secondRoom?.lastSent ?? .distantPast)
    }

    private final func arm(_ now: MonotonicInstant) {
        let next = deadlines.next
        if next != .never { setDeadline(after: next.instant - now) }
    }
}
