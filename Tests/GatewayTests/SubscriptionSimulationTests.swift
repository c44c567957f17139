import EventLoop
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

/// A Redis that is played, one feed, and the room tables of three workers: members come and go, rooms are
/// subscribed, refused and left, the connection is lost and comes back, and messages are published, in any
/// order.
///
/// What holds: a member whose handshake is complete gets every message that Redis has sent for its rooms
/// from then on, once and in order; nothing comes between a loss and the news of its gap; while its room
/// counts as subscribed, Redis has the subscription; and in the end none is left.
@Suite struct SubscriptionSimulationTests {
    private static let stepCount = 500_000
    private static let randomSeed = UInt64.random(in: 1...UInt64.max)

    @Test(arguments: [1, randomSeed]) func nothingIsLostOrLeaked(seed: UInt64) throws {
        print("subscription simulation: seed \(seed)")
        let simulation = try Simulation(seed: seed)
        for step in 0..<Self.stepCount {
            simulation.step()
            guard simulation.faults.isEmpty else {
                Issue.record("seed \(seed), step \(step): \(simulation.faults)")
                return
            }
        }
        simulation.settle()
        #expect(simulation.faults.isEmpty, "seed \(seed)")
        #expect(simulation.redis.subscribed.isEmpty, "seed \(seed)")
        #expect(simulation.feed.state.roomCount == 0, "seed \(seed)")
        #expect(simulation.deliveredCount > Self.stepCount / 20, "seed \(seed): too little happened")
        #expect(simulation.feed.state.lossCount > 20, "seed \(seed): too little happened")
    }
}

/// Redis' part: commands in, replies out, both in order, on one connection.
private struct PlayedRedis {
    enum Command { case subscribe(RoomId), unsubscribe(RoomId), end }
    enum Reply {
        case subscribed(RoomId), unsubscribed(RoomId), refused(RoomId), message(RoomId, UInt64), end
    }

    var commands = Fifo<Command>()
    var replies = Fifo<Reply>()
    var subscribed: Set<RoomId> = []
    /// Rooms that the access rules refuse at present.
    var refusing: Set<RoomId> = []

    /// Carries one command out.
    mutating func work() {
        switch commands.takeFirst() {
        case .subscribe(let room) where refusing.contains(room): replies.append(.refused(room))
        case .subscribe(let room):
            subscribed.insert(room)
            replies.append(.subscribed(room))
        case .unsubscribe(let room):
            subscribed.remove(room)
            replies.append(.unsubscribed(room))
        case .end: replies.append(.end)
        case nil: break
        }
    }

    /// The connection is gone, with all that was on its way.
    mutating func lose() {
        commands.removeAll()
        replies.removeAll()
        subscribed = []
    }
}

/// The feed's part: what `RedisSubscriber` does around `FeedState`, without sockets and threads.
private struct PlayedFeed {
    var state = FeedState(workerCount: 3, grace: .seconds(1), tellsGaps: true)
    /// The channels that are held, and those of them that are refused.
    var held: Set<RoomId> = []
    var refused: Set<RoomId> = []
}

private final class PlayedMember {
    let rooms: [RoomId]
    let worker: Int
    var join: PendingJoin!
    /// The number of the last message that was published before the handshake was complete.
    var readyAt: UInt64?
    var isRefused = false
    var lastOrder: UInt64 = 0
    /// What Redis has sent since then, and has not come yet.
    var expected = Fifo<UInt64>()

    init(rooms: [RoomId], worker: Int) {
        self.rooms = rooms
        self.worker = worker
    }

    /// A message is lost on its way.
    func forget(_ number: UInt64) {
        var rest = Fifo<UInt64>()
        for other in expected where other != number { rest.append(other) }
        expected = rest
    }
}

private final class Simulation {
    private static let rooms = (0..<8).map { RoomId("room \($0)")! }
    private static let workerCount = 3
    private static let maximumMemberCount = 24

    private var random: SeededRandom
    private var now = MonotonicInstant(nanoseconds: 0)
    private(set) var faults: [String] = []
    private(set) var redis = PlayedRedis()
    private(set) var feed = PlayedFeed()
    private(set) var deliveredCount = 0
    private var publishedCount: UInt64 = 0
    private var tables: [RoomTable] = []
    private var toFeed = Fifo<FeedMessage>()
    private var toWorker = Array(repeating: Fifo<WorkerMessage>(), count: workerCount)
    /// The workers that know of a loss and not of its end.
    private var workersInGap: Set<Int> = []
    private var members: [PlayedMember] = []

    init(seed: UInt64) throws {
        let loop = try EventLoop()
        random = SeededRandom(seed: seed)
        for worker in 0..<Self.workerCount {
            tables.append(
                RoomTable(worker: worker, metrics: WorkerMetrics(), loop: loop) { [unowned self] in
                    self.toFeed.append($0)
                })
        }
    }

    // MARK: What happens

    func step() {
        now = now + .milliseconds(Int.random(in: 0...20, using: &random))
        switch Int.random(in: 0..<1_000, using: &random) {
        case 0..<40: enter()
        case 40..<76: leave()
        case 76..<200: publish()
        case 200..<380: redis.work()
        case 380..<600: if let reply = redis.replies.takeFirst() { receive(reply) }
        case 600..<760: if let message = toFeed.takeFirst() { handle(message) }
        case 760..<985:
            let worker = Int.random(in: 0..<Self.workerCount, using: &random)
            for _ in 0..<Int.random(in: 1...6, using: &random) { work(worker) }
        case 985..<993: sweep()
        case 993..<994: lose()
        case 994..<996: changeRules()
        case 996..<998: retryRefused()
        default: comeBack()
        }
    }

    /// All members leave, everything under way arrives, and every grace is over.
    func settle() {
        redis.refusing = []
        while !members.isEmpty { leave() }
        for _ in 0..<4 {
            comeBack()
            var isMoving = true
            while isMoving {
                isMoving = false
                while !toFeed.isEmpty || !redis.commands.isEmpty || !redis.replies.isEmpty {
                    if let message = toFeed.takeFirst() { handle(message) }
                    redis.work()
                    if let reply = redis.replies.takeFirst() { receive(reply) }
                    isMoving = true
                }
                for worker in tables.indices where !toWorker[worker].isEmpty {
                    work(worker)
                    isMoving = true
                }
            }
            now = now + .seconds(2)
            sweep()
        }
    }

    private func enter() {
        guard members.count < Self.maximumMemberCount else { return }
        let count = Int.random(in: 1...2, using: &random)
        let member = PlayedMember(
            rooms: Array(Self.rooms.shuffled(using: &random).prefix(count)),
            worker: Int.random(in: 0..<Self.workerCount, using: &random))
        let join = tables[member.worker].prepare(member.rooms)
        member.join = join
        members.append(member)
        if join.isRefused {
            remove(member)
        } else if join.isReady {
            ready(member)
        } else {
            join.onReady = { [unowned self, unowned member] in self.ready(member) }
            join.onRefused = { [unowned member] in member.isRefused = true }
        }
    }

    private func ready(_ member: PlayedMember) {
        member.readyAt = publishedCount
        // What is on its way from here was published before; whether it comes is not promised.
        for room in member.rooms where !isSubscribed(room) {
            faults.append("\(room) counts as subscribed for a handshake and is not")
        }
    }

    /// Whether Redis has the room, or the news of a loss is on its way to the workers.
    private func isSubscribed(_ room: RoomId) -> Bool {
        !feed.state.isComplete || redis.subscribed.contains(room) || !newsIsHeard
    }

    /// Whether all workers know of all losses.
    private var newsIsHeard: Bool {
        !toWorker.contains { queue in
            queue.contains { if case .news(.subscriptionsLost) = $0 { true } else { false } }
        }
    }

    private func leave() {
        guard let member = members.randomElement(using: &random) else { return }
        remove(member)
    }

    private func remove(_ member: PlayedMember) {
        members.removeAll { $0 === member }
        tables[member.worker].cancel(member.join)
    }

    private func publish() {
        let room = Self.rooms.randomElement(using: &random)!
        publishedCount += 1
        let isSent = redis.subscribed.contains(room)
        if isSent { redis.replies.append(.message(room, publishedCount)) }
        for member in members where member.readyAt != nil && member.rooms.contains(room) {
            if isSent {
                member.expected.append(publishedCount)
            } else if !isSubscribed(room), !feed.refused.contains(room) {
                faults.append("\(room) is lost for a member that counts on it")
            }
        }
    }

    // MARK: The feed

    private func subscribe(_ room: RoomId) {
        if !feed.held.insert(room).inserted { faults.append("\(room) is subscribed twice") }
        if feed.state.isLinkUp { redis.commands.append(.subscribe(room)) }
    }

    private func unsubscribe(_ room: RoomId) {
        if feed.held.remove(room) == nil { faults.append("\(room) is left and not held") }
        if feed.refused.remove(room) == nil, feed.state.isLinkUp {
            redis.commands.append(.unsubscribe(room))
        }
    }

    private func perform(_ actions: [FeedState.Action]) {
        for action in actions {
            switch action {
            case .subscribe(let room): subscribe(room)
            case .unsubscribe(let room): unsubscribe(room)
            case .tell(let worker, let news): toWorker[worker].append(.news(news))
            case .tellAll(let news):
                for worker in toWorker.indices { toWorker[worker].append(.news(news)) }
            case .deliver(let message, let workers): add(message, workers)
            case .gapEnded: break
            case .messagesLost: faults.append("the hold is full")
            }
        }
    }

    private func handle(_ message: FeedMessage) {
        switch message {
        case .join(let room, let worker): perform(feed.state.joined(room, worker: worker))
        case .leave(let room, let worker): feed.state.left(room, worker: worker, now: now)
        case .resume, .cancelResume, .echoTaken, .stop: break
        }
    }

    private func receive(_ reply: PlayedRedis.Reply) {
        switch reply {
        case .subscribed(let room):
            feed.refused.remove(room)
            guard feed.held.contains(room) else { return redis.commands.append(.unsubscribe(room)) }
            perform(feed.state.confirmed(room))
        case .unsubscribed(let room): perform(feed.state.unsubscribed(room))
        case .refused(let room):
            guard feed.held.contains(room) else { return }
            feed.refused.insert(room)
            perform(feed.state.refused(room))
        case .message(let room, let number): deliver(room, number)
        case .end: if !feed.state.isComplete { perform(feed.state.allSubscribed(now: now)) }
        }
    }

    private func deliver(_ room: RoomId, _ number: UInt64) {
        let workers = feed.state.workers(of: room)
        guard workers != 0 else { return }
        let message = message([0x31], in: room, order: number)
        if feed.state.received(message, for: workers) == .deliver { add(message, workers) }
    }

    private func add(_ message: Message, _ workers: RoomSubscriptions.Workers) {
        RoomSubscriptions.forEach(workers) { toWorker[$0].append(.deliver(message)) }
    }

    private func sweep() { perform(feed.state.sweep(now: now)) }

    private func lose() {
        guard feed.state.isLinkUp else { return }
        // What was on its way is lost, in a gap that is told.
        for case .message(_, let number) in redis.replies {
            for member in members { member.forget(number) }
        }
        redis.lose()
        perform(feed.state.linkLost(completeUntil: now))
    }

    private func comeBack() {
        guard !feed.state.isLinkUp else { return }
        feed.state.linkIsUp()
        for room in feed.held.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) })
        where !feed.refused.contains(room) { redis.commands.append(.subscribe(room)) }
        redis.commands.append(.end)
    }

    private func changeRules() {
        let room = Self.rooms.randomElement(using: &random)!
        if redis.refusing.remove(room) == nil { redis.refusing = [room] }
    }

    private func retryRefused() {
        guard feed.state.isLinkUp, let room = Self.rooms.first(where: feed.refused.contains) else { return }
        redis.commands.append(.subscribe(room))
    }

    // MARK: A worker

    private func work(_ worker: Int) {
        let table = tables[worker]
        switch toWorker[worker].takeFirst() {
        case .deliver(let message):
            if workersInGap.contains(worker) {
                faults.append("message \(message.order) comes before its gap")
            }
            for member in members where member.worker == worker && member.rooms.contains(message.room) {
                deliver(message.order, to: member)
            }
        case .news(.subscribed(let room, let leaveCount)): table.subscribed(room, leaveCount: leaveCount)
        case .news(.refused(let room, let leaveCount)): table.refused(room, leaveCount: leaveCount)
        case .news(.gapEnded): workersInGap.remove(worker)
        case .news(.subscriptionsLost):
            workersInGap.insert(worker)
            let pending = members.filter { $0.worker == worker && $0.readyAt == nil && !$0.isRefused }
            table.subscriptionsLost(pending: pending.map { $0.join })
        case .news, nil: break
        }
        for member in members where member.isRefused { remove(member) }
    }

    private func deliver(_ order: UInt64, to member: PlayedMember) {
        guard let readyAt = member.readyAt else { return }
        if order <= member.lastOrder { faults.append("message \(order) comes behind \(member.lastOrder)") }
        member.lastOrder = order
        deliveredCount += 1
        guard order > readyAt else { return }
        if member.expected.takeFirst() != order {
            faults.append("message \(order) is not the next one of \(member.rooms)")
        }
    }
}
