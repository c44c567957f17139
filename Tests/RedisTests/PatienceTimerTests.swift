import EventLoop
import Glibc
import TestSupport
import Testing

@testable import Redis

@Suite struct PatienceTimerTests {
    /// Counts what a timer asks and says.
    private final class Rig {
        let scenario: Scenario
        var timer: PatienceTimer?
        var newsCount = 0
        var hasNews = false
        var expiryCount = 0

        init() throws {
            scenario = try Scenario()
            timer = PatienceTimer(
                .milliseconds(100), loop: scenario.loop,
                hasNews: { [unowned self] in
                    self.newsCount += 1
                    return self.hasNews
                }, onExpiry: { [unowned self] in self.expiryCount += 1 })
        }
    }

    @Test func waitEndsInTimeWhereNothingHasCome() throws {
        let rig = try Rig()
        let begin = MonotonicInstant.now
        rig.scenario.step("the end", until: { rig.expiryCount == 1 }) { rig.timer?.start() }
        try rig.scenario.run()
        // libevent's clock may be some milliseconds behind ours.
        #expect(MonotonicInstant.now - begin >= .milliseconds(90))
    }

    @Test func lateLookIsNoVerdict() throws {
        let rig = try Rig()
        rig.scenario.then {
            rig.timer?.start()
            usleep(250_000)
        }
        // Timers run before the end of the turn behind the one that was late.
        rig.scenario.then { #expect(rig.expiryCount == 0) }
        rig.scenario.step("the end all the same", until: { rig.expiryCount == 1 })
        try rig.scenario.run()
    }

    @Test func newsProlongTheWaitAFewTimesOnly() throws {
        let rig = try Rig()
        rig.hasNews = true
        rig.scenario.step("the end", until: { rig.expiryCount == 1 }) { rig.timer?.start() }
        try rig.scenario.run()
        #expect(rig.newsCount <= PatienceTimer.maximumProlongationCount)
        #expect(rig.newsCount > 0)
    }

    @Test func cancelledWaitSaysNothing() throws {
        let rig = try Rig()
        var isLater = false
        let later = Timer(on: rig.scenario.loop) { isLater = true }
        rig.scenario.step("later", until: { isLater }) {
            rig.timer?.start()
            rig.timer?.cancel()
            later.start(after: .milliseconds(200))
        }
        try rig.scenario.run()
        #expect(rig.expiryCount == 0)
    }
}
