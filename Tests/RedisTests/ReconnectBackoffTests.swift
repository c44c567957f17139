import TestSupport
import Testing

@testable import Redis

/// The same number for ever.
private struct FixedGenerator: RandomNumberGenerator {
    /// Gives the lowest number of a range below 2 to the 32. (Zero is rejected for ever, for fairness.)
    static let lowest = FixedGenerator(number: 1 << 32)
    /// Gives the highest number of every range.
    static let highest = FixedGenerator(number: .max)

    let number: UInt64

    mutating func next() -> UInt64 { number }
}

@Suite struct ReconnectBackoffTests {
    @Test func longestWaitsDoubleUpToTheMaximum() {
        var backoff = ReconnectBackoff(initialCeiling: .milliseconds(100), maximumCeiling: .seconds(1))
        var highest = FixedGenerator.highest
        let waits = (0..<6).map { _ in backoff.next(using: &highest) }
        #expect(waits == [100, 200, 400, 800, 1_000, 1_000].map { Duration.milliseconds($0) })
        backoff.reset()
        #expect(backoff.next(using: &highest) == .milliseconds(100))
    }

    @Test func shortestWaitIsTheFloor() {
        var backoff = ReconnectBackoff()
        var lowest = FixedGenerator.lowest
        for _ in 0..<10 { #expect(backoff.next(using: &lowest) == ReconnectBackoff.floor) }
    }

    @Test func ceilingBelowTheFloorWaitsForTheFloor() {
        var backoff = ReconnectBackoff(initialCeiling: .milliseconds(1), maximumCeiling: .milliseconds(5))
        var highest = FixedGenerator.highest
        for _ in 0..<10 { #expect(backoff.next(using: &highest) == ReconnectBackoff.floor) }
    }

    @Test(arguments: SeededRandom.seeds)
    func waitsAreSpreadBetweenFloorAndCeiling(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var backoff = ReconnectBackoff(initialCeiling: .seconds(2), maximumCeiling: .seconds(2))
        let waits = (0..<1_000).map { _ in backoff.next(using: &random) }
        #expect(waits.allSatisfy { $0 >= ReconnectBackoff.floor && $0 <= .seconds(2) })
        // Uniform: about a quarter in each quarter.
        for quarter in 0..<4 {
            let range = Duration.milliseconds(500 * quarter)..<Duration.milliseconds(500 * (quarter + 1))
            let count = waits.count { range.contains($0) }
            #expect((170...330).contains(count), "seed \(seed)")
        }
    }
}
