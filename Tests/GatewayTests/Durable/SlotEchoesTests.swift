import EventLoop
import Testing

@testable import Gateway

@Suite struct SlotEchoesTests {
    private func at(_ milliseconds: Int64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: milliseconds * 1_000_000)
    }

    @Test func echoThatDoesNotComeCountsAfterAWhile() {
        var echoes = SlotEchoes()
        let first = echoes.add(7, 100, now: at(0))
        let second = echoes.add(8, 200, now: at(500))
        #expect(echoes.expire(now: at(999)).isEmpty)
        let taken = echoes.take(second)
        #expect(taken?.number == 8 && taken?.slot == 200)
        let late = echoes.expire(now: at(1_600))
        #expect(late.map(\.number) == [7] && late.map(\.slot) == [100])
        #expect(echoes.take(first) == nil && echoes.take(second) == nil)
    }

    @Test func echoesOfALostLinkDoNotCount() {
        var echoes = SlotEchoes()
        let before = echoes.add(1, 5, now: at(0))
        echoes.removeAll()
        #expect(echoes.take(before) == nil && echoes.expire(now: at(5_000)).isEmpty)
        #expect(echoes.add(2, 5, now: at(0)) != before)
    }
}
