import EventLoop
import Synchronization
import Testing

@testable import Gateway

@Suite struct LoopPulseTests {
    private let start = MonotonicInstant.now + .seconds(1_000)

    @Test func threadThatStandsIsAReasonAgainstReadiness() {
        let pulses = LoopPulses(workerCount: 2, feedCount: 1)
        let now = start + Limits.loopPatience
        pulses.control.beat(now: now)
        pulses.feeds[0].beat(now: start)
        pulses.workers[0].beat(now: start)
        pulses.workers[1].beat(now: start + .milliseconds(1))
        #expect(pulses.reasonsNotReady(now: now) == ["thread subscriber hangs", "thread worker 0 hangs"])
        pulses.feeds[0].beat(now: now)
        pulses.workers[0].beat(now: now)
        #expect(pulses.reasonsNotReady(now: now).isEmpty)
    }

    /// After a pause of the whole process nobody has turned, and nobody stands.
    @Test func pauseOfTheWholeProcessIsNoReason() {
        let pulses = LoopPulses(workerCount: 1, feedCount: 1)
        for pulse in [pulses.control] + pulses.feeds + pulses.workers { pulse.beat(now: start) }
        let now = start + Limits.loopPatience * 10
        #expect(pulses.reasonsNotReady(now: now).isEmpty)
        pulses.control.beat(now: now)
        #expect(pulses.reasonsNotReady(now: now).count == 2)
    }

    @Test func nodeStateNamesTheThread() {
        let state = NodeState(workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        state.setFeedUp(true, feed: 0)
        state.setCommandsUp(true, worker: 0)
        #expect(state.reasonsNotReady.isEmpty)
        state.pulses.feeds[0].beat(now: MonotonicInstant(nanoseconds: 0))
        #expect(state.reasonsNotReady == ["thread subscriber hangs"])
    }

    @Test func loopShowsThatItTurns() throws {
        let pulse = LoopPulse(name: "a")
        pulse.beat(now: MonotonicInstant(nanoseconds: 0))
        let loop = try EventLoop()
        let beat = pulse.start(on: loop)
        let look = Timer(on: loop, repeating: true) {
            if pulse.silence(now: .now) < Limits.loopPatience { loop.stop() }
        }
        look.start(after: .milliseconds(10))
        withExtendedLifetime(beat) { loop.run() }
        #expect(pulse.silence(now: .now) < Limits.loopPatience)
    }
}
