import Testing

@testable import Publisher

@Suite struct RatePacerTests {
    @Test func noticesAreEvenlySpaced() {
        var pacer = RatePacer(ratePerSecond: 4)
        var now = Duration.seconds(100)
        var sentAt: [Duration] = []
        for _ in 0..<5 {
            now += pacer.pause(at: now)
            sentAt.append(now - .seconds(100))
            now += .milliseconds(3)
        }
        #expect(sentAt == [0, 250, 500, 750, 1000].map { .milliseconds($0) })
    }

    @Test func lostTimeIsMadeUpForWithinALimit() {
        var pacer = RatePacer(ratePerSecond: 100)
        #expect(pacer.pause(at: .zero) == .zero)
        // 50 ms late: five are due at once, the sixth comes in time.
        let slightlyLate = (0..<6).map { _ in pacer.pause(at: .milliseconds(60)) }
        #expect(slightlyLate == [0, 0, 0, 0, 0, 0].map { .milliseconds($0) })
        #expect(pacer.pause(at: .milliseconds(60)) == .milliseconds(10))
        // A long stall: at most 100 ms, eleven notices, and not the whole minute.
        let afterStall = (0..<12).map { _ in pacer.pause(at: .seconds(60)) }
        #expect(afterStall.prefix(11).allSatisfy { $0 == .zero })
        #expect(afterStall[11] == .milliseconds(10))
    }

    @Test func theLongRunKeepsTheRate() {
        var pacer = RatePacer(ratePerSecond: 1000)
        var now = Duration.zero
        for _ in 0..<10_001 { now += pacer.pause(at: now) }
        #expect(now == .seconds(10))
    }
}
