// The rooms of one worker: who is in them, and the step from a message to its members. Loop-confined.

import EventLoop
import RedisSchema

/// Room → local members.
final class RoomTable {
    private let worker: Int
    let loop: EventLoop
    let tellFeed: (FeedMessage) -> Void
    private let metrics: WorkerMetrics
    private var rooms: [RoomId: Room] = [:]
    /// The rooms that have messages in this turn.
    private var dirty: ContiguousArray<Room> = []
    private let merged = MergedMessages()
    /// How many leaves the worker has sent to the feed.
    private(set) var leaveCount: UInt64 = 0

    /// - Parameter tellFeed: says to the feed which rooms the worker has.
    init(
        worker: Int, metrics: WorkerMetrics, loop: EventLoop, tellFeed: @escaping (FeedMessage) -> Void
    ) {
        self.worker = worker
        self.loop = loop
        self.metrics = metrics
        self.tellFeed = tellFeed
    }

    /// Every room, also those without a member yet, in any order.
    ///
    /// - Complexity: O(rooms).
    var all: [Room] { Array(rooms.values) }

    // MARK: The road

    /// Takes a message for the members of its room; they are written at the end of the turn. Returns whether
    /// the turn has brought the room its share.
    @discardableResult
    func deliver(_ message: Message) -> Bool {
        loop.assertOnThread()
        // A message may cross the last member's leaving.
        guard let room = rooms[message.room], !room.isEmpty else { return false }
        if room.append(message) { dirty.append(room) }
        return room.messageBytes >= Limits.turnRoomBytes
    }

    /// Writes each member of a room with messages once.
    ///
    /// The messages of a room are joined, so that an audience shares one run of bytes however many messages
    /// came; a member that is held out gets the messages themselves, in the order in which they came.
    func flush(through writer: TurnWriter) {
        loop.assertOnThread()
        guard !dirty.isEmpty else { return }
        var deliveredCount = 0
        for room in dirty {
            for index in room.audiences.indices where !room.audiences[index].members.isEmpty {
                write(to: room.audiences[index], of: room, through: writer)
                deliveredCount += room.messages.count * room.audiences[index].members.count
            }
            for catchUp in room.catchingUp { catchUp.wait(for: room.messages) }
        }
        writer.finish()
        merged.clear()
        let now = MonotonicInstant.now
        let end = CoarseInstant(notBefore: now)
        for room in dirty {
            for message in room.messages {
                metrics.publishToFlush.record(nanoseconds: now.nanoseconds - message.receivedAt.nanoseconds)
            }
            room.endTurn(end)
        }
        dirty.removeAll(keepingCapacity: true)
        metrics.framesDelivered.add(UInt64(deliveredCount))
    }

    private func write(to audience: borrowing Audience, of room: Room, through writer: TurnWriter) {
        let run = SharedBytes.joining(room.messages, as: audience.encoding)
        writer.hold(run)
        audience.members.withUnsafeBufferPointer { members in
            for member in members {
                member._withUnsafeGuaranteedRef { member in
                    if member.isHeldOut {
                        writeMerged(member, visiting: room)
                    } else {
                        writer.write(run, to: member)
                    }
                }
            }
        }
    }

    /// Once for the two rooms, as both of them come by if both have messages.
    private func writeMerged(_ member: Member, visiting room: Room) {
        guard let first = member.firstRoom, let second = member.secondRoom else { return }
        guard room === (first.isDirty ? first : second) else { return }
        merged.merge(first, second, as: member.encoding)
        member.send(merged)
    }

    // MARK: Joining and leaving

    /// Prepares a handshake's entry into rooms, subscribing those that are new. Until `join` or `cancel`,
    /// one of which must follow, the rooms stay.
    func prepare(_ ids: [RoomId]) -> PendingJoin {
        loop.assertOnThread()
        return PendingJoin(rooms: ids.map(enter))
    }

    /// Seats the member of a finished handshake in its rooms.
    func join(_ member: Member, _ pending: PendingJoin) {
        loop.assertOnThread()
        for room in pending.rooms {
            room.pendingCount -= 1
            member.takeSeat(room.add(member), in: room)
        }
    }

    /// Gives up the entry of a handshake that has failed.
    func cancel(_ pending: PendingJoin) {
        loop.assertOnThread()
        // What it would do holds the handshake, which holds it.
        pending.onReady = nil
        pending.onRefused = nil
        for room in pending.rooms {
            room.pendingCount -= 1
            room.waiting.removeAll { $0 === pending }
            dropIfUnused(room)
        }
    }

    func leave(_ room: Room, _ member: Member, seat: Int32) {
        loop.assertOnThread()
        room.remove(member, seat: seat)
        dropIfUnused(room)
    }

    private func enter(_ id: RoomId) -> Room {
        if let room = rooms[id] {
            room.pendingCount += 1
            return room
        }
        let room = Room(id: id, leaveCount: leaveCount)
        room.pendingCount = 1
        rooms[id] = room
        metrics.rooms.set(UInt64(rooms.count))
        tellFeed(.join(room: id, worker: worker))
        return room
    }

    private func dropIfUnused(_ room: Room) {
        guard room.isUnused else { return }
        rooms[room.id] = nil
        metrics.rooms.set(UInt64(rooms.count))
        leaveCount += 1
        tellFeed(.leave(room: room.id, worker: worker))
    }

    /// Where the history of a room goes on for its members.
    func setPosition(_ position: HistoryPosition, of id: RoomId) { rooms[id]?.position = position }

    // MARK: Subscriptions

    /// Redis has confirmed a room.
    ///
    /// - Parameter leaveCount: how many leaves of this worker the feed had handled by then.
    func subscribed(_ id: RoomId, leaveCount: UInt64) {
        loop.assertOnThread()
        guard let room = rooms[id], leaveCount >= room.leaveCount, !room.isSubscribed else { return }
        room.isSubscribed = true
        room.isRefused = false
        let waiting = room.waiting
        room.waiting = []
        for pending in waiting { pending.roomIsSubscribed() }
    }

    /// Redis' access rules refuse a room: handshakes that wait for it fail, members stay.
    func refused(_ id: RoomId, leaveCount: UInt64) {
        loop.assertOnThread()
        guard let room = rooms[id], leaveCount >= room.leaveCount else { return }
        room.isSubscribed = false
        room.isRefused = true
        let waiting = room.waiting
        room.waiting = []
        for pending in waiting { pending.onRefused?() }
    }

    /// The feed's connection is lost: every room waits for its confirmation again.
    func subscriptionsLost(pending: some Sequence<PendingJoin>) {
        loop.assertOnThread()
        for room in rooms.values { room.isSubscribed = false }
        for join in pending { join.subscriptionsLost() }
    }
}
