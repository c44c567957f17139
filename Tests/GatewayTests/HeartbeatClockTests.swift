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

    @Test func ttlOfTheRecordCountsNotThatOfTheNode() {
        // Renewed with 100 s, 10 s ago.
        #expect(decide(90_000, ttl: 100) == .check(after: .seconds(20)))
    }
}
