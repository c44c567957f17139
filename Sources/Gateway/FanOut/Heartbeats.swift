// Whether the members of one worker, whose records one server has, still beat, by their Pongs or by Redis' word.
// Loop-confined.

import EventLoop

/// Asks Redis when a member's deadline has come, and closes the member if its last heartbeat is too long ago
/// or its token is gone. While Redis cannot be asked, or takes no heartbeats, silence is not the member's:
/// it gets a new deadline.
///
/// With `--heartbeat pong` a Pong sets a new deadline without asking Redis, and now and then renews the
/// record, so that Redis is asked only for a member that has answered no Ping. Then another walk looks for
/// deleted records.
final class Heartbeats {
    private let node: NodeContext
    private let worker: Int
    private let registry: ClientRegistry
    /// The time between two signs of life at most.
    let timeout: Duration
    /// Whether Pongs are heartbeats.
    let arePongs: Bool
    private let members: () -> [Member]
    private let confirmation: RecordConfirmation
    /// Only if Pongs are heartbeats: otherwise each member's check finds out.
    private var presence: RecordPresence?
    /// Whether what is published to the node is heard.
    private var isHeard = true

    /// - Parameter members: the worker's open ones.
    init(
        worker: Int, node: NodeContext, registry: ClientRegistry, loop: EventLoop,
        members: @escaping () -> [Member]
    ) {
        self.worker = worker
        self.node = node
        self.registry = registry
        self.members = members
        timeout = node.configuration.heartbeatTimeout
        arePongs = node.configuration.heartbeat == .pong
        confirmation = RecordConfirmation(registry: registry, timeout: timeout, loop: loop)
        guard arePongs, let interval = node.configuration.pingInterval else { return }
        presence = RecordPresence(registry: registry, interval: interval, loop: loop, members: members) {
            [unowned self] in self.recordMayBeMissing($0)
        }
    }

    /// The member has answered a Ping.
    func beat(_ member: Member) {
        guard member.isOpen else { return }
        node.metrics.workers[worker].pongs.add(1)
        let deadlines = member.deadlines
        member.awaitHeartbeat(within: timeout)
        let period = HeartbeatClock.renewalPeriod(
            ttlSeconds: Int64(member.record.ttlSeconds), timeout: timeout)
        let isRenewal =
            deadlines.isInDoubt
            || HeartbeatClock.renews(
                since: deadlines.heartbeat - timeout, now: member.deadlines.heartbeat - timeout,
                period: period, number: member.connectionID)
        guard isRenewal, registry.isUp else { return }
        // If Redis does not take it, the record is confirmed when it does again.
        registry.renew(member.token) { [unowned self] renewal in
            if renewal == .unknownToken { self.recordIsMissing(member) }
        }
    }

    /// Asks Redis when the last heartbeat was. All that are due in a turn ask in one write.
    func isDue(_ member: Member) {
        guard silenceCounts else { return member.awaitHeartbeat(within: timeout) }
        registry.remaining(member.token) { [unowned self] remaining in
            // A Pong, or the record's confirmation, may have come meanwhile.
            guard member.isOpen, member.deadlines.isInDoubt else { return }
            switch remaining {
            case .milliseconds(let left):
                let decision = HeartbeatClock.decide(
                    ttlSeconds: Int64(member.record.ttlSeconds), remainingMilliseconds: left,
                    timeout: timeout)
                switch decision {
                case .close: self.closeSilent(member)
                case .check(let delay): member.awaitHeartbeat(within: delay)
                }
            case .missing: self.closeUnlessLost(member)
            case .unlimited: member.awaitHeartbeat(within: timeout)
            // Redis is away: that is not the member's fault, and its return starts the time anew.
            case .unavailable: member.awaitHeartbeat(within: timeout)
            }
        }
    }

    /// The record was not renewed for too long: the client is silent, or its token was revoked while the node
    /// did not hear of it.
    private func closeSilent(_ member: Member) {
        registry.isRevoked(member.token) { [unowned self] isRevoked in
            guard member.isOpen else { return }
            self.closeUnlessRefused(member, isRevoked ? .revoked : .heartbeatTimeout)
        }
    }

    /// The record is missing: it was deleted, unless Redis has lost it.
    private func closeUnlessLost(_ member: Member) {
        registry.judgeMissing { [unowned self] isLost in
            guard member.isOpen else { return }
            guard isLost else { return self.closeUnlessRefused(member, .revoked) }
            member.awaitHeartbeat(within: min(self.timeout, Limits.lossCheckInterval))
        }
    }

    /// Of this member and some others, not all have a record.
    private func recordMayBeMissing(_ member: Member) {
        registry.remaining(member.token) { [unowned self] remaining in
            if case .missing = remaining { self.recordIsMissing(member) }
        }
    }

    private func recordIsMissing(_ member: Member) {
        if member.isOpen, silenceCounts { closeUnlessLost(member) }
    }

    /// Whether the lack of a heartbeat or of a record is the member's: not while records are written again,
    /// when a missing one means nothing, nor while Redis takes no heartbeat.
    private var silenceCounts: Bool { registry.tellsSilence && !confirmation.isRunning }

    /// Closes a member on Redis' word, if Redis would have taken its heartbeats.
    private func closeUnlessRefused(_ member: Member, _ reason: CloseReason) {
        registry.writes.check { [unowned self] isTaken in
            guard member.isOpen else { return }
            if reason == .heartbeatTimeout, !member.deadlines.isInDoubt { return }
            if isTaken, self.silenceCounts {
                member.close(reason)
            } else {
                member.awaitHeartbeat(within: self.timeout)
            }
        }
    }

    // MARK: Records

    /// Makes the record name this connection, now that it is complete; the connection that it named is
    /// replaced.
    ///
    /// - Parameter lossCount: the registry's when the handshake asked Redis for its place.
    func takeOver(_ member: Member, since lossCount: UInt32) {
        confirmation.confirm(member, since: lossCount)
    }

    /// The command connection is back.
    func redisIsUp(_ server: ClientRegistry.Return) {
        // A record may also have run out because its heartbeats could not be taken while Redis was away.
        let tokenTTL = node.configuration.tokenTTL
        let period = HeartbeatClock.renewalPeriod(ttlSeconds: tokenTTL.components.seconds, timeout: timeout)
        let longestUnrenewed = timeout + (arePongs ? period : .zero)
        let mayHaveExpired = server.hadRefused || server.away >= tokenTTL - longestUnrenewed
        confirm(restoring: !server.isSameRun || mayHaveExpired)
    }

    /// Redis has lost records while it was connected.
    func recordsLost() { confirm(restoring: true) }

    /// The feed's connection is lost: what is published to the node is not heard until it is back.
    func nodeIsNotHeard() { isHeard = false }

    /// What was published to the node meanwhile was not heard.
    func nodeIsHeardAgain() {
        isHeard = true
        // The command connection's return confirms the records as well.
        if registry.isUp { confirm(restoring: false) }
    }

    /// Redis refuses what renews records, or takes it again: then it was away from them for as long.
    func writesChanged() {
        let refusal = registry.writes.refusal
        // One of several masters: whether the node is ready depends on the others, too.
        if registry.address == nil {
            node.state.setWriteRefusal(refusal, worker: worker)
            node.controlMailbox.post(.redisWrites(worker: worker, isRefusing: refusal != nil))
            node.controlMailbox.post(.readinessChanged)
        }
        if refusal == nil { confirm(restoring: true) }
    }

    /// The server's part is over.
    func stop() {
        confirmation.stop()
        presence?.stop()
    }

    private func confirm(restoring: Bool) {
        confirmation.start(restoring: restoring, isSubscribed: isHeard, members)
    }
}
