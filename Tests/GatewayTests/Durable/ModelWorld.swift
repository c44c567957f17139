// The model's scheduler, its clients and its ledger.

import EventLoop
import RedisSchema
import TestSupport

@testable import Gateway

/// A client with one or two rooms, over all its connections.
struct ModelClient {
    enum Event {
        /// What follows comes behind this position.
        case told(HistoryPosition, isLost: Bool)
        case got(ModelFrame)
    }

    let rooms: [Int]
    var positions: [HistoryPosition?]
    var connection: ModelConnection?
    var events: [[Event]]

    init(rooms: [Int]) {
        self.rooms = rooms
        positions = Array(repeating: nil, count: rooms.count)
        events = Array(repeating: [], count: rooms.count)
    }
}

struct ModelWorld {
    private static let roomIds = ["a", "b", "c", "d"].map { RoomId($0)! }
    /// In which next to nothing is published.
    private static let quietRoom = 3

    private struct Published {
        let payload: Int
        let id: NoticeId
    }

    private var random: SeededRandom
    private let stepCount: Int
    private var now = 1_000_000
    private let cluster: ModelCluster
    private var nodes: [ModelNode] = []
    private var clients: [ModelClient] = []
    private var connectionCount: UInt64 = 0
    private var epochCount = 0
    /// By room, in order.
    private var published: [[Published]] = Array(repeating: [], count: 4)
    /// By payload: whether Redis has lost it, or someone has taken it out.
    private var isLost: [Bool] = []
    private var seen: Set<Int> = []
    private(set) var counts = ModelCounts()

    /// - Parameter masterCount: one Redis, or a cluster of which the last master has no slot at first.
    init(seed: UInt64, stepCount: Int, masterCount: Int = 1) {
        random = SeededRandom(seed: seed)
        self.stepCount = stepCount
        cluster = ModelCluster(masterCount: masterCount, roomCount: 4)
        for number in 0..<3 {
            let plainRooms = Set((0..<4).filter { _ in below(4) == 0 })
            nodes.append(
                ModelNode(
                    number: number, roomIds: Self.roomIds, plainRooms: plainRooms, cluster: cluster))
        }
        for _ in 0..<6 {
            let first = below(4)
            let second = below(4)
            clients.append(ModelClient(rooms: first == second || below(2) == 0 ? [first] : [first, second]))
        }
    }

    private mutating func below(_ bound: Int) -> Int {
        Int(truncatingIfNeeded: random.next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    mutating func run() {
        for _ in 0..<stepCount { step() }
        calmDown()
    }

    /// Of any master.
    private mutating func place() -> Int { cluster.isCluster ? below(cluster.masters.count) : 0 }

    // MARK: Steps

    private mutating func step() {
        now += [0, 0, 0, 1, 2, 5][below(6)]
        if cluster.isCluster {
            for _ in 0..<2 { cluster.moveBus(below(1_000)) }
        }
        switch below(10_000) {
        case ..<250: publish()
        case ..<280: for _ in 0..<2 + below(7) { publish() }
        case ..<7_600:
            let node = nodes[below(3)]
            if node.isUp { move(node, below(11)) }
        case ..<9_650: moveClient(below(clients.count))
        case ..<9_700:
            for node in nodes where node.isUp && below(2) == 0 {
                if below(2) == 0 { node.leaveFormerMasters() }
                node.connect(at: place(), now: now)
            }
        case ..<9_750:
            for node in nodes where node.isUp {
                if below(2) == 0 { node.checkEpoch(now: now) }
                if below(5) > 0 { node.askEcho(now: now) }
            }
        case ..<9_865: if below(3) == 0 { cluster.isCluster ? failCluster() : fail() }
        case ..<9_900: for node in nodes where !node.isUp && below(2) == 0 { node.isUp = true }
        default: break
        }
        // What a node has found out about Redis must not depend on one connection.
        for node in nodes where !node.doubted.isEmpty && below(100) == 0 {
            node.lanes.randomElement(using: &random)?.isDead = true
        }
    }

    private mutating func move(_ node: ModelNode, _ step: Int) {
        switch step {
        case 0: if let link = node.subscriber, !link.isDead { link.server.work(link) }
        case 1: for link in node.lanes where !link.isDead { work(link) }
        case 2, 3: node.takeSubscriber(now: now)
        case 4: for lane in node.lanes.indices { node.takeReader(lane, now: now) }
        case 5, 6, 7: node.endTurn(now: now)
        case 8: node.goOn()
        default: node.work()
        }
    }

    private mutating func work(_ link: ReaderLink) {
        var count = epochCount
        func freshEpoch() -> HistoryEpoch {
            count += 1
            return HistoryEpoch("e" + String(10_000_000 + count).dropFirst())!
        }
        let cluster = cluster
        link.server.work(
            link, rooms: Self.roomIds, now: now,
            place: cluster.isCluster ? { cluster.place($0, $1, at: link.server) } : nil,
            slotOf: cluster.slots, freshEpoch: freshEpoch)
        epochCount = count
    }

    private mutating func publish(in room: Int? = nil) {
        let payload = isLost.count
        isLost.append(ModelFrame.isHeldBack(payload))
        let room = room ?? (below(50) == 0 ? Self.quietRoom : below(3))
        let id = cluster.publish(room: room, payload: payload, now: now)
        published[room].append(Published(payload: payload, id: id))
    }

    private mutating func fail() {
        let node = nodes[below(3)]
        let redis = cluster.masters[0]
        switch below(115) {
        case ..<33: disconnect(below(clients.count))
        case ..<43: node.subscriber?.isDead = true
        case ..<53: node.reader?.isDead = true
        case ..<63: if node.isUp { node.kill() }
        case ..<73: lose(cluster.restart(0, losing: 0, skew: redis.skew, now: now))
        case ..<81:
            let skew = redis.skew + [0, 0, -300, 300][below(4)]
            lose(cluster.restart(0, losing: 1 + below(5), skew: skew, now: now))
        case ..<83:
            redis.flush()
            for payload in isLost.indices { isLost[payload] = true }
        case ..<86: if let payload = redis.takeOut(room: below(3), at: below(30)) { isLost[payload] = true }
        case ..<88: forge(at: redis)
        case ..<95: passTime()
        case ..<98: for _ in 0..<ModelRedis.limit + 3 { publish() }
        case ..<100: burst()
        case ..<106: failOver(0)
        case ..<111: node.skippedTakeCount = below(40)
        default: node.shed()
        }
        forgetDeadLinks()
    }

    private func forgetDeadLinks() {
        for redis in cluster.masters {
            redis.subscribers.removeAll { $0.isDead }
            redis.readers.removeAll { $0.isDead }
        }
    }

    private mutating func passTime() {
        // The sentinels are heard within the age, and nothing is so long on the bus.
        for node in nodes { node.leaveFormerMasters() }
        cluster.drainBus()
        now += [300, ModelRedis.age / 2, ModelRedis.age + 10, 2 * ModelRedis.age][below(4)]
    }

    /// So much in one room that Redis keeps only the later half of it, for a node that has not come so far.
    private mutating func burst() {
        nodes[below(3)].skippedTakeCount = 40
        let room = below(3)
        for _ in 0..<2 * ModelRedis.limit { publish(in: room) }
    }

    /// A replica takes over, perhaps without the last notices. The old master lives on, and of each node
    /// one link or none stays there until the sentinels are heard.
    private mutating func failOver(_ index: Int) {
        let redis = cluster.masters[index]
        lose(
            cluster.failOver(
                index, losing: [0, 1 + below(5)][below(2)],
                skew: redis.skew + [0, 0, -300, 300][below(4)], now: now))
        for node in nodes {
            let staying = below(3)
            if staying != 0, node.subscriber?.server === redis { node.subscriber?.isDead = true }
            if staying != 1 { for lane in node.lanes where lane.server === redis { lane.isDead = true } }
        }
    }

    /// What fails in a cluster, besides what fails with one Redis.
    private mutating func failCluster() {
        let node = nodes[below(3)]
        let index = place()
        let redis = cluster.masters[index]
        switch below(150) {
        case ..<30: disconnect(below(clients.count))
        case ..<38: node.subscriber?.isDead = true
        case ..<46: node.lanes.randomElement(using: &random)?.isDead = true
        case ..<52: node.timeOut(below(4))
        case ..<60: if node.isUp { node.kill() }
        case ..<66: lose(cluster.restart(index, losing: 0, skew: redis.skew, now: now))
        case ..<73:
            let skew = redis.skew + [0, 0, -300, 300][below(4)]
            lose(cluster.restart(index, losing: 1 + below(5), skew: skew, now: now))
        case ..<75: flush(redis)
        case ..<78:
            let room = below(3)
            if let payload = cluster.server(of: room).takeOut(room: room, at: below(30)) {
                isLost[payload] = true
            }
        case ..<80: forge(at: redis)
        case ..<86: passTime()
        case ..<89: for _ in 0..<ModelRedis.limit + 3 { publish() }
        case ..<91: burst()
        case ..<100: failOver(index)
        case ..<104: node.skippedTakeCount = below(40)
        case ..<108: node.shed()
        // The bus breaks between two servers, or is slow.
        case ..<116:
            if let bus = cluster.bus(below(1_000)) {
                counts.busLosses += bus.queue.count
                bus.queue.removeAll()
            }
        case ..<124: cluster.bus(below(1_000))?.skippedCount = below(200)
        default:
            for _ in 0..<1 + below(3) {
                counts.slotMoves += 1
                lose(cluster.moveSlot(below(1_000), to: below(cluster.masters.count), now: now))
            }
        }
        forgetDeadLinks()
    }

    private mutating func flush(_ redis: ModelRedis) {
        let lost = Self.roomIds.indices.filter { cluster.server(of: $0) === redis }
        redis.flush()
        for room in lost { for notice in published[room] { isLost[notice.payload] = true } }
    }

    private mutating func lose(_ payloads: [Int]) {
        for payload in payloads { isLost[payload] = true }
    }

    /// A plain publish in the form of a durable notice, whose id no entry has. Not with the number 1: no node can tell
    /// that from a stream that has run out and begins anew.
    private mutating func forge(at redis: ModelRedis) {
        let room = below(3)
        guard let newest = cluster.server(of: room).streams[room]?.entries.last?.id else { return }
        let number = newest.number + [2, 5, -3][below(3)]
        guard number > 1 else { return }
        let id = NoticeId(
            milliseconds: newest.milliseconds + Int64([0, 1, -200][below(3)]), number: number)
        for link in redis.subscribers where link.rooms.contains(room) {
            guard nodes[link.node].durable.rooms[Self.roomIds[room]]?.feed.state == .live else { continue }
            link.replies.append(.message(room, ModelFrame(id: id, payload: -1)))
        }
    }

    // MARK: Clients

    private mutating func moveClient(_ index: Int) {
        guard let connection = clients[index].connection else {
            if below(2) == 0 { connect(index) }
            return
        }
        if connection.isClosed, connection.out.isEmpty {
            clients[index].connection = nil
        } else {
            for _ in 0..<3 { read(index) }
        }
    }

    private mutating func connect(_ index: Int) {
        let up = nodes.filter(\.isUp)
        guard !up.isEmpty else { return }
        connectionCount += 1
        let node = up[below(up.count)]
        let connection = ModelConnection(
            id: ResumeId(worker: node.number, connection: connectionCount), client: index,
            rooms: clients[index].rooms, asked: clients[index].positions)
        clients[index].connection = connection
        node.resume(connection)
    }

    private mutating func disconnect(_ index: Int) {
        guard let connection = clients[index].connection else { return }
        connection.isClosed = true
        clients[index].connection = nil
        if below(2) == 0 { nodes[connection.id.worker].cancel(connection) }
    }

    private mutating func read(_ index: Int) {
        guard let mail = clients[index].connection?.out.takeFirst() else { return }
        switch mail {
        case .resume(let rooms):
            for told in rooms {
                let place = clients[index].rooms.firstIndex { Self.roomIds[$0] == told.room }!
                clients[index].positions[place] = told.since
                clients[index].events[place].append(.told(told.since, isLost: told.isLost))
                if told.isLost { counts.toldLost += 1 }
            }
        case .notice(let room, let frame):
            let place = clients[index].rooms.firstIndex(of: room)!
            let epoch = clients[index].positions[place]!.epoch
            clients[index].positions[place] = HistoryPosition(epoch: epoch, id: frame.id)
            clients[index].events[place].append(.got(frame))
            counts.delivered += 1
        }
    }

    // MARK: The end

    /// Everything heals, and all queues run dry.
    private mutating func calmDown() {
        for node in nodes {
            node.isUp = true
            node.skippedTakeCount = 0
            node.leaveFormerMasters()
        }
        lose(cluster.endMove(now: now))
        cluster.drainBus()
        for round in 0..<(cluster.isCluster ? 24 : 12) {
            now += cluster.isCluster ? 50 : 1
            for node in nodes {
                node.connect(at: place(), now: now)
                if cluster.isCluster || round % 3 == 0 { node.checkEpoch(now: now) }
                // An idle node needs two turns more: one asks, and one answers.
                var idleCount = 0
                for _ in 0..<500 where idleCount < 3 {
                    for step in 0..<10 { move(node, step) }
                    cluster.drainBus()
                    idleCount = node.isIdle ? idleCount + 1 : 0
                }
            }
            for index in clients.indices {
                while clients[index].connection?.out.isEmpty == false { read(index) }
                if clients[index].connection?.isClosed == true { clients[index].connection = nil }
                if clients[index].connection == nil { connect(index) }
            }
        }
    }

    /// What the ledger says is wrong.
    mutating func faults() -> [String] {
        var faults: [String] = []
        for node in nodes { faults += node.finalFaults(isLost: isLost) }
        for node in nodes { counts.add(node.counts) }
        for node in nodes { seen.formUnion(node.everDelivered) }
        for index in clients.indices {
            for place in clients[index].rooms.indices { check(index, place, &faults) }
        }
        return faults
    }

    /// Whether a node that has lived on since has handed a notice on that had this id and is lost.
    private func isWitnessed(_ id: NoticeId, _ room: Int) -> Bool {
        published[room].contains { notice in
            notice.id == id && isLost[notice.payload]
                && nodes.contains { $0.delivered[room].contains(notice.payload) }
        }
    }

    private mutating func check(_ index: Int, _ place: Int, _ faults: inout [String]) {
        let room = clients[index].rooms[place]
        let name = "client \(index), room \(room)"
        let truth = published[room]
        var order: [Int: Int] = [:]
        for (position, notice) in truth.enumerated() { order[notice.payload] = position }
        var last: Int?
        // Behind which place the next notice comes; nil if the position that was told is no notice that
        // ever was.
        var low: Int?
        var got: Set<Int> = []
        let events = clients[index].events[place]
        let lastTold = events.lastIndex { if case .told(_, true) = $0 { true } else { false } } ?? -1
        for (eventIndex, event) in events.enumerated() {
            switch event {
            // A client that is told that nothing is lost goes on where it was.
            case .told(_, isLost: false) where eventIndex > 0: break
            case .told(let position, _):
                let id = position.id
                low =
                    id.number == 0
                    ? truth.lastIndex { $0.id.milliseconds < id.milliseconds } ?? -1
                    : truth.lastIndex { $0.id == id }
            case .got(let frame):
                guard let position = order[frame.payload] else {
                    faults.append("\(name): got a forged notice")
                    continue
                }
                // In a cluster clients drop what they have had: a master that was none any more may have told a
                // loss. And what Redis has lost may still be on the bus, and come when its loss is found already.
                if cluster.isCluster, got.contains(frame.payload) {
                    counts.duplicates += 1
                    low = position
                    continue
                }
                let isLate = cluster.isCluster && isLost[frame.payload]
                if !got.insert(frame.payload).inserted { faults.append("\(name): \(frame.id) came twice") }
                if let last, position < last, !isLate {
                    faults.append("\(name): \(frame.id) came out of order")
                }
                if let low, low < position {
                    let missing = truth[(low + 1)..<position]
                    let kept = missing.filter { !isLost[$0.payload] }
                    // Redis has lost a notice while its clock went back, and has given its id to another
                    // one: the client is told when a node that had the first one reads again. Once all of these have
                    // died, nobody can know.
                    let isReused = low >= 0 && truth.count { $0.id == truth[low].id } > 1
                    // In a cluster the subscriber's link stands while a master is replaced, and numbers may follow by
                    // chance until the other master's notices are seen.
                    if !kept.isEmpty, lastTold > eventIndex, cluster.isCluster {
                        counts.toldLate += 1
                    } else if !kept.isEmpty, isReused, lastTold < eventIndex,
                        !isWitnessed(truth[low].id, room)
                    {
                        counts.silentThoughSeen += kept.count
                    } else if !kept.isEmpty, !(isReused && lastTold > eventIndex) {
                        faults.append(
                            "\(name): silent loss of \(kept.prefix(3).map(\.id)) before \(frame.id)")
                    }
                    if lastTold < eventIndex {
                        counts.silentThoughSeen += missing.count {
                            isLost[$0.payload] && seen.contains($0.payload) && !got.contains($0.payload)
                        }
                    }
                }
                last = position
                low = position
            }
        }
        guard let connection = clients[index].connection, !connection.isClosed else {
            faults.append("\(name): not connected at the end")
            return
        }
        guard let position = clients[index].positions[place] else {
            faults.append("\(name): no position at the end")
            return
        }
        let stream = cluster.server(of: room).streams[room]
        if let newest = stream?.entries.last(where: { !ModelFrame.isHeldBack($0.payload) }),
            position.id < newest.id
        {
            faults.append("\(name): stands at \(position.id), not at \(newest.id)")
        }
    }
}
