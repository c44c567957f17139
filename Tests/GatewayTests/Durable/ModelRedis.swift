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

    init(server: ModelRedis, node: Int) {
        self.server = server
        self.node = node
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
}

enum ReaderCommand {
    case epoch(UInt64, inDoubt: HistoryEpoch?)
    case ask(HistoryCommand)
}

enum ReaderReply {
    case epoch(UInt64, HistoryEpoch)
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
        case epoch(HistoryEpoch)
        case delete(Int)
        case take(Int, NoticeId)
        case flush
    }

    private var log: [Operation] = []
    private(set) var streams: [ModelStream?]
    private(set) var epoch: HistoryEpoch?
    private(set) var run = 0
    var skew = 0
    var subscribers: [SubscriberLink] = []
    var readers: [ReaderLink] = []

    init(roomCount: Int) {
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
        case .epoch(let epoch): self.epoch = epoch
        case .delete(let room): streams[room] = nil
        case .take(let room, let id):
            streams[room]?.entries.removeAll { $0.id == id }
            streams[room]?.maximumDeleted = id
        case .flush:
            for room in streams.indices { streams[room] = nil }
            epoch = nil
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
        for link in subscribers where link.rooms.contains(room) {
            link.replies.append(.message(room, frame))
        }
        return frame.id
    }

    /// Starts again without the last operations; returns the payloads that are lost.
    func restart(losing count: Int, skew: Int, now: Int) -> [Int] {
        let (replica, lost) = failOver(losing: count, skew: skew, now: now)
        for link in subscribers { link.isDead = true }
        for link in readers { link.isDead = true }
        subscribers = []
        readers = []
        self.skew = skew
        (run, log, streams, epoch) = (replica.run, replica.log, replica.streams, replica.epoch)
        return lost
    }

    /// A replica without the last operations takes over. This one lives on with its links, and no one
    /// publishes to it.
    func failOver(losing count: Int, skew: Int, now: Int) -> (replica: ModelRedis, lost: [Int]) {
        expire(now: now)
        let kept = log.count - min(count, log.count)
        let lost = log[kept...].compactMap {
            if case .publish(_, let frame, _) = $0 { frame.payload } else { nil }
        }
        let replica = ModelRedis(roomCount: streams.count)
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

    func work(_ link: ReaderLink, rooms: [RoomId], now: Int, freshEpoch: () -> HistoryEpoch) {
        guard let command = link.commands.takeFirst() else { return }
        expire(now: now)
        switch command {
        case .epoch(let number, let inDoubt):
            if epoch == nil || epoch == inDoubt { apply(.epoch(freshEpoch())) }
            link.replies.append(.epoch(number, epoch!))
        case .ask(let command):
            let stream = streams[rooms.firstIndex(of: command.room)!]
            let entries = stream?.entries ?? []
            let time = Int64(now + skew)
            switch command.question {
            case .tail: link.replies.append(.tail(command.ticket, time: time, newest: entries.last))
            case .range(let from, let count):
                link.replies.append(
                    .range(command.ticket, Array(entries.lazy.filter { $0.id >= from }.prefix(count))))
            case .state:
                let deleted = stream?.maximumDeleted ?? NoticeId(milliseconds: 0, number: 0)
                link.replies.append(
                    .state(
                        command.ticket,
                        StreamState(time: time, first: entries.first?.id, maximumDeleted: deleted)))
            }
        }
    }
}
