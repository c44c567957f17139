import EventLoop
import Testing

@testable import Redis

@Suite struct RefusedChannelsTests {
    private let a = [UInt8]("a")
    private let b = [UInt8]("b")
    private let c = [UInt8]("c")

    private func at(_ seconds: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000) + .seconds(seconds)
    }

    private func refused(_ channels: RedisArgument...) -> RefusedChannels {
        var refused = RefusedChannels(firstPause: .seconds(10))
        for channel in channels { refused.insert(channel, now: at(0)) }
        return refused
    }

    @Test func channelIsLeftAloneForThePause() {
        var refused = refused(a)
        #expect(refused.contains(a) && !refused.contains(b))
        #expect(refused.takeCandidate(now: at(9)) == nil)
        #expect(refused.takeCandidate(now: at(10)) == a)
        #expect(refused.takeCandidate(now: at(10)) == nil, "one at a time")
        #expect(refused.contains(a), "until it is confirmed")
        refused.confirmed(a)
        #expect(!refused.contains(a))
        #expect(refused.takeCandidate(now: at(99)) == nil)
    }

    @Test func pauseDoublesWithEachFurtherRefusal() {
        var refused = refused(a)
        var now = 10
        for pause in [20, 40, 80, 160, 300, 300] {
            #expect(refused.takeCandidate(now: at(now)) == a)
            refused.insert(a, now: at(now))
            #expect(refused.takeCandidate(now: at(now + pause - 1)) == nil)
            now += pause
        }
    }

    @Test func othersFollowAtOnceWhereOneIsTaken() {
        var refused = refused(a, b, c)
        #expect(refused.takeCandidate(now: at(10)) == a)
        refused.confirmed(a)
        #expect(refused.takeCandidate(now: at(10)) == b)
        // The second is still refused: the rest waits again, for twice the first pause.
        refused.insert(b, now: at(10))
        #expect(refused.takeCandidate(now: at(29)) == nil)
        #expect(refused.takeCandidate(now: at(30)) == c, "each has its turn")
    }

    @Test func lossOfTheConnectionAnswersNothing() {
        var refused = refused(a)
        #expect(refused.takeCandidate(now: at(10)) == a)
        refused.linkLost()
        #expect(refused.takeCandidate(now: at(10)) == a)
    }

    @Test func newsOfOthersPutsNothingOff() {
        var refused = refused(a)
        refused.insert(b, now: at(9))
        refused.insert(a, now: at(9))
        #expect(refused.takeCandidate(now: at(10)) == a)
        refused.insert(c, now: at(10))
        refused.remove(a)
        #expect(refused.takeCandidate(now: at(10)) == b)
    }

    @Test func comingAndGoingLeavesNothingBehind() {
        var refused = refused(a, b)
        for _ in 0..<1_000 {
            refused.remove(a)
            refused.insert(a, now: at(0))
            #expect(refused.turnCount <= 65)
        }
        #expect(refused.count == 2)
        #expect(refused.takeCandidate(now: at(10)) == b || refused.contains(a))
        for number in 0..<5_000 { refused.insert([UInt8]("\(number)"), now: at(0)) }
        #expect(refused.count == 5_002 && refused.turnCount <= 10_070)
    }

    @Test func onlyTheRulesOfAccessRefuseAChannel() {
        #expect(
            RefusedChannels.isRefusal(
                "NOPERM this user has no permissions to access one of the channels used"))
        for reason in ["Server closed the connection", "CLIENT SETNAME: NOPERM no", "NOAUTH x", ""] {
            #expect(!RefusedChannels.isRefusal(reason))
        }
    }
}
