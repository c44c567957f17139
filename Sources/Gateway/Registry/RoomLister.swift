// The answer to the question which rooms a node has: exact, on demand, and nothing is left in Redis.
// Loop-confined.

import EventLoop
import RedisSchema
import Redis

/// Publishes all rooms of one worker to a reply channel, in chunks over several turns. `RoomListMessage` has
/// the form.
final class RoomLister {
    private let worker: Int
    private let workerCount: Int
    private let channels: Channels
    private let registry: () -> ClientRegistry
    private let rooms: RoomTable
    private let walk: RoomWalk
    private var waiting: [ReplyId] = []
    private var chunk: [UInt8] = []
    private var roomCount = 0

    init(
        worker: Int, configuration: Configuration, registry: @autoclosure @escaping () -> ClientRegistry,
        rooms: RoomTable,
        loop: EventLoop
    ) {
        self.worker = worker
        workerCount = configuration.workerCount
        channels = Channels(prefix: configuration.prefix)
        self.registry = registry
        self.rooms = rooms
        walk = RoomWalk(loop: loop)
    }

    /// Questions that have not yet their end.
    var waitingCount: Int { waiting.count }

    /// Answers now, or behind the answers that are under way.
    func list(reply: ReplyId) {
        guard waiting.count < Limits.roomListWaitingCount, !waiting.contains(reply) else { return }
        waiting.append(reply)
        if !walk.isRunning { startNext() }
    }

    private func startNext() {
        guard let reply = waiting.first else { return }
        let channel = channels.reply(reply)
        chunk = RoomListMessage.chunkHead(worker: worker)
        roomCount = 0
        walk.start(
            rooms.all,
            onRooms: { [unowned self] rooms in for room in rooms { self.add(room, to: channel) } },
            onEnd: { [unowned self] in self.finish(channel) })
    }

    private func add(_ room: Room, to channel: [UInt8]) {
        guard !room.isEmpty else { return }
        // An id, a TAB, a number and a line feed.
        if chunk.count + RoomId.maximumBytes + 22 > RoomListMessage.maximumChunkBytes {
            publishChunk(to: channel)
        }
        RoomMembers(room: room.id, count: room.memberCount).append(to: &chunk)
        roomCount += 1
    }

    private func publishChunk(to channel: [UInt8]) {
        publish(chunk, to: channel)
        chunk = RoomListMessage.chunkHead(worker: worker)
    }

    private func finish(_ channel: [UInt8]) {
        if roomCount > 0 { publishChunk(to: channel) }
        let end = RoomListMessage.end(worker: worker, workerCount: workerCount, roomCount: roomCount)
        publish(end.bytes, to: channel)
        chunk = []
        waiting.removeFirst()
        startNext()
    }

    /// If this fails the asker misses the end, and asks again.
    private func publish(_ payload: [UInt8], to channel: [UInt8]) {
        registry().send(RedisCommand([[UInt8]("PUBLISH"), channel, payload]), named: "PUBLISH") { _ in }
    }
}
