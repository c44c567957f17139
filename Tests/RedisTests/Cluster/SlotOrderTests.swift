import TestSupport
import Testing

@testable import Redis

/// Two masters that hand one slot to and fro, and a client whose map lags behind.
private struct World {
    private enum Reply { case accepted, moved(to: Int), tryAgain }

    private struct Command {
        let number: Int
        var isAlone = false
    }

    private static let slot = 7
    private let masters = (0..<2).map { RedisURL.Address.tcp(host: "127.0.0.1", port: 7000 + $0) }
    private var order = SlotOrder<Command>()
    private var map = 0
    private var owner = 0
    /// The keys are with both: no command is taken.
    private var isMoving = false
    private var requests: [[Command]] = [[], []]
    private var replies: [[(Command, Reply)]] = [[], []]
    /// Asked to try again.
    private var postponed: (command: Command, master: Int)?
    private var givenCount = 0
    private(set) var accepted: [Int] = []

    mutating func run(_ count: Int, _ random: inout some RandomNumberGenerator) {
        while givenCount < count { step(Int.random(in: 0..<10, using: &random)) }
        // What is under way arrives.
        for _ in 0..<count * 100 { step(Int.random(in: 3..<(isMoving ? 10 : 9), using: &random)) }
    }

    private mutating func step(_ number: Int) {
        switch number {
        case 0...2: give()
        case 3, 4: serve(number - 3)
        case 5, 6: hear(number - 5)
        case 7: map = owner
        case 8:
            guard let (command, master) = postponed else { return }
            postponed = nil
            requests[master].append(command)
        default:
            // A slot that comes back within a round trip finds commands behind those that were sent away.
            let other = 1 - owner
            if isMoving, !requests[other].isEmpty || !replies[other].isEmpty { return }
            if isMoving { owner = 1 - owner }
            isMoving.toggle()
        }
    }

    private mutating func give() {
        let command = Command(number: givenCount)
        givenCount += 1
        guard case .go(let address) = order.enter(command, slot: Self.slot, owner: masters[map]) else {
            return
        }
        requests[masters.firstIndex(of: address) ?? 0].append(command)
    }

    private mutating func serve(_ master: Int) {
        guard !requests[master].isEmpty else { return }
        let command = requests[master].removeFirst()
        let reply: Reply = owner != master ? .moved(to: owner) : isMoving ? .tryAgain : .accepted
        if case .accepted = reply { accepted.append(command.number) }
        replies[master].append((command, reply))
    }

    private mutating func hear(_ master: Int) {
        guard !replies[master].isEmpty else { return }
        var (command, reply) = replies[master].removeFirst()
        if case .accepted = reply {
            order.ended(slot: Self.slot, isAlone: command.isAlone, failure: nil)
            return release()
        }
        guard order.redirected(command, slot: Self.slot, isAlone: command.isAlone) == .follow else {
            return release()
        }
        command.isAlone = true
        if case .moved(let target) = reply {
            map = target
            requests[target].append(command)
        } else {
            postponed = (command, master)
        }
    }

    private mutating func release() {
        guard order.beginRelease(slot: Self.slot) else { return }
        while let (command, _) = order.next(slot: Self.slot, owner: masters[map]) {
            requests[map].append(command)
        }
    }
}

@Suite struct SlotOrderTests {
    private static let first = RedisURL.Address.tcp(host: "a", port: 1)
    private static let second = RedisURL.Address.tcp(host: "b", port: 1)

    @Test func noCommandIsOvertaken() {
        for seed in 0..<300 {
            var random = SeededRandom(seed: UInt64(seed))
            var world = World()
            world.run(40, &random)
            #expect(world.accepted == Array(0..<40), "seed \(seed)")
        }
    }

    @Test func otherSlotsGoOn() {
        var order = SlotOrder<Int>()
        #expect(order.enter(1, slot: 1, owner: Self.first) == .go(to: Self.first))
        #expect(order.redirected(1, slot: 1, isAlone: false) == .follow)
        #expect(order.enter(2, slot: 1, owner: Self.second) == .wait)
        #expect(order.enter(3, slot: 2, owner: Self.second) == .go(to: Self.second))
    }

    /// Whatever the map says meanwhile.
    @Test func commandsFollowThoseThatAreOnTheirWay() {
        var order = SlotOrder<Int>()
        #expect(order.enter(1, slot: 1, owner: Self.first) == .go(to: Self.first))
        #expect(order.enter(2, slot: 1, owner: Self.second) == .go(to: Self.first))
        for _ in 1...2 { order.ended(slot: 1, isAlone: false, failure: nil) }
        #expect(order.enter(3, slot: 1, owner: Self.second) == .go(to: Self.second))
    }

    @Test func nothingIsSentBehindACommandWithoutAnOutcome() {
        var order = SlotOrder<Int>()
        for number in 1...3 { _ = order.enter(number, slot: 1, owner: Self.first) }
        #expect(order.redirected(1, slot: 1, isAlone: false) == .follow)
        #expect(order.enter(4, slot: 1, owner: Self.first) == .wait)
        order.ended(slot: 1, isAlone: true, failure: "lost")
        #expect(order.beginRelease(slot: 1) == false, "two are on their way")
        #expect(order.enter(5, slot: 1, owner: Self.second) == .fail("lost"))
        // The master may take what it has been sent, and what it sends away goes nowhere.
        order.ended(slot: 1, isAlone: false, failure: nil)
        #expect(order.redirected(3, slot: 1, isAlone: false) == .fail("lost"))
        order.ended(slot: 1, isAlone: false, failure: "lost")
        #expect(order.beginRelease(slot: 1) == true)
        let left = order.next(slot: 1, owner: Self.second)
        #expect(left?.command == 4 && left?.failure == "lost")
        order.ended(slot: 1, isAlone: false, failure: "lost")
        #expect(order.next(slot: 1, owner: Self.second) == nil)
        #expect(order.enter(6, slot: 1, owner: Self.second) == .go(to: Self.second))
    }
}
