import EventLoop
import Testing

@testable import Gateway

@Suite struct ControlFrameRateTests {
    private func at(_ milliseconds: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000_000) + .milliseconds(milliseconds)
    }

    @Test func thousandMayComeAtOnceAndAHundredASecondAfterThem() {
        var rate = ControlFrameRate()
        #expect(rate.allowance(now: at(0)) == 1_000)
        rate.take(1_000, now: at(0))
        #expect(rate.allowance(now: at(0)) == 0)
        #expect(rate.allowance(now: at(9)) == 0)
        #expect(rate.allowance(now: at(10)) == 1)
        #expect(rate.allowance(now: at(1_000)) == 100)
        rate.take(100, now: at(1_000))
        #expect(rate.allowance(now: at(1_000)) == 0)
        #expect(rate.allowance(now: at(11_000)) == 1_000)
        #expect(rate.allowance(now: at(1_000_000)) == 1_000)
    }

    @Test func oneEveryTenMillisecondsMayComeForEver() {
        var rate = ControlFrameRate()
        for count in 0..<100_000 {
            #expect(rate.allowance(now: at(10 * count)) >= 999)
            rate.take(1, now: at(10 * count))
        }
    }

    /// The last control frame may be years ago, and the machine may run for years.
    @Test(arguments: [1, 248, 249, 497, 498, 5_000]) func silenceOfDaysFillsTheBucket(days: Int) {
        var rate = ControlFrameRate()
        rate.take(1_000, now: at(0))
        let later = at(days * 86_400_000)
        #expect(rate.allowance(now: later) == 1_000)
        #expect(ControlFrameRate().allowance(now: later) == 1_000)
        rate.take(1_000, now: later)
        #expect(rate.allowance(now: later) == 0)
    }

    @Test func itTakesAFewBytes() {
        #expect(MemoryLayout<ControlFrameRate>.size == 4)
    }
}
