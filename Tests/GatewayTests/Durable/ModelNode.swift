// A node and its clients in the model: the surroundings of `DurableRooms`, as the gateway has them.

import EventLoop
import RedisSchema

@testable import Gateway

final class ModelNode {
    let number: Int
    let roomIds: [RoomId]
    /// Rooms with a member that has not opted in.
    let plainRooms: Set<Int>
    var isUp = true
    private let cluster: ModelCluster
    private(set) var durable: DurableRooms<ModelFrame>
    private(set) var subscriber: SubscriberLink?
    /// With one Redis.
    var reader: ReaderLink? { lanes.first }
    /// To each master.
    private(set) var lanes: [ReaderLink] = []
    private var laneCount: UInt64 = 0
    /// By slot: its master, as far as the node knows.
    private var view: [ModelRedis] = []
    /// When the last echo through each master was sent that came.
    private var beats: [Int: Int] = [:]
    /// Rooms of these slots wait for an echo through their master.
    private var slotEchoes: [(number: UInt64, slot: Int, sentAt: Int)] = []
    private var mail = Fifo<ModelNews>()
    private var members: [[ModelConnection]] = []
    private var connections: [ResumeId: ModelConnection] = [:]
    /// Whose replays have more to come.
    private var catchingUp: [ModelConnection] = []
    /// Those that are in no room any more, and are closed one after the other.
    private var sentAway: [ModelConnection] = []
    /// By slot: the epoch that the node doubts since it has found that Redis has lost data in it.
    private(set) var doubted: [Int: HistoryEpoch] = [:]
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

    init(
        number: Int, roomIds: [RoomId], plainRooms: Set<Int>, cluster: ModelCluster
    ) {
        self.number = number
        self.roomIds = roomIds
        self.plainRooms = plainRooms
        self.cluster = cluster
        durable = ModelNode.newDurable(nil)
        boot()
    }

    private static func newDurable(_ slotOf: ((RoomId) -> Int)?) -> DurableRooms<ModelFrame> {
        DurableRooms(
            DurableRooms.Settings(
                historyAge: .milliseconds(ModelRedis.age), cacheBytes: 14, maximumHeldBytes: 12,
                maximumReadEntryCount: 14, shortReadCount: 3, longReadCount: 6, maximumReplayBytes: 8,
                slotOf: slotOf, checkRoundCount: 3))
    }

    private func boot() {
        let (slots, roomIds) = (cluster.slots, roomIds)
        durable = ModelNode.newDurable(
            cluster.isCluster ? { slots[roomIds.firstIndex(of: $0)!] } : nil)
        subscriber = nil
        lanes = []
        view = []
        beats = [:]
        slotEchoes = []
        mail = Fifo()
        members = Array(repeating: [], count: roomIds.count)
        connections = [:]
        catchingUp = []
        sentAway = []
        doubted = [:]
        wantedRooms = plainRooms
        arrived = Array(repeating: [], count: roomIds.count)
        delivered = arrived
        isLostTold = Array(repeating: false, count: roomIds.count)
    }

    func kill() {
        for connection in connections.values { connection.isClosed = true }
        subscriber?.isDead = true
        for lane in lanes { lane.isDead = true }
        boot()
        isUp = false
    }

    private func instant(_ time: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: Int64(time) * 1_000_000)
    }

    // MARK: Links

    /// The sentinels are heard, or the map of a cluster: what is connected to another server ends.
    func leaveFormerMasters() {
        func isFormer(_ server: ModelRedis) -> Bool { !cluster.masters.contains { $0 === server } }
        if let subscriber, isFormer(subscriber.server) { subscriber.isDead = true }
        for lane in lanes where isFormer(lane.server) { lane.isDead = true }
    }

    /// - Parameter place: the subscriber's, in a cluster.
    func connect(at place: Int, now: Int) {
        if subscriber?.isDead != false {
            if subscriber != nil { durable.subscriberLost(completeUntil: instant(completeUntil)) }
            let server = cluster.masters[place]
            let link = SubscriberLink(server: server, node: number)
            server.subscribers.append(link)
            subscriber = link
            beats = [:]
            slotEchoes = []
            durable.subscriberUp(run: "\(server.run)")
            for room in wantedRooms.sorted() { link.commands.append(.subscribe(room)) }
        }
        guard cluster.isCluster else { return connectReader(now) }
        connectLanes(now)
    }

    private func connectReader(_ now: Int) {
        guard reader?.isDead != false else { return }
        if reader != nil { durable.readerLost() }
        let server = cluster.masters[0]
        lanes = [ReaderLink(server: server, node: number)]
        server.readers += lanes
        act(durable.readerUp(run: "\(server.run)"), now)
    }

    func checkEpoch(now: Int) {
        if cluster.isCluster { return durable.check() }
        if let reader, !reader.isDead { act(durable.checkEpoch(), now) }
    }

    func askEcho(now: Int) {
        if cluster.isCluster {
            for lane in lanes where !lane.isDead {
                lane.commands.append(.publish(.beat(sentAt: now, at: lane.server.address)))
            }
            return
        }
        if let subscriber, !subscriber.isDead { subscriber.commands.append(.echo(sentAt: now, number: nil)) }
    }

    // MARK: A cluster

    /// Connects to every master, and hears which slots it has.
    private func connectLanes(_ now: Int) {
        view = (0..<ModelCluster.slotCount).map { cluster.owner(of: $0) }
        for lane in lanes where lane.isDead { fail(lane) }
        for master in cluster.masters where !lanes.contains(where: { $0.server === master }) {
            laneCount += 1
            let lane = ReaderLink(server: master, node: number, number: laneCount)
            master.readers.append(lane)
            lanes.append(lane)
        }
        tellServers()
    }

    /// The connection is lost: everything that was asked on it fails.
    private func fail(_ lane: ReaderLink) {
        lanes.removeAll { $0 === lane }
        for reply in (0..<lane.replies.count).map({ lane.replies[$0] }) {
            switch reply {
            case .epoch(let slot, let number, _): durable.epochFailed(slot: slot, number)
            case .tail(let ticket, _, _), .range(let ticket, _), .state(let ticket, _):
                durable.failed(ticket)
            case .moved(let command, _): fail(command)
            }
        }
        while let command = lane.commands.takeFirst() { fail(command) }
        tellServers()
    }

    private func fail(_ command: ReaderCommand) {
        switch command {
        case .epoch(let slot, let number, _): durable.epochFailed(slot: slot, number)
        case .ask(let command): durable.failed(command.ticket)
        case .publish: break
        }
    }

    /// The master does not answer in time.
    func timeOut(_ lane: Int) {
        if !lanes.isEmpty, let command = lanes[lane % lanes.count].commands.takeFirst() { fail(command) }
    }

    private func tellServers() {
        var servers: [Int: HistoryServer] = [:]
        for slot in view.indices {
            guard let lane = lane(of: slot) else { continue }
            servers[slot] = HistoryServer(
                address: "\(lane.server.address)", run: "\(lane.server.run)", connection: lane.number)
        }
        durable.serversChanged { [servers] in servers[$0] }
    }

    private func lane(of slot: Int) -> ReaderLink? {
        view.isEmpty ? nil : lanes.first { $0.server === view[slot] && !$0.isDead }
    }

    /// A command without an answer where it belongs fails; the node is told later.
    private func send(_ command: ReaderCommand) {
        guard cluster.isCluster else {
            reader?.commands.append(command)
            return
        }
        if let lane = lane(of: slot(of: command)) { lane.commands.append(command) } else { fail(command) }
    }

    private func slot(of command: ReaderCommand) -> Int {
        switch command {
        case .epoch(let slot, _, _): slot
        case .ask(let command): cluster.slots[roomIds.firstIndex(of: command.room)!]
        case .publish(.slotEcho(_, let slot)): slot
        case .publish: 0
        }
    }

    /// `MOVED`: the map is mended.
    private func resend(_ command: ReaderCommand, to owner: ModelRedis) {
        if !view.isEmpty { view[slot(of: command)] = owner }
        tellServers()
        send(command)
    }

    private func takeSlotEcho(_ number: UInt64, _ slot: Int) {
        slotEchoes.removeAll { $0.number == number && $0.slot == slot }
        durable.echoAnswered(number, slot: slot)
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
        case .slotEcho(let number, let slot): takeSlotEcho(number, slot)
        case .beat(let sentAt, let address):
            beats[address] = sentAt
            let oldest = cluster.masters.map { beats[$0.address] ?? .min }.min() ?? .min
            completeUntil = max(completeUntil, oldest)
        case .message(let room, let frame):
            if frame.payload >= 0 { arrived[room].append(frame.payload) }
            switch durable.accept(frame.entry, in: roomIds[room]) {
            case .deliver, nil: if let frame = frame.entry.frame { post(room, frame) }
            case .hold, .drop: break
            }
        }
    }

    /// - Parameter lane: of any of them.
    func takeReader(_ lane: Int = 0, now: Int) {
        guard !lanes.isEmpty else { return }
        let lane = lanes[lane % lanes.count]
        guard !lane.isDead, let reply = lane.replies.takeFirst() else { return }
        switch reply {
        case .moved(let command, let owner): resend(command, to: owner)
        case .epoch(let slot, let number, let epoch):
            if epoch != doubted[slot] { doubted[slot] = nil }
            act(durable.epochAnswered(slot: slot, number, epoch), now)
        case .tail(let ticket, let time, let newest):
            durable.tailAnswered(ticket, time: time, newest: newest?.entry)
        case .range(let ticket, let frames):
            act(durable.rangeAnswered(ticket, entries: frames.map(\.entry), now: instant(now)), now)
        case .state(let ticket, let state):
            act(durable.stateAnswered(ticket, state: state, now: instant(now)), now)
        }
    }

    func endTurn(now: Int) {
        for echo in slotEchoes where now - echo.sentAt > 1_000 {
            counts.missingEchoes += 1
            takeSlotEcho(echo.number, echo.slot)
        }
        act(durable.turnEnded(now: instant(now)), now)
    }

    private func act(_ actions: [DurableAction<ModelFrame>], _ now: Int) {
        for action in actions {
            switch action {
            case .askEpoch(let slot, let number, let inDoubt):
                if let inDoubt { doubted[slot] = inDoubt }
                send(.epoch(slot: slot, number, inDoubt: inDoubt))
            case .ask(let command): send(.ask(command))
            case .askEcho(let number, let slots):
                guard cluster.isCluster else {
                    subscriber?.commands.append(.echo(sentAt: now, number: number))
                    break
                }
                for slot in slots {
                    slotEchoes.append((number, slot, now))
                    lane(of: slot)?.commands.append(.publish(.slotEcho(number, slot: slot)))
                }
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
        guard cluster.isCluster || reader != nil else { return }
        for (room, (asked, answer)) in zip(connection.rooms, zip(connection.asked, answers)) {
            let server = cluster.isCluster ? cluster.server(of: room) : reader!.server
            let epoch =
                cluster.isCluster
                ? cluster.server(ofEpoch: cluster.slots[room]).epochs[cluster.slots[room]] : server.epochs[0]
            guard answer.isLost, !connection.hasResumed, let asked, asked.epoch == epoch else { continue }
            if server.streams[room]?.entries.contains(where: { $0.id == asked.id }) == true {
                // In a cluster it may have asked a master that was none any more.
                counts.wronglyLost += 1
                if cluster.isCluster { continue }
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
        mail.isEmpty && sentAway.isEmpty && slotEchoes.isEmpty
            && subscriber.map { $0.commands.isEmpty && $0.replies.isEmpty } != false
            && lanes.allSatisfy { $0.commands.isEmpty && $0.replies.isEmpty }
    }

    /// What is wrong when all is quiet.
    ///
    /// - Parameter isLost: by payload: whether Redis has lost it, or someone has taken it out.
    func finalFaults(isLost: [Bool]) -> [String] {
        var faults = faults
        for doubted in doubted.values { faults.append("node \(number): \(doubted) still holds") }
        if !durable.resumes.isEmpty { faults.append("node \(number): a client waits for ever") }
        for (room, entry) in durable.rooms where entry.feed.state != .live {
            faults.append("node \(number): room \(room) is \(entry.feed.state)")
        }
        if durable.cacheBytes > 14 + roomIds.count {
            faults.append("node \(number): \(durable.cacheBytes) cached")
        }
        for room in roomIds.indices {
            // What Redis has lost may still be on the bus of a cluster, and come when its loss is told.
            let kept = delivered[room].filter { !cluster.isCluster || !isLost[$0] }
            if Set(kept).count < kept.count, cluster.isCluster {
                // The subscriber's next place has heard it later than the last one, and the room was starting.
                counts.twiceAtStart += 1
            } else if Set(kept).count < kept.count {
                faults.append("node \(number): members of room \(room) got a notice twice")
            }
            guard !isLostTold[room] else { continue }
            let missing = Set(arrived[room]).subtracting(delivered[room]).filter {
                !isLost[$0]
            }
            // In a cluster a message that is late when its room starts, through a bus that has lost the echo, or
            // through the master of a slot that has moved.
            if cluster.isCluster, counts.missingEchoes == 0 { counts.lateAtStart += missing.count }
            if !missing.isEmpty, !cluster.isCluster {
                faults.append("node \(number): members of room \(room) miss \(missing.sorted().prefix(5))")
            }
        }
        return faults
    }
}
