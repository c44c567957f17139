// A node and its clients in the model: the surroundings of `DurableRooms`, as the gateway has them.

import EventLoop
import RedisSchema

@testable import Gateway

/// What a client gets.
enum ModelMail {
    case resume([ResumedRoom])
    case notice(Int, ModelFrame)
}

/// One connection of a client to a node.
final class ModelConnection {
    let id: ResumeId
    let client: Int
    let rooms: [Int]
    /// What was asked for.
    let asked: [HistoryPosition?]
    var isClosed = false
    var out = Fifo<ModelMail>()
    /// From where a replay goes on whose part is out.
    var reached: [HistoryPosition]?
    var hasResumed = false

    init(id: ResumeId, client: Int, rooms: [Int], asked: [HistoryPosition?]) {
        self.id = id
        self.client = client
        self.rooms = rooms
        self.asked = asked
    }
}

final class ModelNode {
    private enum Mail {
        case deliver(Int, ModelFrame)
        /// Messages of these rooms were dropped.
        case dropped(Set<Int>)
        case lost([ResumedRoom])
        case resumed(ModelConnection, [RoomAnswer<ModelFrame>])
    }

    let number: Int
    let roomIds: [RoomId]
    /// Rooms with a member that has not opted in.
    let plainRooms: Set<Int>
    var isUp = true
    private(set) var durable: DurableRooms<ModelFrame>
    private(set) var subscriber: SubscriberLink?
    private(set) var reader: ReaderLink?
    private var mail = Fifo<Mail>()
    private var members: [[ModelConnection]] = []
    private var connections: [ResumeId: ModelConnection] = [:]
    /// Whose replays have more to come.
    private var catchingUp: [ModelConnection] = []
    /// Those that are in no room any more, and are closed one after the other.
    private var sentAway: [ModelConnection] = []
    /// The epoch that the node doubts since it has found that Redis has lost data in it.
    private(set) var doubted: HistoryEpoch?
    /// How often its subscriber is not looked at, though it is its turn.
    var skippedTakeCount = 0
    private var completeUntil = 0
    private var wantedRooms: Set<Int> = []
    /// By room: messages that came on the link, and notices that members got, since the node's start.
    private(set) var arrived: [[Int]] = []
    private(set) var delivered: [[Int]] = []
    private(set) var isLostTold: [Bool] = []
    /// Whatever members got, over all starts of the node.
    private(set) var everDelivered: Set<Int> = []
    private(set) var faults: [String] = []
    var counts = ModelCounts()

    init(number: Int, roomIds: [RoomId], plainRooms: Set<Int>) {
        self.number = number
        self.roomIds = roomIds
        self.plainRooms = plainRooms
        durable = ModelNode.newDurable()
        boot()
    }

    private static func newDurable() -> DurableRooms<ModelFrame> {
        DurableRooms(
            DurableRooms.Settings(
                historyAge: .milliseconds(ModelRedis.age), cacheBytes: 14, maximumHeldBytes: 12,
                maximumReadEntryCount: 14, shortReadCount: 3, longReadCount: 6, maximumReplayBytes: 8))
    }

    private func boot() {
        durable = ModelNode.newDurable()
        subscriber = nil
        reader = nil
        mail = Fifo()
        members = Array(repeating: [], count: roomIds.count)
        connections = [:]
        catchingUp = []
        sentAway = []
        doubted = nil
        wantedRooms = plainRooms
        arrived = Array(repeating: [], count: roomIds.count)
        delivered = arrived
        isLostTold = Array(repeating: false, count: roomIds.count)
    }

    func kill() {
        for connection in connections.values { connection.isClosed = true }
        subscriber?.isDead = true
        reader?.isDead = true
        boot()
        isUp = false
    }

    private func instant(_ time: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: Int64(time) * 1_000_000)
    }

    // MARK: Links

    /// The sentinels are heard: what is connected to another server ends.
    func leave(unlessAt redis: ModelRedis) {
        if let subscriber, subscriber.server !== redis { subscriber.isDead = true }
        if let reader, reader.server !== redis { reader.isDead = true }
    }

    func connect(_ redis: ModelRedis, now: Int) {
        if subscriber?.isDead != false {
            if subscriber != nil { durable.subscriberLost(completeUntil: instant(completeUntil)) }
            let link = SubscriberLink(server: redis, node: number)
            redis.subscribers.append(link)
            subscriber = link
            durable.subscriberUp(run: "\(redis.run)")
            for room in wantedRooms.sorted() { link.commands.append(.subscribe(room)) }
        }
        if reader?.isDead != false {
            if reader != nil { durable.readerLost() }
            let link = ReaderLink(server: redis, node: number)
            redis.readers.append(link)
            reader = link
            act(durable.readerUp(run: "\(redis.run)"), now)
        }
    }

    func checkEpoch(now: Int) {
        if let reader, !reader.isDead { act(durable.checkEpoch(), now) }
    }

    func askEcho(now: Int) {
        if let subscriber, !subscriber.isDead { subscriber.commands.append(.echo(sentAt: now, number: nil)) }
    }

    // MARK: Steps

    func takeSubscriber(now: Int) {
        guard let subscriber, !subscriber.isDead else { return }
        guard skippedTakeCount == 0 else {
            skippedTakeCount -= 1
            return
        }
        guard let reply = subscriber.replies.takeFirst() else { return }
        switch reply {
        case .subscribed(let room): durable.subscribed(roomIds[room])
        case .echo(let sentAt, let number):
            completeUntil = sentAt
            if let number { durable.echoAnswered(number) }
        case .message(let room, let frame):
            if frame.payload >= 0 { arrived[room].append(frame.payload) }
            switch durable.accept(frame.entry, in: roomIds[room]) {
            case .deliver, nil: if let frame = frame.entry.frame { post(room, frame) }
            case .hold, .drop: break
            }
        }
    }

    func takeReader(now: Int) {
        guard let reader, !reader.isDead, let reply = reader.replies.takeFirst() else { return }
        switch reply {
        case .epoch(let number, let epoch):
            if epoch != doubted { doubted = nil }
            act(durable.epochAnswered(number, epoch), now)
        case .tail(let ticket, let time, let newest):
            durable.tailAnswered(ticket, time: time, newest: newest?.entry)
        case .range(let ticket, let frames):
            act(durable.rangeAnswered(ticket, entries: frames.map(\.entry), now: instant(now)), now)
        case .state(let ticket, let state):
            act(durable.stateAnswered(ticket, state: state, now: instant(now)), now)
        }
    }

    func endTurn(now: Int) { act(durable.turnEnded(now: instant(now)), now) }

    private func act(_ actions: [DurableAction<ModelFrame>], _ now: Int) {
        for action in actions {
            switch action {
            case .askEpoch(let number, let inDoubt):
                if let inDoubt { doubted = inDoubt }
                reader?.commands.append(.epoch(number, inDoubt: inDoubt))
            case .ask(let command): reader?.commands.append(.ask(command))
            case .askEcho(let number): subscriber?.commands.append(.echo(sentAt: now, number: number))
            case .deliver(let room, let frame):
                counts.filled += 1
                post(roomIds.firstIndex(of: room)!, frame)
            case .tellLost(let rooms, _):
                for room in rooms { isLostTold[roomIds.firstIndex(of: room.room)!] = true }
                mail.append(.lost(rooms))
            case .resumed(let id, let answers):
                guard let connection = connections[id] else { break }
                checkLosses(connection, answers)
                mail.append(.resumed(connection, answers))
            }
        }
    }

    /// What a client asks for in the epoch of the node's Redis, and what that still has, is not lost.
    private func checkLosses(_ connection: ModelConnection, _ answers: [RoomAnswer<ModelFrame>]) {
        guard let server = reader?.server else { return }
        for (room, (asked, answer)) in zip(connection.rooms, zip(connection.asked, answers)) {
            guard answer.isLost, !connection.hasResumed, let asked, asked.epoch == server.epoch else {
                continue
            }
            if server.streams[room]?.entries.contains(where: { $0.id == asked.id }) == true {
                faults.append("\(asked) of room \(room) is said to be lost, and is there")
            }
        }
    }

    private func post(_ room: Int, _ frame: ModelFrame) {
        if frame.payload >= 0 {
            delivered[room].append(frame.payload)
            everDelivered.insert(frame.payload)
        }
        mail.append(.deliver(room, frame))
    }

    // MARK: Clients

    func resume(_ connection: ModelConnection) {
        connections[connection.id] = connection
        for room in connection.rooms where durable.rooms[roomIds[room]] == nil {
            let isKnown = wantedRooms.contains(room)
            durable.track(roomIds[room], isSubscribed: isKnown && isConfirmed(room))
            if !isKnown {
                wantedRooms.insert(room)
                if let subscriber, !subscriber.isDead { subscriber.commands.append(.subscribe(room)) }
            }
        }
        durable.resume(connection.id, zip(connection.rooms, connection.asked).map { (roomIds[$0], $1) })
    }

    /// Whether the node has read Redis' confirmation on the present link.
    private func isConfirmed(_ room: Int) -> Bool {
        guard let subscriber, subscriber.rooms.contains(room) else { return false }
        return !subscriber.replies.contains { if case .subscribed(room) = $0 { true } else { false } }
    }

    func cancel(_ connection: ModelConnection) { durable.cancel(connection.id) }

    /// The worker: takes one thing of its mailbox.
    func work() {
        switch mail.takeFirst() {
        case .deliver(let room, let frame):
            members[room].removeAll { $0.isClosed }
            for connection in members[room] { connection.out.append(.notice(room, frame)) }
        case .dropped(let rooms):
            let concerned = Set(rooms.flatMap { members[$0] }.map(\.id))
            sentAway += rooms.flatMap { members[$0] }
            for room in members.indices { members[room].removeAll { concerned.contains($0.id) } }
        case .lost(let rooms):
            var told: [(ModelConnection, [ResumedRoom])] = []
            for room in rooms {
                for connection in members[roomIds.firstIndex(of: room.room)!] where !connection.isClosed {
                    if let index = told.firstIndex(where: { $0.0 === connection }) {
                        told[index].1.append(room)
                    } else {
                        told.append((connection, [room]))
                    }
                }
            }
            for (connection, rooms) in told { connection.out.append(.resume(rooms)) }
        case .resumed(let connection, let answers):
            if !connection.isClosed { resumed(connection, answers) }
        case nil:
            // A slice.
            sentAway.popLast()?.isClosed = true
        }
    }

    /// The worker is overloaded: what waits for it is dropped.
    func shed() {
        var rooms: Set<Int> = []
        let before = mail
        mail = Fifo()
        for item in (0..<before.count).map({ before[$0] }) {
            if case .deliver(let room, _) = item { rooms.insert(room) } else { mail.append(item) }
        }
        if !rooms.isEmpty { mail.append(.dropped(rooms)) }
    }

    private func resumed(_ connection: ModelConnection, _ answers: [RoomAnswer<ModelFrame>]) {
        let told = answers.map { ResumedRoom(room: $0.room, since: $0.position, isLost: $0.isLost) }
            .filter { !connection.hasResumed || $0.isLost }
        if !told.isEmpty { connection.out.append(.resume(told)) }
        if !connection.hasResumed {
            for (room, asked) in zip(told, connection.asked) where !room.isLost {
                if let asked, asked != room.since { faults.append("asked \(asked), told \(room.since)") }
                if asked == nil, !answers.allSatisfy({ $0.source != .fresh || $0.replay.frames.isEmpty }) {
                    faults.append("a replay for a fresh room")
                }
            }
        }
        connection.hasResumed = true
        for (room, answer) in zip(connection.rooms, answers) {
            for frame in answer.replay.frames { connection.out.append(.notice(room, frame)) }
        }
        if answers.allSatisfy(\.replay.isComplete) {
            for room in connection.rooms { members[room].append(connection) }
        } else {
            counts.parts += 1
            connection.reached = answers.map {
                HistoryPosition(epoch: $0.position.epoch, id: $0.replay.reached)
            }
            catchingUp.append(connection)
        }
    }

    /// Asks for the next parts of replays whose clients have read what there was.
    func goOn() {
        catchingUp.removeAll { connection in
            if connection.isClosed { return true }
            guard connection.out.isEmpty, let reached = connection.reached else { return false }
            connection.reached = nil
            durable.resume(connection.id, zip(connection.rooms, reached).map { (roomIds[$0], $1) })
            return true
        }
    }

    // MARK: The end

    /// Whether nothing is on its way.
    var isIdle: Bool {
        mail.isEmpty && sentAway.isEmpty
            && subscriber.map { $0.commands.isEmpty && $0.replies.isEmpty } != false
            && reader.map { $0.commands.isEmpty && $0.replies.isEmpty } != false
    }

    /// What is wrong when all is quiet.
    ///
    /// - Parameter isLost: by payload: whether Redis has lost it, or someone has taken it out.
    func finalFaults(isLost: [Bool]) -> [String] {
        var faults = faults
        if let doubted { faults.append("node \(number): \(doubted) still holds") }
        if !durable.resumes.isEmpty { faults.append("node \(number): a client waits for ever") }
        for (room, entry) in durable.rooms where entry.feed.state != .live {
            faults.append("node \(number): room \(room) is \(entry.feed.state)")
        }
        if durable.cacheBytes > 14 + roomIds.count {
            faults.append("node \(number): \(durable.cacheBytes) cached")
        }
        for room in roomIds.indices {
            if Set(delivered[room]).count < delivered[room].count {
                faults.append("node \(number): members of room \(room) got a notice twice")
            }
            guard !isLostTold[room] else { continue }
            let missing = Set(arrived[room]).subtracting(delivered[room]).filter {
                !isLost[$0]
            }
            if !missing.isEmpty {
                faults.append("node \(number): members of room \(room) miss \(missing.sorted().prefix(5))")
            }
        }
        return faults
    }
}
