// A handshake that waits for the subscription of its rooms. Loop-confined.

/// A handshake on its way into rooms, which stay as long as it is; ready when all of them are subscribed.
final class PendingJoin {
    let rooms: [Room]
    private var missingCount: Int
    /// Runs once, when the last missing subscription is confirmed; never if none was missing.
    var onReady: (() -> Void)?
    /// Runs when Redis refuses one of the rooms.
    var onRefused: (() -> Void)?

    init(rooms: [Room]) {
        self.rooms = rooms
        missingCount = rooms.count { !$0.isSubscribed }
        for room in rooms where !room.isSubscribed { room.waiting.append(self) }
    }

    var isReady: Bool { missingCount == 0 }

    /// Whether one of the rooms is known to be refused.
    var isRefused: Bool { rooms.contains { $0.isRefused } }

    func roomIsSubscribed() {
        missingCount -= 1
        guard missingCount == 0, let onReady else { return }
        // Either would hold the handshake, which holds this.
        self.onReady = nil
        onRefused = nil
        onReady()
    }

    /// Every subscription is lost, those included on which it counted: wait for all of the rooms.
    func subscriptionsLost() {
        guard !isReady else { return }
        missingCount = rooms.count
        for room in rooms where !room.waiting.contains(where: { $0 === self }) { room.waiting.append(self) }
    }
}
