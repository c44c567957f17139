// A Redis with streams that is played: what it does is put on a log, as in an append-only file.

import EventLoop
import RedisSchema

@testable import Gateway

/// A durable notice in the model; its number is different in each publish.
struct ModelFrame: Equatable, Sendable {
    let id: NoticeId
    let payload: Int

    /// Some notices are held back by every node.
    static func isHeldBack(_ payload: Int) -> Bool { payload % 40 == 39 }

    var entry: HistoryEntry<ModelFrame> {
        HistoryEntry(id: id, frame: ModelFrame.isHeldBack(payload) ? nil : self, memoryBytes: 1)
    }
}

/// One connection of a node to a Redis.
final class ModelLink<Command, Reply> {
    unowned let server: ModelRedis
    var isDead = false
    var commands = Fifo<Command>()
    var replies = Fifo<Reply>()
    /// Subscribed rooms.
    var rooms: Set<Int> = []
    /// The node at the other end.
    let node: Int
    /// Counts the connections of a node.
    let number: UInt64

    init(server: ModelRedis, node: Int, number: UInt64 = 0) {
        self.server = server
        self.node = node
        self.number = number
    }
}

enum SubscriberCommand {
    case subscribe(Int)
    /// A periodic echo has no number.
    case echo(sentAt: Int, number: UInt64?)
}

enum SubscriberReply {
    case subscribed(Int)
    case echo(sentAt: Int, number: UInt64?)
    case message(Int, ModelFrame)
    /// What the node has published to itself at the master of a slot.
    case slotEcho(UInt64, slot: Int)
    /// The same from time to time, at each master.
    case beat(sentAt: Int, at: Int)
}

enum ReaderCommand {
    /// The slot is that of the node's question, whose epoch may be in another slot of the cluster.
    case epoch(slot: Int, UInt64, inDoubt: HistoryEpoch?)
    case ask(HistoryCommand)
    case publish(SubscriberReply)
}

enum ReaderReply {
    case epoch(slot: Int, UInt64, HistoryEpoch)
    /// Another master has the slot.
    case moved(ReaderCommand, to: ModelRedis)
    case tail(UInt64, time: Int64, newest: ModelFrame?)
    case range(UInt64, [ModelFrame])
    case state(UInt64, StreamState)
}

typealias SubscriberLink = ModelLink<SubscriberCommand, SubscriberReply>
typealias ReaderLink = ModelLink<ReaderCommand, ReaderReply>

struct ModelStream {
    var entries: [ModelFrame] = []
    var expiresAt = 0
    var maximumDeleted = NoticeId(milliseconds: 0, number: 0)
}

final class ModelRedis {
    /// The life of a stream behind its last notice, in milliseconds.
    static let age = 4_000
    static let limit = 30

    private enum Operation {
        case publish(room: Int, ModelFrame, at: Int)
        case epoch(HistoryEpoch?, slot: Int)
        case restore(ModelStream, room: Int)
        case delete(Int)
        case take(Int, NoticeId)
        case flush
    }

    private var log: [Operation] = []
    private(set) var streams: [ModelStream?]
    /// By slot.
    private(set) var epochs: [Int: HistoryEpoch] = [:]
    private(set) var run = 0
    /// Its name in a cluster.
    let address: Int
    var skew = 0
    var subscribers: [SubscriberLink] = []
    var readers: [ReaderLink] = []

    /// The other servers of a cluster, and what is on its way to them.
    var bus: [ModelBus] = []

    init(roomCount: Int, address: Int = 0) {
        self.address = address
        streams = Array(repeating: nil, count: roomCount)
    }

    private func apply(_ operation: Operation) {
        log.append(operation)
        switch operation {
        case .publish(let room, let frame, let at):
            if streams[room] == nil { streams[room] = ModelStream() }
            streams[room]!.entries.append(frame)
            if streams[room]!.entries.count > Self.limit { streams[room]!.entries.removeFirst() }
            streams[room]!.expiresAt = at + Self.age
        case .epoch(let epoch, let slot): epochs[slot] = epoch
        case .restore(let stream, let room): streams[room] = stream
        case .delete(let room): streams[room] = nil
        case .take(let room, let id):
            streams[room]?.entries.removeAll { $0.id == id }
            streams[room]?.maximumDeleted = id
        case .flush:
            for room in streams.indices { streams[room] = nil }
            epochs = [:]
        }
    }

    func expire(now: Int) {
        for room in streams.indices {
            if let stream = streams[room], now + skew >= stream.expiresAt { apply(.delete(room)) }
        }
    }

    func publish(room: Int, payload: Int, now: Int) -> NoticeId {
        expire(now: now)
        var (milliseconds, number) = (Int64(now + skew), Int64(1))
        if let newest = streams[room]?.entries.last {
            milliseconds = max(milliseconds, newest.id.milliseconds)
            number = newest.id.number + 1
        }
        let frame = ModelFrame(id: NoticeId(milliseconds: milliseconds, number: number), payload: payload)
        apply(.publish(room: room, frame, at: now + skew))
        spread(.message(room, frame))
        return frame.id
    }

    /// Publishes to its own subscribers, and over the bus.
    private func spread(_ item: ModelBus.Item) {
        receive(item)
        for link in bus { link.queue.append(item) }
    }

    /// What is published here, or comes over the bus.
    func receive(_ item: ModelBus.Item) {
        switch item {
        case .message(let room, let frame):
            for link in subscribers where link.rooms.contains(room) {
                link.replies.append(.message(room, frame))
            }
        case .control(let node, let reply):
            for link in subscribers where link.node == node { link.replies.append(reply) }
        }
    }

    /// Starts again without the last operations; returns the payloads that are lost.
    func restart(losing count: Int, skew: Int, now: Int) -> [Int] {
        let (replica, lost) = failOver(losing: count, skew: skew, now: now)
        for link in subscribers { link.isDead = true }
        for link in readers { link.isDead = true }
        subscribers = []
        readers = []
        self.skew = skew
        (run, log, streams, epochs) = (replica.run, replica.log, replica.streams, replica.epochs)
        return lost
    }

    /// A replica without the last operations takes over. This one lives on with its links, and no one
    /// publishes to it.
    ///
    /// - Parameter address: that of the replica in a cluster.
    func failOver(
        losing count: Int, skew: Int, now: Int, address: Int? = nil
    ) -> (replica: ModelRedis, lost: [Int]) {
        expire(now: now)
        let kept = log.count - min(count, log.count)
        let lost = log[kept...].flatMap { operation -> [Int] in
            switch operation {
            case .publish(_, let frame, _): [frame.payload]
            case .restore(let stream, _): stream.entries.map(\.payload)
            default: []
            }
        }
        let replica = ModelRedis(roomCount: streams.count, address: address ?? self.address)
        replica.skew = skew
        replica.run = run + 1
        for operation in log[..<kept] { replica.apply(operation) }
        return (replica, lost)
    }

    func flush() { apply(.flush) }

    /// Takes an entry out that is not the last.
    func takeOut(room: Int, at place: Int) -> Int? {
        guard let entries = streams[room]?.entries, entries.count > 1 else { return nil }
        let entry = entries[place % (entries.count - 1)]
        apply(.take(room, entry.id))
        return entry.payload
    }

    /// A slot moves: one of its keys comes to another master, in place of what that may have of it.
    ///
    /// - Returns: what is lost.
    func give(room: Int, to target: ModelRedis) -> [Int] {
        guard let stream = streams[room] else { return [] }
        let replaced = target.streams[room]?.entries.map(\.payload) ?? []
        target.apply(.restore(stream, room: room))
        apply(.delete(room))
        return Array(Set(replaced).subtracting(stream.entries.map(\.payload)))
    }

    func give(epochOf slot: Int, to target: ModelRedis) {
        guard let epoch = epochs[slot] else { return }
        target.apply(.epoch(epoch, slot: slot))
        apply(.epoch(nil, slot: slot))
    }

    // MARK: Commands of nodes

    func work(_ link: SubscriberLink) {
        switch link.commands.takeFirst() {
        case .subscribe(let room):
            link.rooms.insert(room)
            link.replies.append(.subscribed(room))
        case .echo(let sentAt, let number): link.replies.append(.echo(sentAt: sentAt, number: number))
        case nil: break
        }
    }

    /// - Parameter place: of a cluster: where a key is, or which master has its slot; nil with one Redis.
    func work(
        _ link: ReaderLink, rooms: [RoomId], now: Int,
        place: ((_ room: Int?, _ slot: Int) -> (here: ModelRedis, moved: ModelRedis?))?, slotOf: [Int],
        freshEpoch: () -> HistoryEpoch
    ) {
        guard let command = link.commands.takeFirst() else { return }
        expire(now: now)
        func server(ofRoom room: Int?, _ slot: Int) -> ModelRedis? {
            guard let (here, moved) = place?(room, slot) else { return self }
            if let moved {
                link.replies.append(.moved(command, to: moved))
                return nil
            }
            here.expire(now: now)
            return here
        }
        switch command {
        case .epoch(let slot, let number, let inDoubt):
            guard let server = server(ofRoom: nil, slot) else { return }
            let epoch = server.epoch(of: slot, inDoubt: inDoubt, fresh: freshEpoch)
            link.replies.append(.epoch(slot: slot, number, epoch))
        case .ask(let command):
            let room = rooms.firstIndex(of: command.room)!
            guard let server = server(ofRoom: room, slotOf[room]) else { return }
            link.replies.append(server.answer(command, room: room, now: now))
        case .publish(let reply): spread(.control(node: link.node, reply))
        }
    }

    private func epoch(
        of slot: Int, inDoubt: HistoryEpoch?, fresh: () -> HistoryEpoch
    ) -> HistoryEpoch {
        if epochs[slot] == nil || epochs[slot] == inDoubt { apply(.epoch(fresh(), slot: slot)) }
        return epochs[slot]!
    }

    private func answer(_ command: HistoryCommand, room: Int, now: Int) -> ReaderReply {
        let stream = streams[room]
        let entries = stream?.entries ?? []
        let time = Int64(now + skew)
        switch command.question {
        case .tail: return .tail(command.ticket, time: time, newest: entries.last)
        case .range(let from, let count):
            return .range(command.ticket, Array(entries.lazy.filter { $0.id >= from }.prefix(count)))
        case .state:
            let deleted = stream?.maximumDeleted ?? NoticeId(milliseconds: 0, number: 0)
            return .state(
                command.ticket,
                StreamState(time: time, first: entries.first?.id, maximumDeleted: deleted))
        }
    }
}
