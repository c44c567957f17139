// The end of a run: waits until everything published has arrived, or until it is late enough to be lost.
// Loop-confined.

import EventLoop

/// Looks every few milliseconds whether a delivery is still missing.
final class SettlePhase {
    private static let tick = Duration.milliseconds(10)

    private unowned let holder: Holder
    private let publishedCount: Int
    private let deadline: MonotonicInstant
    private let onDone: () -> Void
    private var timer: Timer?

    init(_ holder: Holder, publishedCount: Int, onDone: @escaping () -> Void) {
        self.holder = holder
        self.publishedCount = publishedCount
        self.onDone = onDone
        deadline = .now + .milliseconds(holder.plan.load.settleMilliseconds)
    }

    func start() {
        for client in holder.seats.compactMap(\.client) where client.isSlow && client.phase == .open {
            client.resume()
        }
        timer = Timer(on: holder.loop, repeating: true) { [unowned self] in self.look() }
        look()
        timer?.start(after: SettlePhase.tick)
    }

    private func look() {
        guard timer != nil else { return }
        holder.churn?.dropOverdue()
        let isComplete =
            holder.churn?.isBusy != true && holder.failover?.isBusy != true && !isAnythingMissing
        guard isComplete || MonotonicInstant.now >= deadline else { return }
        timer = nil
        onDone()
    }

    /// Connections that have ended cannot get what they miss, and are not waited for. Slow ones have caught
    /// up or have ended.
    private var isAnythingMissing: Bool {
        holder.seats.contains { seat in
            guard let client = seat.client, client.phase == .open else { return false }
            return client.missingCount(ofMessages: publishedCount) > 0
        }
    }
}
