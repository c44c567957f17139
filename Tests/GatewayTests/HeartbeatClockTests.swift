import EventLoop
import TestSupport
import Testing

@testable import Gateway

@Suite struct HeartbeatClockTests {
    private func decide(_ remaining: Int64, ttl: Int64 = 60) -> HeartbeatClock.Decision {
        HeartbeatClock.decide(ttlSeconds: ttl, remainingMilliseconds: remaining, timeout: .seconds(30))
    }

    @Test func connectionIsClosedAtTheTimeoutAndNotBefore() {
        #expect(decide(30_001) == .check(after: .milliseconds(1)))
        #expect(decide(30_000) == .close)
        #expect(decide(29_999) == .close)
        #expect(decide(0) == .close)
    }

    @Test func freshHeartbeatHasTheWholeTime() {
        #expect(decide(60_000) == .check(after: .seconds(30)))
        #expect(decide(59_000) == .check(after: .seconds(29)))
    }

    @Test func lifeBeyondTheTtlCountsAsRenewedNow() {
        #expect(decide(60_001) == .check(after: .seconds(30)))
        #expect(decide(1_000_000_000) == .check(after: .seconds(30)))
    }

    /// A record and PTTL may say anything that a number can be.
    @Test func anyNumbersDecide() {
        let numbers: [Int64] = [
            .min, .min + 1, -1_000_000, -2, -1, 0, 1, 1_000, 2_592_000_001, .max / 1_000, .max - 1, .max,
        ]
        for ttl in numbers {
            for remaining in numbers {
                switch decide(remaining, ttl: ttl) {
                case .close: break
                case .check(let delay): #expect((.milliseconds(1) ... .seconds(30)).contains(delay))
                }
            }
        }
        #expect(decide(.min) == .close)
        #expect(decide(.max, ttl: .max) == .check(after: .seconds(30)))
    }

    private func instant(_ seconds: Double) -> CoarseInstant {
        CoarseInstant(notBefore: MonotonicInstant(nanoseconds: 0) + .seconds(1_000_000 + seconds))
    }

    /// Whenever Pongs come, within the timeout of each other: from one renewal to the next the record lives.
    @Test(arguments: SeededRandom.seeds) func pongsRenewARecordWithinItsLife(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let timeout = Double.random(in: 3...60, using: &random).rounded()
        let ttl = Int64(timeout) + Int64.random(in: 5...200, using: &random)
        let period = HeartbeatClock.renewalPeriod(ttlSeconds: ttl, timeout: .seconds(timeout))
        let number = UInt64.random(in: 0...(.max), using: &random)
        var (last, renewed) = (0.0, 0.0)
        while last < 5_000 {
            let next = last + Double.random(in: 0.1...timeout, using: &random)
            if HeartbeatClock.renews(
                since: instant(last), now: instant(next), period: period, number: number)
            {
                renewed = next
            }
            last = next
            // The next Pong comes within the timeout, or the member is closed.
            #expect(next - renewed + timeout < Double(ttl), "seed \(seed), \(ttl) s, \(timeout) s")
        }
    }

    /// A record of an hour with a Pong every 25 s is renewed four times.
    @Test func pongsRenewALongLivedRecordSeldom() {
        let period = HeartbeatClock.renewalPeriod(ttlSeconds: 3_600, timeout: .seconds(30))
        #expect(period == .seconds(900))
        let count = (0..<1_440).count { pong in
            HeartbeatClock.renews(
                since: instant(Double(pong) * 25), now: instant(Double(pong + 1) * 25), period: period,
                number: 12_345)
        }
        #expect(count == 40)
    }

    /// Members that have connected in one moment do not renew in one moment.
    @Test func renewalsAreSpreadOverThePeriod() {
        let period = Duration.seconds(900)
        let early = (0..<9_000).count { number in
            HeartbeatClock.renews(
                since: instant(0), now: instant(90), period: period, number: UInt64(number))
        }
        #expect(early == 900)
    }

    /// Another node may have issued a token that lives for a shorter time than this node's timeout.
    @Test func shortestLifeIsRenewedByEveryPong() {
        let period = HeartbeatClock.renewalPeriod(ttlSeconds: 6, timeout: .seconds(30))
        #expect(period == Limits.deadlineTick)
        #expect(HeartbeatClock.renews(since: instant(0), now: instant(0.1), period: period, number: 3))
    }

    @Test func ttlOfTheRecordCountsNotThatOfTheNode() {
        // Renewed with 100 s, 10 s ago.
        #expect(decide(90_000, ttl: 100) == .check(after: .seconds(20)))
    }
}
