// The masters of the model: their slots, which move key by key, and the bus that carries what is published.

import EventLoop
import RedisSchema

@testable import Gateway

/// The way from one server of a cluster to another, in order.
final class ModelBus {
    enum Item {
        case message(Int, ModelFrame)
        /// To the channel of a node.
        case control(node: Int, SubscriberReply)
    }

    unowned let target: ModelRedis
    var queue = Fifo<Item>()
    /// How often it is not looked at, though it is its turn.
    var skippedCount = 0

    init(to target: ModelRedis) { self.target = target }

    func move() {
        guard skippedCount == 0 else {
            skippedCount -= 1
            return
        }
        if let item = queue.takeFirst() { target.receive(item) }
    }
}

/// One Redis, or a few masters that share the slots. The last master of a cluster has none at first.
final class ModelCluster {
    static let slotCount = 3

    private(set) var masters: [ModelRedis]
    /// By slot: the index of its master.
    private(set) var owners: [Int]
    /// By room.
    let slots: [Int]
    private var moving: (slot: Int, to: Int)?
    private var addressCount: Int
    /// They live on, and think that they are masters.
    private var formerMasters: [ModelRedis] = []
    /// Keeps what is still on its way from servers that are gone.
    private var oldBus: [ModelBus] = []

    init(masterCount: Int, roomCount: Int) {
        masters = (0..<masterCount).map { ModelRedis(roomCount: roomCount, address: $0) }
        addressCount = masterCount
        owners = (0..<Self.slotCount).map { masterCount == 1 ? 0 : $0 % (masterCount - 1) }
        slots = (0..<roomCount).map { masterCount == 1 ? 0 : $0 % Self.slotCount }
        connectBus()
    }

    var isCluster: Bool { masters.count > 1 }

    private func connectBus() {
        for master in masters {
            master.bus = masters.filter { $0 !== master }.map { target in
                master.bus.first { $0.target === target } ?? ModelBus(to: target)
            }
        }
    }

    func owner(of slot: Int) -> ModelRedis { masters[owners[slot]] }

    /// Where a key is: with the slot's master, unless it has moved before the slot.
    func server(of room: Int) -> ModelRedis {
        let slot = slots[room]
        guard let moving, moving.slot == slot, owner(of: slot).streams[room] == nil else {
            return owner(of: slot)
        }
        return masters[moving.to]
    }

    func server(ofEpoch slot: Int) -> ModelRedis {
        guard let moving, moving.slot == slot, owner(of: slot).epochs[slot] == nil else {
            return owner(of: slot)
        }
        return masters[moving.to]
    }

    /// What a server answers for a key: one that is no master any more has what it had.
    func place(_ room: Int?, _ slot: Int, at server: ModelRedis) -> (here: ModelRedis, moved: ModelRedis?) {
        guard masters.contains(where: { $0 === server }) else { return (server, nil) }
        let owner = owner(of: slot)
        guard owner === server else { return (server, owner) }
        return (room.map { self.server(of: $0) } ?? self.server(ofEpoch: slot), nil)
    }

    func publish(room: Int, payload: Int, now: Int) -> NoticeId {
        let server = server(of: room)
        // A stream that has run out is not there when the slot's master looks for it.
        server.expire(now: now)
        return self.server(of: room).publish(room: room, payload: payload, now: now)
    }

    // MARK: The bus

    func moveBus(_ number: Int) {
        let all = masters.flatMap(\.bus) + oldBus
        if !all.isEmpty { all[number % all.count].move() }
        oldBus.removeAll { $0.queue.isEmpty }
    }

    func bus(_ number: Int) -> ModelBus? {
        let all = masters.flatMap(\.bus)
        return all.isEmpty ? nil : all[number % all.count]
    }

    /// Everything comes.
    func drainBus() {
        for bus in masters.flatMap(\.bus) + oldBus {
            bus.skippedCount = 0
            while !bus.queue.isEmpty { bus.move() }
        }
        oldBus = []
    }

    // MARK: Slots

    /// The next step of a move; or one begins.
    ///
    /// - Returns: what is lost.
    func moveSlot(_ number: Int, to target: Int, now: Int) -> [Int] {
        guard let moving else {
            let slot = number % Self.slotCount
            if owners[slot] != target { self.moving = (slot, target) }
            return []
        }
        let (source, target) = (owner(of: moving.slot), masters[moving.to])
        source.expire(now: now)
        target.expire(now: now)
        let keys = slots.indices.filter { slots[$0] == moving.slot && source.streams[$0] != nil }
        if source.epochs[moving.slot] != nil, keys.isEmpty || number % 2 == 0 {
            source.give(epochOf: moving.slot, to: target)
        } else if let room = keys.isEmpty ? nil : keys[number % keys.count] {
            return source.give(room: room, to: target)
        } else {
            owners[moving.slot] = moving.to
            self.moving = nil
        }
        return []
    }

    func endMove(now: Int) -> [Int] {
        var lost: [Int] = []
        while let moving { lost += moveSlot(0, to: moving.to, now: now) }
        return lost
    }

    // MARK: Failures

    /// A master starts again, and what was on its way to or from it is lost.
    func restart(_ index: Int, losing count: Int, skew: Int, now: Int) -> [Int] {
        let lost = masters[index].restart(losing: count, skew: skew, now: now)
        for bus in masters[index].bus { bus.queue.removeAll() }
        for bus in masters.flatMap(\.bus) where bus.target === masters[index] { bus.queue.removeAll() }
        return lost.filter(isGone)
    }

    /// A replica takes over. The old master hears nothing any more.
    func failOver(_ index: Int, losing count: Int, skew: Int, now: Int) -> [Int] {
        let old = masters[index]
        let address = isCluster ? addressCount : 0
        addressCount += 1
        let (replica, lost) = old.failOver(losing: count, skew: skew, now: now, address: address)
        masters[index] = replica
        formerMasters.append(old)
        oldBus += old.bus.filter { !$0.queue.isEmpty && $0.target !== old }
        old.bus = []
        connectBus()
        return lost.filter(isGone)
    }

    /// Whether no master has a notice in a place where it is looked for.
    private func isGone(_ payload: Int) -> Bool {
        !slots.indices.contains { room in
            server(of: room).streams[room]?.entries.contains { $0.payload == payload } == true
        }
    }
}
