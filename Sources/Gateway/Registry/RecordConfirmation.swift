// The return of Redis: live clients' records are made true again. Loop-confined.

import EventLoop

/// Walks through a worker's clients in batches, so that a node with many clients still serves them.
final class RecordConfirmation {
    private let registry: ClientRegistry
    private let timeout: Duration
    /// Those to walk through; made when the walk begins.
    private var makeClients: (() -> [Member])?
    private var remaining: ArraySlice<Member> = []
    private var timer: Timer?
    /// Whether missing records are written again, rather than taken for revocations. Stays set until one
    /// walk has reached every client: an interrupted restoration is owed.
    private var isRestoring = false
    /// The clients whose records Redis has not taken.
    private var failed: [Member] = []
    private var walk = 0
    /// Whether missing records prove nothing yet. Stays set when the connection is lost, as its return
    /// starts over.
    private(set) var isRunning = false

    /// - Parameter timeout: the time that a confirmed client has for its next heartbeat.
    init(registry: ClientRegistry, timeout: Duration, loop: EventLoop) {
        self.registry = registry
        self.timeout = timeout
        timer = Timer(on: loop) { [unowned self] in self.goOn() }
    }

    /// Starts, or starts over.
    ///
    /// - Parameters:
    ///   - restoring: whether missing records are written again.
    ///   - isSubscribed: whether what is said on the node's channel comes; otherwise the walk waits a little
    ///     for the next `start`.
    ///   - clients: those to walk through, asked for when the walk begins.
    func start(restoring: Bool, isSubscribed: Bool = true, _ clients: @escaping () -> [Member]) {
        timer?.cancel()
        walk += 1
        isRestoring = isRestoring || restoring
        isRunning = true
        remaining = []
        failed = []
        makeClients = clients
        if isSubscribed { goOn() } else { timer?.start(after: Limits.subscriberPatience) }
    }

    /// Ends a walk without a word.
    func stop() {
        timer?.cancel()
        walk += 1
        isRunning = false
        remaining = []
        makeClients = nil
    }

    /// Writes one client's record, whose handshake is complete.
    ///
    /// - Parameter lossCount: the registry's when the handshake found the record. Behind a loss a missing record is
    ///   written again.
    func confirm(_ member: Member, since lossCount: UInt32) {
        write(member, since: lossCount == registry.lossCount ? lossCount : nil)
    }

    /// - Parameter lossCount: as for `confirmed`.
    private func write(_ member: Member, since lossCount: UInt32?) {
        let restoring = lossCount == nil
        registry.confirm(member, restoring: restoring) { [unowned self] confirmation in
            // A connection that is lost returns with a walk.
            guard confirmation != nil || self.registry.isUp else { return }
            self.confirmed(member, confirmation, lossCount, isNew: true)
            guard confirmation == nil else { return }
            self.isRestoring = self.isRestoring || restoring
            guard !self.isRunning else { return }
            self.isRunning = true
            self.timer?.start(after: Limits.confirmationRetryPause)
        }
    }

    private func goOn() {
        if let makeClients {
            remaining = makeClients()[...]
            self.makeClients = nil
        }
        confirmBatch()
    }

    private func confirmBatch() {
        // Redis says when it takes writes again, and then all start over.
        guard registry.writes.refusal == nil else {
            timer?.start(after: Limits.confirmationRetryPause)
            return
        }
        let lossCount = isRestoring ? nil : registry.lossCount
        for client in remaining.prefix(Limits.confirmationBatchCount) where client.isOpen {
            registry.confirm(client, restoring: isRestoring) { [unowned self] in
                self.confirmed(client, $0, lossCount)
            }
        }
        remaining = remaining.dropFirst(Limits.confirmationBatchCount)
        guard remaining.isEmpty else {
            timer?.start(after: Limits.slicePause)
            return
        }
        let walk = walk
        registry.afterCommandsSent { [unowned self] in if walk == self.walk { self.finish() } }
    }

    /// The connection still stands, so what has failed was refused.
    private func finish() {
        guard failed.isEmpty else {
            remaining = failed[...]
            failed = []
            timer?.start(after: Limits.confirmationRetryPause)
            return
        }
        isRestoring = false
        isRunning = false
    }

    /// - Parameter lossCount: of the registry when a record was there; nil if a missing one was to be written again.
    private func confirmed(
        _ member: Member, _ confirmation: ClientRegistry.Confirmation?, _ lossCount: UInt32?,
        isNew: Bool = false
    ) {
        guard member.isOpen else { return }
        switch confirmation {
        // A new client's time runs since its handshake.
        case .renewed, .restored: if !isNew { member.awaitHeartbeat(within: timeout) }
        case .replaced: member.close(.replaced)
        case .revoked:
            guard let lossCount else { return member.close(.revoked) }
            registry.findLoss(since: lossCount) { [unowned self] isFound in
                guard member.isOpen else { return }
                if isFound { self.write(member, since: nil) } else { member.close(.revoked) }
            }
        case nil: failed.append(member)
        }
    }
}
