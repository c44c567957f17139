// The rooms of one worker: who is in them, and the step from a message to its clients. Loop-confined.

import EventLoop
import RedisSchema

/// Room → local clients.
final class RoomTable {
    private let worker: Int
    private let subscriber: Mailbox<SubscriberMessage>
    private let metrics: WorkerMetrics
    private var rooms: [RoomId: Room] = [:]
    /// The rooms that have messages in this turn.
    private var dirty: ContiguousArray<Room> = []
    private let merged = MergedFrames()

    init(worker: Int, subscriber: Mailbox<SubscriberMessage>, metrics: WorkerMetrics) {
        self.worker = worker
        self.subscriber = subscriber
        self.metrics = metrics
    }

    /// Every room, also those that nobody has entered yet, in any order.
    ///
    /// - Complexity: O(rooms).
    var all: [Room] { Array(rooms.values) }

    // MARK: The road

    /// Takes a message for the clients of a room; they are written at the end of the turn.
    func deliver(_ frame: SharedFrame, to id: RoomId) {
        // A message may cross the last client's leaving.
        guard let room = rooms[id], !room.members.isEmpty else { return }
        if room.append(frame) { dirty.append(room) }
    }

    /// Ends the turn: each client of a room with messages is written once.
    ///
    /// The frames of a room are joined, so that its clients share one run of bytes whatever number of messages came; a
    /// client both of whose rooms have messages gets the frames themselves, in the order in which they came.
    func flush(through writer: TurnWriter) {
        guard !dirty.isEmpty else { return }
        var deliveredCount = 0
        for room in dirty {
            let chunk = SharedFrame.joined(room.frames)
            writer.hold(chunk)
            room.members.withUnsafeBufferPointer { members in
                for member in members {
                    member._withUnsafeGuaranteedRef { client in
                        if client.hasMessagesInBothRooms {
                            writeMerged(client, visiting: room)
                        } else {
                            writer.write(chunk, to: client)
                        }
                    }
                }
            }
            deliveredCount += room.frames.count * room.members.count
        }
        writer.finish()
        merged.clear()
        let now = MonotonicInstant.now
        for room in dirty {
            for frame in room.frames {
                metrics.publishToFlush.record(nanoseconds: now.nanoseconds - frame.receivedAt.nanoseconds)
            }
            room.endTurn()
        }
        dirty.removeAll(keepingCapacity: true)
        metrics.framesDelivered.add(UInt64(deliveredCount))
    }

    /// Once for the two rooms, as both of them come by.
    private func writeMerged(_ client: Client, visiting room: Room) {
        guard let first = client.firstRoom, let second = client.secondRoom, first === room else { return }
        merged.merge(first, second)
        client.send(merged)
    }

    // MARK: Joining and leaving

    /// Prepares a handshake's entry into rooms, subscribing those that are new. Until `join` or `cancel`, one of which
    /// must follow, the rooms stay.
    func prepare(_ ids: [RoomId]) -> PendingJoin {
        PendingJoin(rooms: ids.map(enter))
    }

    /// Makes the client of a finished handshake a member of its rooms.
    func join(_ client: Client, _ pending: PendingJoin) {
        for room in pending.rooms {
            room.pendingCount -= 1
            client.takeSeat(room.add(client), in: room)
        }
    }

    /// Gives up the entry of a handshake that has failed.
    func cancel(_ pending: PendingJoin) {
        // What it would do holds the handshake, which holds it.
        pending.onReady = nil
        pending.onRefused = nil
        for room in pending.rooms {
            room.pendingCount -= 1
            room.waiting.removeAll { $0 === pending }
            dropIfUnused(room)
        }
    }

    func leave(_ room: Room, seat: Int32) {
        room.remove(seat: seat)
        dropIfUnused(room)
    }

    private func enter(_ id: RoomId) -> Room {
        if let room = rooms[id] {
            room.pendingCount += 1
            return room
        }
        let room = Room(id: id)
        room.pendingCount = 1
        rooms[id] = room
        metrics.rooms.set(UInt64(rooms.count))
        subscriber.post(.join(room: id, worker: worker))
        return room
    }

    private func dropIfUnused(_ room: Room) {
        guard room.isUnused else { return }
        rooms[room.id] = nil
        metrics.rooms.set(UInt64(rooms.count))
        subscriber.post(.leave(room: room.id, worker: worker))
    }

    // MARK: Subscriptions

    /// Redis has confirmed a room. A confirmation that crossed the room's leaving and rejoining may come early; the
    /// room was then subscribed without a break, so it is true all the same.
    func subscribed(_ id: RoomId) {
        guard let room = rooms[id], !room.isSubscribed else { return }
        room.isSubscribed = true
        room.isRefused = false
        let waiting = room.waiting
        room.waiting = []
        for pending in waiting { pending.roomIsSubscribed() }
    }

    /// Redis' access rules refuse a room: who waits for it goes away, who is in it stays.
    func refused(_ id: RoomId) {
        guard let room = rooms[id] else { return }
        room.isSubscribed = false
        room.isRefused = true
        let waiting = room.waiting
        room.waiting = []
        for pending in waiting { pending.onRefused?() }
    }

    /// The subscriber's connection is lost: every room waits for its confirmation again.
    func subscriptionsLost(pending: some Sequence<PendingJoin>) {
        for room in rooms.values { room.isSubscribed = false }
        for join in pending { join.subscriptionsLost() }
    }
}
