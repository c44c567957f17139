// The sign of life of a node's threads. Each loop writes its own, any thread reads them.

import EventLoop
import Synchronization

/// When a loop turned last, so that readiness notices a thread that hangs.
final class LoopPulse: Sendable {
    /// The thread's name in the reasons against readiness.
    let name: String
    private let lastBeat = Atomic<Int64>(MonotonicInstant.now.nanoseconds)

    init(name: String) {
        self.name = name
    }

    /// Begins to show that `loop` turns, for as long as the caller holds the timer. On the loop's thread.
    func start(on loop: EventLoop) -> Timer {
        let timer = Timer(on: loop, repeating: true) { self.beat(now: .now) }
        timer.start(after: Limits.loopPulseInterval)
        return timer
    }

    func beat(now: MonotonicInstant) {
        lastBeat.store(now.nanoseconds, ordering: .relaxed)
    }

    /// How long the loop has not turned.
    func silence(now: MonotonicInstant) -> Duration {
        now - MonotonicInstant(nanoseconds: lastBeat.load(ordering: .relaxed))
    }
}

/// The pulses of a node's loops.
struct LoopPulses: Sendable {
    /// The loop of the node itself, which answers for readiness.
    let control = LoopPulse(name: "control")
    let feeds: [LoopPulse]
    let workers: [LoopPulse]

    init(workerCount: Int, feedCount: Int) {
        feeds = (0..<feedCount).map { _ in LoopPulse(name: "subscriber") }
        workers = (0..<workerCount).map { LoopPulse(name: "worker \($0)") }
    }

    /// The loops that hang, as reasons against readiness. Empty if the control loop has only just come back
    /// itself: then the whole process was stopped, and the others are about to turn, too.
    func reasonsNotReady(now: MonotonicInstant) -> [String] {
        guard control.silence(now: now) < Limits.loopPulseInterval * 2 else { return [] }
        return (feeds + workers).filter { $0.silence(now: now) >= Limits.loopPatience }
            .map { "thread \($0.name) hangs" }
    }
}
