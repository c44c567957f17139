// What the threads of a node know of each other. Any thread.

import EventLoop
import Redis
import Synchronization

/// Readiness and the count of connections, shared by all threads of a node.
final class NodeState: Sendable {
    /// WebSocket connections that the node takes at most.
    let maximumClientCount: Int
    /// Other connections that it takes at most: requests, and handshakes on their way.
    let maximumHttpConnectionCount: Int

    /// By the wall clock: to show, not to compute with.
    let startedAtUnixMilliseconds = WallClock.unixMilliseconds

    let pulses: LoopPulses

    private let startedAt = MonotonicInstant.now
    private let clientCount = Atomic<Int>(0)
    private let compressedCount = Atomic<Int>(0)
    private let handoverCount = Atomic<Int>(0)
    /// Bit for bit the feeds whose connection is up and has all its rooms.
    private let feedsUp = Atomic<UInt64>(0)
    /// Bit for bit the workers whose command connection is up.
    private let commandsUp = Atomic<UInt64>(0)
    /// By worker: the error with which Redis refuses its writes.
    private let writeRefusals = Mutex<[Int: String]>([:])
    private let publishRefusalText = Mutex<String?>(nil)
    private let evictionPossible = Atomic<Bool>(false)
    private let serverChanges = Atomic<Int>(0)
    private let redisTrouble = Mutex<String?>(nil)
    private let nodeIDShared = Atomic<Bool>(false)
    private let clusterFound = Atomic<Bool>(false)
    private let draining = Atomic<Bool>(false)
    private let eventStreams = Atomic<Bool>(false)
    private let workerCount: Int
    let feedCount: Int
    /// By worker; empty for one Redis.
    private let clusters = Mutex<[Int: ClusterReach]>([:])
    private let isCluster: Bool

    /// What a worker can reach of a cluster.
    private struct ClusterReach {
        let slotCount: Int
        let mastersUp: Int
        let mastersDown: Int
    }

    init(
        workerCount: Int, feedCount: Int = 1, maximumClientCount: Int, maximumHttpConnectionCount: Int,
        isCluster: Bool = false
    ) {
        self.isCluster = isCluster
        self.workerCount = workerCount
        self.feedCount = feedCount
        pulses = LoopPulses(workerCount: workerCount, feedCount: feedCount)
        self.maximumClientCount = maximumClientCount
        self.maximumHttpConnectionCount = maximumHttpConnectionCount
    }

    var uptime: Duration { .now - startedAt }

    var isDraining: Bool { draining.load(ordering: .relaxed) }

    func setDraining() { draining.store(true, ordering: .relaxed) }

    /// Whether the node has had an event stream: from the first one on messages count the memory of an event.
    var hasEventStreams: Bool { eventStreams.load(ordering: .relaxed) }

    func eventStreamBegins() {
        if !hasEventStreams { eventStreams.store(true, ordering: .relaxed) }
    }

    func setFeedUp(_ isUp: Bool, feed: Int) { NodeState.set(feedsUp, isUp, feed) }

    func setCommandsUp(_ isUp: Bool, worker: Int) { NodeState.set(commandsUp, isUp, worker) }

    /// Feeds whose connection to Redis is not up or still without some of its rooms.
    var missingFeedCount: Int { feedCount - feedsUp.load(ordering: .relaxed).nonzeroBitCount }

    /// Workers whose command connection to Redis is not up; in a cluster, those that cannot reach half of the slots.
    var missingCommandCount: Int {
        guard isCluster else { return workerCount - commandsUp.load(ordering: .relaxed).nonzeroBitCount }
        return (0..<workerCount).count { index in
            clusters.withLock { ($0[index]?.slotCount ?? 0) * 2 < HashSlot.count }
        }
    }

    /// What a worker can reach of a cluster.
    ///
    /// - Parameters:
    ///   - reachableSlotCount: of slots whose masters are connected and take writes.
    ///   - masters: how many of them are connected, and how many are not.
    func setCluster(reachableSlotCount: Int, masters: (up: Int, down: Int), worker: Int) {
        clusters.withLock {
            $0[worker] = ClusterReach(
                slotCount: reachableSlotCount, mastersUp: masters.up, mastersDown: masters.down)
        }
    }

    /// How many slots of a cluster the worker that reaches the fewest can reach; nil for one Redis.
    var reachableSlotCount: Int? {
        guard isCluster else { return nil }
        return clusters.withLock { clusters in
            clusters.count < workerCount ? 0 : clusters.values.map(\.slotCount).min() ?? 0
        }
    }

    /// How many masters of a cluster are connected to every worker that knows them, and how many are not; nil for one
    /// Redis.
    var masterCounts: (up: Int, down: Int)? {
        guard isCluster else { return nil }
        return clusters.withLock { clusters in
            (
                clusters.values.map(\.mastersUp).min() ?? 0, clusters.values.map(\.mastersDown).max() ?? 0
            )
        }
    }

    /// Why a connection to Redis, or the latest attempt at one, was lost; nil when one stands again.
    func setRedisTrouble(_ reason: String?) { redisTrouble.withLock { $0 = reason } }

    /// Redis refuses a worker's writes with this error, or accepts them (nil).
    func setWriteRefusal(_ text: String?, worker: Int) { writeRefusals.withLock { $0[worker] = text } }

    /// The error with which Redis refuses writes; nil while it accepts those of every worker.
    var writeRefusal: String? { writeRefusals.withLock { $0.values.min() } }

    /// The error with which Redis refuses to let the node publish; nil while it does not. Without it an older
    /// connection of a token cannot be told that it is replaced.
    var publishRefusal: String? { publishRefusalText.withLock { $0 } }

    /// - Returns: whether a refusal is news.
    @discardableResult
    func setPublishRefusal(_ text: String?) -> Bool {
        publishRefusalText.withLock { refusal in
            defer { refusal = text }
            return text != nil && refusal == nil
        }
    }

    /// Whether Redis may evict the records of connected clients.
    var isEvictionPossible: Bool { evictionPossible.load(ordering: .relaxed) }

    func setEvictionPossible(_ isPossible: Bool) { evictionPossible.store(isPossible, ordering: .relaxed) }

    /// How often another server was found behind the address of Redis, or a replica in place of a master.
    var serverChangeCount: Int { serverChanges.load(ordering: .relaxed) }

    func noteServerChange() { serverChanges.add(1, ordering: .relaxed) }

    /// What an operator should know of a node that is ready all the same.
    var warnings: [String] {
        let refusal = publishRefusal.map {
            "redis refuses PUBLISH, so a token's second connection is refused: \($0)"
        }
        let reach = reachableSlotCount.flatMap { count in
            count < HashSlot.count
                ? "\(HashSlot.count - count) of \(HashSlot.count) slots of the redis cluster cannot be reached"
                : nil
        }
        return [refusal, reach].compactMap { $0 }
    }

    /// Whether another node reports under this node's id.
    var isNodeIDShared: Bool { nodeIDShared.load(ordering: .relaxed) }

    func setNodeIDShared(_ isShared: Bool) { nodeIDShared.store(isShared, ordering: .relaxed) }

    /// Whether the server at the address of Redis is part of a Redis Cluster.
    func setClusterFound(_ isFound: Bool) { clusterFound.store(isFound, ordering: .relaxed) }

    /// Why new clients should go elsewhere; empty when the node is ready.
    var reasonsNotReady: [String] {
        var reasons: [String] = []
        if isDraining { reasons.append("draining") }
        if missingFeedCount > 0 { reasons.append("redis subscriber connection is down") }
        let missing = missingCommandCount
        if missing > 0, !isCluster {
            reasons.append("\(missing) of \(workerCount) redis command connections are down")
        }
        if let count = reachableSlotCount, count * 2 < HashSlot.count {
            reasons.append("\(count) of \(HashSlot.count) slots of the redis cluster can be reached")
        }
        let isInCluster = clusterFound.load(ordering: .relaxed)
        if !reasons.isEmpty, !isDraining, !isInCluster, let trouble = redisTrouble.withLock({ $0 }) {
            reasons.append("redis: \(trouble)")
        }
        if let writeRefusal { reasons.append("redis refuses writes: \(writeRefusal)") }
        if isInCluster { reasons.append(RedisConnection.clusterReason) }
        return reasons + pulses.reasonsNotReady(now: .now)
    }

    /// Takes a place for a WebSocket connection; false when there is none.
    func admitClient() -> Bool { NodeState.admit(clientCount, maximumClientCount) }

    func releaseClient() { clientCount.subtract(1, ordering: .relaxed) }

    /// WebSocket connections that take compressed messages.
    var compressedClientCount: Int { compressedCount.load(ordering: .relaxed) }

    func addCompressedClient() { compressedCount.add(1, ordering: .relaxed) }

    func removeCompressedClient() { compressedCount.subtract(1, ordering: .relaxed) }

    /// Takes a place on the way from the admin listener to a worker; false when there is none.
    func admitHandover() -> Bool { NodeState.admit(handoverCount, Limits.handoverCount) }

    func releaseHandover() { handoverCount.subtract(1, ordering: .relaxed) }

    /// The places of one worker for other connections. Each has its own, so that a connection that needs
    /// one finds the connection that makes room on the same loop.
    func maximumHttpConnectionCount(ofWorker index: Int) -> Int {
        maximumHttpConnectionCount / workerCount + (index < maximumHttpConnectionCount % workerCount ? 1 : 0)
    }

    private static func set(_ bits: borrowing Atomic<UInt64>, _ isUp: Bool, _ index: Int) {
        if isUp {
            bits.bitwiseOr(1 << index, ordering: .relaxed)
        } else {
            bits.bitwiseAnd(~(1 << index), ordering: .relaxed)
        }
    }

    private static func admit(_ count: borrowing Atomic<Int>, _ maximum: Int) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= maximum { return true }
        count.subtract(1, ordering: .relaxed)
        return false
    }
}
