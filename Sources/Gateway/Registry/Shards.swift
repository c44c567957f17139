// The Redis servers that keep a worker's records: the only one, or the masters of a cluster. Loop-confined.

import EventLoop
import Redis
import RedisSchema

/// One server, and what this worker knows of it and does there: its records, and the heartbeats of the clients whose
/// records it has.
final class Shard {
    let registry: ClientRegistry
    let heartbeats: Heartbeats
    /// nil for the only server.
    let address: RedisURL.Address?

    fileprivate init(registry: ClientRegistry, heartbeats: Heartbeats, address: RedisURL.Address?) {
        self.registry = registry
        self.heartbeats = heartbeats
        self.address = address
    }

    fileprivate func stop() {
        heartbeats.stop()
        registry.stop()
    }
}

/// Finds the server of a token. In a cluster each master is a shard with a state of its own: one that comes back,
/// refuses writes or has lost its data concerns its own clients only.
///
/// When slots change hands, their keys come along, and nothing is to be done. But a replica that takes over may lack
/// what its master has written last: the records of its clients are written again.
final class Shards {
    private let node: NodeContext
    private let worker: Int
    private let loop: EventLoop
    private let members: () -> [Member]
    private let keys: Keys
    /// nil in a cluster.
    private let only: Shard?
    /// nil for one Redis.
    private let cluster: ClusterConnection?
    private var shards: [RedisURL.Address: Shard] = [:]
    /// Shards of servers that have stopped being masters: answers to what they have sent may still come.
    private var retired: [(shard: Shard, since: MonotonicInstant)] = []
    /// Stands in for a server while nobody is known to have a slot: it is never up.
    private let nowhere: Shard?
    private var shardCount: UInt32 = 0

    /// The connection to a server is up (again).
    var onUp: ((Shard, ClientRegistry.Return) -> Void)?
    /// How many servers can be reached, or take writes, has changed.
    var onChange: (() -> Void)?

    /// - Parameter members: the worker's open ones.
    init(node: NodeContext, worker: Int, loop: EventLoop, members: @escaping () -> [Member]) {
        self.node = node
        self.worker = worker
        self.loop = loop
        self.members = members
        let configuration = node.configuration
        keys = Keys(prefix: configuration.prefix)
        guard configuration.redis.isCluster else {
            let registry = ClientRegistry(node: node, worker: worker, loop: loop)
            let heartbeats = Heartbeats(
                worker: worker, node: node, registry: registry, loop: loop, members: members)
            only = Shard(registry: registry, heartbeats: heartbeats, address: nil)
            cluster = nil
            nowhere = nil
            connectCallbacks(of: only!)
            return
        }
        only = nil
        cluster = ClusterConnection(
            url: configuration.redis, clientName: "roomcast-worker\(worker)-\(configuration.nodeId)",
            timeout: configuration.redisTimeout, silenceTimeout: configuration.redisSilenceTimeout,
            maps: node.clusterMaps, loop: loop)
        let registry = ClientRegistry(
            node: node, worker: worker, place: ShardPlace(), link: NoLink(), loop: loop)
        let heartbeats = Heartbeats(
            worker: worker, node: node, registry: registry, loop: loop, members: { [] })
        nowhere = Shard(registry: registry, heartbeats: heartbeats, address: nil)
        connectCluster()
    }

    func start() {
        only?.registry.start()
        cluster?.start()
    }

    func stop() {
        for shard in all { shard.stop() }
        cluster?.stop()
    }

    // MARK: Which one

    /// The servers that can be reached.
    var up: [Shard] { all.filter(\.registry.isUp) }

    /// All servers that are known to have records.
    var all: [Shard] { only.map { [$0] } ?? Array(shards.values) }

    /// Whose records have this token's.
    func of(_ token: Token) -> Shard {
        if let only { return only }
        return of(slot: HashSlot.of(keys.client(token)))
    }

    /// Who has a key.
    func of(key: [UInt8]) -> Shard { only ?? of(slot: HashSlot.of(key)) }

    private func of(slot: Int) -> Shard {
        let address = cluster?.map?.owner(of: slot)
        return address.flatMap { shards[$0] } ?? nowhere!
    }

    /// A server that can be reached, if there is one: for what any of them can do.
    var any: Shard { only ?? shards.values.first(where: \.registry.isUp) ?? nowhere! }

    /// Whether every server is connected.
    var isComplete: Bool {
        if let only { return only.registry.isUp }
        return cluster?.map != nil && shards.values.allSatisfy(\.registry.isUp)
    }

    /// How many slots are with servers that can be reached and take writes; nil for one Redis.
    var reachableSlotCount: Int? {
        guard let cluster else { return nil }
        guard let map = cluster.map else { return 0 }
        return shards.values.reduce(0) { count, shard in
            guard let address = shard.address, shard.registry.isUp, shard.registry.writes.refusal == nil
            else {
                return count
            }
            return count + map.slotCount(of: address)
        }
    }

    /// How many masters are connected, and how many are not; nil for one Redis.
    var masterCounts: (up: Int, down: Int)? {
        guard cluster != nil else { return nil }
        let up = shards.values.count { $0.registry.isUp }
        return (up, shards.count - up)
    }

    // MARK: The cluster

    private func connectCluster() {
        guard let cluster else { return }
        let metrics = node.metrics.workers[worker]
        cluster.onRedirection = { metrics.redirections[$0.rawValue]?.add(1) }
        cluster.onRefresh = { metrics.mapRefreshes.add(1) }
        cluster.onTrouble = { [node, worker] in node.controlMailbox.post(.redisDown(.worker(worker), $0)) }
        cluster.onLane = { [unowned self] in self.begin($0) }
        cluster.onLaneRetired = { [unowned self] in self.retire($0) }
        cluster.onMap = { [unowned self] promoted in
            for address in promoted { self.shards[address]?.registry.hasTakenOver() }
            self.changed()
        }
    }

    private func begin(_ lane: ClusterLane) {
        shardCount += 1
        let place = ShardPlace(
            address: lane.address, number: shardCount,
            firstSlot: { [unowned self] in self.cluster?.map?.firstSlot(of: lane.address) })
        let registry = ClientRegistry(node: node, worker: worker, place: place, link: lane, loop: loop)
        let heartbeats = Heartbeats(worker: worker, node: node, registry: registry, loop: loop) {
            [unowned self, unowned registry] in
            self.members().filter { self.of($0.token).registry === registry }
        }
        let shard = Shard(registry: registry, heartbeats: heartbeats, address: lane.address)
        shards[lane.address] = shard
        connectCallbacks(of: shard)
        registry.start()
    }

    private func retire(_ lane: ClusterLane) {
        let now = MonotonicInstant.now
        retired.removeAll { now - $0.since >= Limits.retiredShardTime }
        guard let shard = shards.removeValue(forKey: lane.address) else { return }
        shard.stop()
        retired.append((shard, now))
    }

    private func connectCallbacks(of shard: Shard) {
        let registry = shard.registry
        registry.onUp = { [unowned self, unowned shard] in
            self.changed()
            self.onUp?(shard, $0)
        }
        registry.onDown = { [unowned self] in self.changed() }
        registry.onLoss = { [unowned shard] in shard.heartbeats.recordsLost() }
        registry.onWritesChanged = { [unowned self, unowned shard] in
            shard.heartbeats.writesChanged()
            self.changed()
        }
    }

    private func changed() {
        onChange?()
        guard cluster != nil, isComplete else { return }
        node.controlMailbox.post(.redisUp(.worker(worker)))
    }
}

/// Where a registry's records are in a cluster.
struct ShardPlace {
    var address: RedisURL.Address?
    /// Different for each shard that there ever was.
    var number: UInt32 = 0
    /// The lowest slot that it has; nil while it has none.
    var firstSlot: () -> Int? = { nil }
}

/// A link that is never up.
private final class NoLink: CommandLink {
    var isUp: Bool { false }
    var localHost: String? { nil }
    var onUp: ((RedisConnection.Server) -> Void)?
    var onDown: ((String) -> Void)?
    var onNewPassword: ((String?) -> Void)?
    func start() {}
    func stop() {}
    func follow(_ master: RedisURL.Address) {}
    func renew(reason: String) {}
    func send(_ command: RedisCommand, mayWait: Bool, onReply: @escaping (Outcome) -> Void) {
        onReply(.failure(.unavailable("no master for this slot")))
    }
    func writeWhatWaits() {}
}
