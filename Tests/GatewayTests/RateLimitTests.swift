import EventLoop
import Testing

@testable import Gateway

private func at(_ milliseconds: Int64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: 5_000_000_000 + milliseconds * 1_000_000)
}

@Suite struct RateLimitTests {
    /// How many are let through when `count` ask at each of these times.
    private func admitted(_ perSecond: Int, _ count: Int, at milliseconds: [Int64]) -> [Int] {
        let limit = RateLimit(perSecond: perSecond)
        var fullAt = MonotonicInstant(nanoseconds: 0)
        return milliseconds.map { time in
            (0..<count).filter { _ in
                guard let next = limit.take(fullAt: fullAt, now: at(time)) else { return false }
                fullAt = next
                return true
            }.count
        }
    }

    @Test(arguments: [1, 2, 3, 7, 100, 999, 1_000])
    func bucketHoldsASecond(perSecond: Int) {
        #expect(admitted(perSecond, perSecond + 5, at: [0]) == [perSecond])
    }

    @Test func emptyBucketFillsAtTheRate() {
        #expect(admitted(10, 20, at: [0, 99, 100, 100, 350, 1_000]) == [10, 0, 1, 0, 2, 7])
    }

    @Test func bucketHoldsNoMoreHoweverLongItIsLeft() {
        #expect(admitted(5, 100, at: [0, 999, 100_000]) == [5, 4, 5])
    }

    @Test func whatIsAskedInVainCostsNothing() {
        #expect(admitted(1, 1_000, at: [0, 500, 999, 1_000, 1_001, 2_000]) == [1, 0, 0, 1, 0, 1])
    }
}

@Suite struct HandshakeRateTests {
    /// A storm of 5,000 at 500 a second: who is told a second to come back is one of 500.
    @Test func stormIsSentAwayAtTheRate() {
        let limit = RateLimit(perSecond: 500)
        var rate = NodeRate()
        var told: [Int: Int] = [:]
        for _ in 0..<5_000 { told[rate.take(limit, now: at(0)) ?? 0, default: 0] += 1 }
        #expect(told == Dictionary(uniqueKeysWithValues: (0..<10).map { ($0, 500) }))
    }

    @Test func whoComesWhenToldIsTaken() {
        let limit = RateLimit(perSecond: 100)
        var rate = NodeRate()
        var waiting = (0..<1_000).compactMap { _ in rate.take(limit, now: at(0)) }
        #expect(waiting.count == 900)
        for second in 1...10 {
            let due = waiting.filter { $0 == second }
            waiting.removeAll { $0 == second }
            let refused = due.filter { _ in rate.take(limit, now: at(Int64(second) * 1_000)) != nil }
            #expect(refused.isEmpty, "second \(second)")
        }
        #expect(waiting.isEmpty)
    }

    @Test func nobodyIsSentAwayForLongerThanTheLimit() {
        let limit = RateLimit(perSecond: 1)
        var rate = NodeRate()
        var longest = 0
        for _ in 0..<1_000 { longest = max(longest, rate.take(limit, now: at(0)) ?? 0) }
        #expect(longest == 30)
        // Quiet again: nobody waits for those who never came back.
        #expect(rate.take(limit, now: at(60_000)) == nil)
        #expect(rate.take(limit, now: at(60_000)) == 1)
    }
}
