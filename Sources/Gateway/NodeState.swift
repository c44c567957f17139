// What the threads of a node know of each other. Any thread.

import EventLoop
import Synchronization

/// Readiness and the count of connections, shared by all threads of a node.
final class NodeState: Sendable {
    /// WebSocket connections that the node takes at most.
    let maximumClientCount: Int
    /// Other connections that it takes at most: requests, and handshakes on their way.
    let maximumHttpConnectionCount: Int

    /// By the wall clock: to show, not to reckon with.
    let startedAtUnixMilliseconds = WallClock.unixMilliseconds

    let pulses: LoopPulses

    private let startedAt = MonotonicInstant.now
    private let clientCount = Atomic<Int>(0)
    private let httpConnectionCount = Atomic<Int>(0)
    private let subscriberUp = Atomic<Bool>(false)
    /// Bit for bit the workers whose command connection is up.
    private let commandsUp = Atomic<UInt64>(0)
    private let draining = Atomic<Bool>(false)
    private let workerCount: Int

    init(workerCount: Int, maximumClientCount: Int, maximumHttpConnectionCount: Int) {
        self.workerCount = workerCount
        pulses = LoopPulses(workerCount: workerCount)
        self.maximumClientCount = maximumClientCount
        self.maximumHttpConnectionCount = maximumHttpConnectionCount
    }

    var uptime: Duration { .now - startedAt }

    var isDraining: Bool { draining.load(ordering: .relaxed) }

    func setDraining() { draining.store(true, ordering: .relaxed) }

    func setSubscriberUp(_ isUp: Bool) { subscriberUp.store(isUp, ordering: .relaxed) }

    func setCommandsUp(_ isUp: Bool, worker: Int) {
        let bit: UInt64 = 1 << worker
        if isUp {
            commandsUp.bitwiseOr(bit, ordering: .relaxed)
        } else {
            commandsUp.bitwiseAnd(~bit, ordering: .relaxed)
        }
    }

    /// Whether the subscriber's connection to Redis is up and has all its rooms.
    var isSubscriberUp: Bool { subscriberUp.load(ordering: .relaxed) }

    /// Workers whose command connection to Redis is not up.
    var missingCommandCount: Int { workerCount - commandsUp.load(ordering: .relaxed).nonzeroBitCount }

    /// Why new clients should go elsewhere; empty when the node is ready.
    var reasonsNotReady: [String] {
        var reasons: [String] = []
        if isDraining { reasons.append("draining") }
        if !isSubscriberUp { reasons.append("redis subscriber connection is down") }
        let missing = missingCommandCount
        if missing > 0 { reasons.append("\(missing) of \(workerCount) redis command connections are down") }
        return reasons + pulses.reasonsNotReady(now: .now)
    }

    /// Takes a place for a WebSocket connection; false when there is none.
    func admitClient() -> Bool { NodeState.admit(clientCount, maximumClientCount) }

    func releaseClient() { clientCount.subtract(1, ordering: .relaxed) }

    /// Takes a place for any other connection; false when there is none.
    func admitHttpConnection() -> Bool { NodeState.admit(httpConnectionCount, maximumHttpConnectionCount) }

    func releaseHttpConnection() { httpConnectionCount.subtract(1, ordering: .relaxed) }

    private static func admit(_ count: borrowing Atomic<Int>, _ maximum: Int) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= maximum { return true }
        count.subtract(1, ordering: .relaxed)
        return false
    }
}
