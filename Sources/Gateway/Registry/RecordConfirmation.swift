// The return of Redis: live clients' records are made true again. Loop-confined.

import EventLoop
import Notices

/// Walks through a worker's clients in batches, so that a node with many clients goes on serving meanwhile.
final class RecordConfirmation {
    private static let batchCount = 500
    private static let pause = Duration.milliseconds(1)
    /// Before Redis is asked again for what it has refused: it may be out of memory until records expire.
    private static let retryPause = Duration.seconds(1)

    private let registry: ClientRegistry
    private let timeout: Duration
    private var remaining: ArraySlice<Client> = []
    private var timer: Timer?
    /// Whether missing records are written again, rather than taken for revocations. Stays set until one walk has
    /// reached every client: an interrupted restoration is owed.
    private var isRestoring = false
    /// The clients of this walk whose records Redis has not taken.
    private var failed: [Client] = []
    private var walk = 0
    /// Whether missing records prove nothing yet. Stays set when the connection is lost, as its return starts over.
    private(set) var isRunning = false

    /// - Parameter timeout: the time that a confirmed client has for its next heartbeat.
    init(registry: ClientRegistry, timeout: Duration, loop: EventLoop) {
        self.registry = registry
        self.timeout = timeout
        timer = Timer(on: loop) { [unowned self] in self.confirmBatch() }
    }

    /// Starts, or starts over.
    func start(_ clients: some Collection<Client>, restoring: Bool) {
        timer?.cancel()
        walk += 1
        isRestoring = isRestoring || restoring
        remaining = Array(clients)[...]
        failed = []
        isRunning = true
        confirmBatch()
    }

    private func confirmBatch() {
        for client in remaining.prefix(RecordConfirmation.batchCount) where client.state == .open {
            registry.confirm(client, restoring: isRestoring) { [unowned self] in self.confirmed(client, $0) }
        }
        remaining = remaining.dropFirst(RecordConfirmation.batchCount)
        guard remaining.isEmpty else {
            timer?.start(after: RecordConfirmation.pause)
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
            timer?.start(after: RecordConfirmation.retryPause)
            return
        }
        isRestoring = false
        isRunning = false
    }

    private func confirmed(_ client: Client, _ confirmation: ClientRegistry.Confirmation?) {
        guard client.state == .open else { return }
        switch confirmation {
        case .renewed, .restored: client.setDeadline(after: timeout)
        case .replaced: client.close(.replaced)
        case .revoked: client.close(.revoked)
        case nil: failed.append(client)
        }
    }
}
