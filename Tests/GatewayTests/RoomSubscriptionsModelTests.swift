import EventLoop
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

/// What Redis and the workers hold true, as the callers of `RoomSubscriptions` bring it about.
private struct Model {
    /// Commands that Redis has not answered, in order.
    var underway: [(isSubscribe: Bool, room: RoomId)] = []
    /// The channels that would be asked for again after a loss.
    var held: Set<RoomId> = []
    /// The channels that Redis has confirmed.
    var confirmed: Set<RoomId> = []
    var wanted: [RoomId: Set<Int>] = [:]
    /// The workers that were told that a room is subscribed, since its last loss and while they want it.
    var told: [RoomId: Set<Int>] = [:]

    mutating func subscribe(_ room: RoomId, isUp: Bool) -> Bool {
        guard held.insert(room).inserted else { return false }
        if isUp { underway.append((true, room)) }
        return true
    }

    mutating func unsubscribe(_ room: RoomId, isUp: Bool) -> Bool {
        guard held.remove(room) != nil else { return false }
        if isUp { underway.append((false, room)) }
        return true
    }
}

@Suite struct RoomSubscriptionsModelTests {
    /// Random joins, leaves, confirmations, sweeps and losses: a worker is told that a room is subscribed
    /// only when Redis holds it, no channel is subscribed or left twice, and in the end all is as it is
    /// wanted.
    @Test(arguments: SeededRandom.seeds)
    func randomUseAgreesWithAModelOfRedis(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let grace = Duration.seconds(Int(seed % 3) * 4)
        var run = Run(grace: grace)
        for step in 0..<6_000 {
            run.step(&random)
            if let fault = run.fault {
                Issue.record("seed \(seed), step \(step): \(fault)")
                return
            }
        }
        run.settle()
        #expect(run.fault == nil, "seed \(seed)")
        #expect(run.rooms.unconfirmedCount == 0, "seed \(seed)")
        #expect(run.model.confirmed == Set(run.model.wanted.keys), "seed \(seed)")
        #expect(run.rooms.count == run.model.wanted.count, "seed \(seed)")
    }
}

private struct Run {
    private static let names = (0..<12).map { RoomId("room \($0)")! }
    private static let workers = [0, 1, 2, 40, 63]

    var rooms: RoomSubscriptions
    var model = Model()
    var fault: String?
    private let grace: Duration
    private var isUp = true
    private var now = MonotonicInstant(nanoseconds: 0)

    init(grace: Duration) {
        self.grace = grace
        rooms = RoomSubscriptions(grace: grace)
    }

    mutating func step(_ random: inout SeededRandom) {
        let room = Run.names.randomElement(using: &random)!
        let worker = Run.workers.randomElement(using: &random)!
        now = now + .milliseconds(Int.random(in: 0...500, using: &random))
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<30: join(room, worker)
        case 30..<60: leave(room, worker)
        case 60..<85: answer()
        case 85..<96: sweep()
        case 96..<98: lose()
        default: comeBack()
        }
        check()
    }

    /// Brings everything to rest: the link is up, all is answered, every grace is over.
    mutating func settle() {
        comeBack()
        for _ in 0..<4 {
            while !model.underway.isEmpty { answer() }
            now = now + grace + .seconds(1)
            sweep()
        }
        while !model.underway.isEmpty { answer() }
        check()
    }

    private mutating func join(_ room: RoomId, _ worker: Int) {
        guard model.wanted[room, default: []].insert(worker).inserted else { return }
        switch rooms.join(room, worker: worker) {
        case .subscribe: if !model.subscribe(room, isUp: isUp) { fault = "\(room) was subscribed twice" }
        case .confirm: tell(room, [worker])
        case .wait: break
        case .refuse: fault = "\(room) was refused by nobody"
        }
    }

    private mutating func leave(_ room: RoomId, _ worker: Int) {
        guard model.wanted[room]?.remove(worker) != nil else { return }
        model.told[room]?.remove(worker)
        if model.wanted[room]?.isEmpty == true { model.wanted[room] = nil }
        rooms.leave(room, worker: worker, now: now)
    }

    private mutating func answer() {
        guard isUp, !model.underway.isEmpty else { return }
        let (isSubscribe, room) = model.underway.removeFirst()
        if isSubscribe {
            model.confirmed.insert(room)
            let workers = rooms.confirmed(room)
            tell(room, (0..<64).filter { workers >> UInt64($0) & 1 == 1 })
        } else {
            model.confirmed.remove(room)
            if rooms.left(room), !model.subscribe(room, isUp: isUp) {
                fault = "\(room) was subscribed twice"
            }
        }
    }

    private mutating func sweep() {
        for room in rooms.takeExpired(now: now) {
            if model.wanted[room] != nil { fault = "\(room) was left although it is wanted" }
            if !model.unsubscribe(room, isUp: isUp) { fault = "\(room) was left twice" }
        }
    }

    private mutating func lose() {
        guard isUp else { return }
        isUp = false
        model.underway = []
        model.confirmed = []
        model.told = [:]
        let (forgotten, rejoined) = rooms.linkLost()
        for room in forgotten where !model.unsubscribe(room, isUp: false) {
            fault = "\(room) was forgotten twice"
        }
        for room in rejoined where !model.subscribe(room, isUp: false) {
            fault = "\(room) was rejoined twice"
        }
    }

    private mutating func comeBack() {
        guard !isUp else { return }
        isUp = true
        for room in model.held { model.underway.append((true, room)) }
    }

    private mutating func tell(_ room: RoomId, _ workers: [Int]) {
        if !model.confirmed.contains(room) { fault = "\(room) is told to be subscribed and is not" }
        for worker in workers where model.wanted[room]?.contains(worker) == true {
            model.told[room, default: []].insert(worker)
        }
    }

    private mutating func check() {
        for room in Run.names {
            let workers = rooms.workers(of: room)
            let wanted = model.wanted[room] ?? []
            if workers != wanted.reduce(0 as UInt64, { $0 | 1 << UInt64($1) }) {
                fault = "workers of \(room): \(workers), expected \(wanted)"
            }
            // What is confirmed and not being left has been told to everybody.
            let isLeaving = model.underway.contains { !$0.isSubscribe && $0.room == room }
            if model.confirmed.contains(room), !isLeaving, model.told[room] ?? [] != wanted {
                fault = "\(room) is subscribed and not all workers know it"
            }
        }
        let pending = model.held.subtracting(model.confirmed).count
        if rooms.unconfirmedCount != pending {
            fault = "\(rooms.unconfirmedCount) unconfirmed rooms, expected \(pending)"
        }
    }
}
