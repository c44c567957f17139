// Whether Redis has lost records that nobody has deleted. Loop-confined.

import EventLoop
import Redis
import RedisSchema

/// Tells losses from revocations, by two signs. The key `epoch` has no life of its own: after a flush it is gone, or
/// another one. And where Redis may evict keys, `evicted_keys` counts them.
///
/// Looked at regularly, and before a missing record counts as a deleted one.
final class LossWatch {
    enum Loss: String, Sendable { case flush, eviction }

    private let link: RegistryLink
    /// The key of a master is in a slot that it has, which may become another one; nil while it has none.
    private let makeEpochKey: () -> [UInt8]?
    private var epochKey: [UInt8] = []
    /// Evictions may go on for long: the records are written again no more often than this.
    private let evictionPause: Duration
    private var epoch: [UInt8]?
    /// Up to which evictions the records are written again, and how many there were at the last look.
    private var evictedCount: Int64?
    private var latestEvictedCount: Int64?
    private var mayEvict = false
    private var nextEvictionAt = MonotonicInstant(nanoseconds: 0)
    private var random = RandomPool()
    private var waiting: [(Bool) -> Void] = []
    private var isAsking = false
    private var askedAt = MonotonicInstant(nanoseconds: 0)
    /// Counts connections: what comes over the one before says nothing.
    private var connectionCount = 0
    private var pauseTimer: Timer?
    private var timer: Timer?

    /// Records are lost, and are to be written again.
    var onLoss: ((Loss) -> Void)?

    /// - Parameter place: of a master of a cluster; nil for the only server.
    init(node: NodeContext, link: RegistryLink, place: ShardPlace?, loop: EventLoop) {
        self.link = link
        let keys = Keys(prefix: node.configuration.prefix)
        makeEpochKey = { place.map { $0.firstSlot().map { keys.epoch(ofSlot: $0) } } ?? keys.epoch }
        evictionPause = node.configuration.heartbeatTimeout / 2
        pauseTimer = Timer(on: loop) { [unowned self] in self.ask() }
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.look { _ in } }
    }

    /// The connection stands.
    ///
    /// - Parameter isSameRun: whether what was known of the server still counts.
    func start(_ server: RedisConnection.Server, isSameRun: Bool) {
        connectionCount += 1
        mayEvict = server.evictingPolicy != nil
        if !isSameRun { (epoch, evictedCount) = (nil, nil) }
        timer?.start(after: Limits.lossCheckInterval)
        look { _ in }
    }

    /// The connection is lost.
    func stop() {
        connectionCount += 1
        isAsking = false
        timer?.cancel()
        pauseTimer?.cancel()
        let waiting = waiting
        self.waiting = []
        for onDone in waiting { onDone(true) }
    }

    /// Finds out whether records may be missing that nobody has deleted; true as well when Redis cannot be asked.
    func look(onDone: @escaping (Bool) -> Void) {
        guard link.isUp else { return onDone(true) }
        waiting.append(onDone)
        guard !isAsking, waiting.count == 1 else { return }
        // Strangers can bring this about with tokens that they make up.
        let pause = askedAt + Limits.lossCheckPause - .now
        if pause > .zero { pauseTimer?.start(after: pause) } else { ask() }
    }

    private func ask() {
        let asked = waiting
        waiting = []
        isAsking = true
        askedAt = .now
        if let key = makeEpochKey(), key != epochKey { (epochKey, epoch) = (key, nil) }
        let connection = connectionCount
        var loss: Loss?
        link.sendQuietly(RedisCommand([[UInt8]("GET"), epochKey])) { [weak self] result in
            guard let self, connection == self.connectionCount else { return }
            if case .success(let reply) = result, self.note(epoch: reply.bytes.map { Array($0) }) {
                loss = .flush
            }
        }
        guard mayEvict else { return end(behind: asked, connection) { loss } }
        link.sendQuietly(RedisCommand([[UInt8]("INFO"), [UInt8]("stats")])) { [weak self] result in
            guard let self, connection == self.connectionCount else { return }
            if case .success(let reply) = result, self.note(statistics: reply.string ?? "") {
                loss = loss ?? .eviction
            }
        }
        end(behind: asked, connection) { loss }
    }

    /// Answers when everything that was sent has its reply.
    private func end(behind asked: [(Bool) -> Void], _ connection: Int, _ loss: @escaping () -> Loss?) {
        link.sendQuietly(RedisCommand([[UInt8]("PING")])) { [weak self] result in
            guard let self else { return }
            if connection == self.connectionCount {
                self.isAsking = false
                if let loss = loss() { self.noteLoss(loss) }
                if !self.waiting.isEmpty { self.pauseTimer?.start(after: Limits.lossCheckPause) }
            }
            var isLost = loss() != nil
            if case .failure(.unavailable) = result { isLost = true }
            for onDone in asked { onDone(isLost) }
        }
    }

    private func noteLoss(_ loss: Loss) {
        if loss == .eviction {
            guard .now >= nextEvictionAt else { return }
            nextEvictionAt = .now + evictionPause
            evictedCount = latestEvictedCount
        }
        onLoss?(loss)
    }

    /// - Returns: whether it shows a loss.
    private func note(epoch found: [UInt8]?) -> Bool {
        let isLost = epoch != nil && found != epoch
        epoch = found
        if found == nil { makeEpoch() }
        return isLost
    }

    private func makeEpoch() {
        let connection = connectionCount
        let fresh = HistoryEpoch.make(using: &random).bytes
        link.sendQuietly(RedisCommand([[UInt8]("SET"), epochKey, fresh, [UInt8]("NX")])) { _ in }
        link.sendQuietly(RedisCommand([[UInt8]("GET"), epochKey])) { [weak self] result in
            guard let self, connection == self.connectionCount, self.epoch == nil else { return }
            if case .success(let reply) = result { self.epoch = reply.bytes.map { Array($0) } }
        }
    }

    /// - Returns: whether it shows a loss.
    private func note(statistics: String) -> Bool {
        guard let count = RedisConnection.value("evicted_keys", in: statistics).flatMap({ Int64($0) }) else {
            return false
        }
        latestEvictedCount = count
        guard let before = evictedCount, count >= before else {
            evictedCount = count
            return false
        }
        return count > before
    }
}
