import EventLoop
import Redis
import Testing

@testable import Gateway

@Suite struct ClusterEchoesTests {
    private static let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)
    private let a = RedisURL.Address.tcp(host: "a", port: 1)
    private let b = RedisURL.Address.tcp(host: "b", port: 1)
    private let c = RedisURL.Address.tcp(host: "c", port: 1)
    private var masters: [RedisURL.Address] { [a, b, c] }

    private func at(_ seconds: Double) -> MonotonicInstant {
        Self.start + .milliseconds(Int64(seconds * 1_000))
    }

    private func begin() -> ClusterEchoes {
        var echoes = ClusterEchoes(silenceTimeout: .seconds(4))
        echoes.linkIsUp([], now: Self.start)
        return echoes
    }

    @Test func feedThatHearsNothingLeaves() {
        var echoes = begin()
        echoes.taken(1, by: b, sentAt: at(1))
        echoes.taken(2, by: c, sentAt: at(2))
        #expect(echoes.check(masters, ownNode: a, now: at(2.9)) == nil)
        #expect(echoes.check(masters, ownNode: a, now: at(3)) != nil)
        // And not again before a silence timeout is over.
        #expect(echoes.check(masters, ownNode: a, now: at(6.9)) == nil)
        #expect(echoes.check(masters, ownNode: a, now: at(7)) != nil)
        // Then two, and so on.
        #expect(echoes.check(masters, ownNode: a, now: at(14.9)) == nil)
        #expect(echoes.check(masters, ownNode: a, now: at(15)) != nil)
    }

    /// One master that is cut off from the others is not the fault of the feed's node.
    @Test func oneMasterAloneIsNoReason() {
        var echoes = begin()
        echoes.taken(1, by: b, sentAt: at(1))
        echoes.taken(2, by: b, sentAt: at(2))
        #expect(echoes.check(masters, ownNode: a, now: at(9)) == nil)
        // What its own node has taken says nothing.
        echoes.taken(3, by: a, sentAt: at(3))
        #expect(echoes.check(masters, ownNode: a, now: at(9)) == nil)
        // Where there is only one other, two of its echoes are enough.
        #expect(echoes.check([a, b], ownNode: a, now: at(9)) != nil)
    }

    @Test func echoThatComesKeepsTheFeedWhereItIs() {
        var echoes = begin()
        echoes.taken(1, by: b, sentAt: at(1))
        echoes.taken(2, by: c, sentAt: at(2))
        echoes.heard(2, now: at(2.5))
        #expect(echoes.check(masters, ownNode: a, now: at(9)) == nil)
    }

    /// A master hears what is published at itself, also when nothing else comes to it.
    @Test func echoByWayOfItsOwnNodeDoesNotKeepTheFeed() {
        var echoes = begin()
        for (number, address) in [(UInt64(1), b), (2, c), (3, a), (4, b), (5, c), (6, a)] {
            echoes.taken(number, by: address, sentAt: at(Double(number)))
            if address == a { echoes.heard(number, now: at(Double(number))) }
        }
        #expect(echoes.check(masters, ownNode: a, now: at(6)) != nil)
        // Where it is the only master, it is the only way.
        #expect(echoes.check([a], ownNode: a, now: at(10.5)) == nil)
    }

    /// The oldest over the masters, whichever of an echo and its acceptance comes first.
    @Test func everythingHasComeUntilTheOldestEcho() {
        var echoes = begin()
        #expect(echoes.completeUntil(masters) == nil)
        echoes.taken(1, by: a, sentAt: at(1))
        echoes.heard(1, now: at(1.2))
        #expect(echoes.completeUntil(masters) == at(1))
        echoes.heard(2, now: at(2.1))
        echoes.taken(2, by: b, sentAt: at(2))
        echoes.taken(3, by: a, sentAt: at(3))
        #expect(echoes.completeUntil(masters) == at(1), "the third echo has not come")
        echoes.heard(3, now: at(3.2))
        #expect(echoes.completeUntil(masters) == at(2))
        // Those that have gone do not count.
        #expect(echoes.completeUntil([a]) == at(3))
        echoes.linkLost()
        #expect(echoes.completeUntil([a]) == at(3), "it holds its value for the gap that begins")
        // An echo from before the connection proves nothing.
        echoes.linkIsUp([], now: at(5))
        echoes.taken(4, by: a, sentAt: at(4))
        #expect(echoes.completeUntil([a]) == nil)
    }

    /// Until a master's first echo is back, nothing proves that its notices come.
    @Test func masterWithoutAnEchoCountsFromTheConnection() {
        var echoes = begin()
        echoes.linkIsUp(masters, now: at(1))
        echoes.taken(1, by: a, sentAt: at(2))
        echoes.heard(1, now: at(2.2))
        #expect(echoes.completeUntil(masters) == at(1))
    }

    /// One that has been a replica for a while is not looked after from where it was left.
    @Test func masterThatReturnsCountsFromItsReturn() {
        var echoes = begin()
        echoes.linkIsUp(masters, now: at(1))
        echoes.look(after: [a, b], now: at(2))
        echoes.look(after: masters, now: at(3_000))
        for (number, address) in [(UInt64(1), a), (2, b)] {
            echoes.taken(number, by: address, sentAt: at(3_001))
            echoes.heard(number, now: at(3_001))
        }
        #expect(echoes.completeUntil(masters) == at(3_000))
    }

    /// However many come and go, nobody waits longer for its turn than there are others.
    @Test func eachHasItsTurn() {
        var turns = Turns<String>()
        var order = ""
        for elements in [
            ["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"], ["a", "b"], ["a", "b", "c"], ["c", "b"],
        ] {
            order += turns.next(of: elements).map { elements[$0] } ?? "-"
        }
        #expect(order == "acbacb")
        #expect(turns.next(of: []) == nil)
    }
}
