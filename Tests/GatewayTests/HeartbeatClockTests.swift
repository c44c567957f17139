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

    @Test func ttlOfTheRecordCountsNotThatOfTheNode() {
        // Renewed with 100 s, 10 s ago.
        #expect(decide(90_000, ttl: 100) == .check(after: .seconds(20)))
    }
}
