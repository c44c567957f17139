// A room on one worker. Loop-confined.

import RedisSchema

/// The local clients of a room, and the messages of the present turn.
final class Room {
    let id: RoomId
    /// Unretained: a client leaves its rooms before its host lets go of it, and iterating over thousands of members
    /// must not touch their reference counts.
    private(set) var members: ContiguousArray<Unmanaged<Client>> = []
    /// What came in this turn, in order.
    private(set) var frames: ContiguousArray<SharedFrame> = []
    /// Handshakes on their way into the room: it may not be left meanwhile.
    var pendingCount = 0
    /// Whether Redis has confirmed the subscription, so that nothing published from now on is missed.
    var isSubscribed = false
    /// Whether Redis' access rules refuse it: nothing comes, and nobody may enter.
    var isRefused = false
    /// Handshakes that wait for `isSubscribed`.
    var waiting: [PendingJoin] = []

    init(id: RoomId) {
        self.id = id
    }

    var isDirty: Bool { !frames.isEmpty }

    var isUnused: Bool { members.isEmpty && pendingCount == 0 }

    /// Takes a message for the end of the turn; returns whether it is the turn's first.
    func append(_ frame: SharedFrame) -> Bool {
        frames.append(frame)
        return frames.count == 1
    }

    func endTurn() {
        frames.removeAll(keepingCapacity: frames.count <= 64)
    }

    /// Adds a client; its seat is what `remove` needs.
    func add(_ client: Client) -> Int32 {
        members.append(Unmanaged.passUnretained(client))
        return Int32(members.count - 1)
    }

    /// Removes the client of a seat; the last member takes the seat over.
    func remove(seat: Int32) {
        let last = members.removeLast()
        guard Int(seat) < members.count else { return }
        members[Int(seat)] = last
        last.takeUnretainedValue().moveSeat(in: self, to: seat)
    }
}

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
