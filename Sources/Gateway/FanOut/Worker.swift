// One worker: a thread with its own loop, listener, members, rooms and Redis command connection.
// Loop-confined.

import EventLoop
import RedisSchema
import WebSocket

/// Serves a share of the node's members and shares nothing with the other workers. Puts its parts together,
/// and passes on what the feed and the node say.
final class Worker {
    let index: Int
    let node: NodeContext
    let metrics: WorkerMetrics
    let host: ConnectionHost
    let rooms: RoomTable
    let turn: Turn
    private(set) lazy var connections = Connections(worker: self)
    private(set) lazy var shards = Shards(node: node, worker: index, loop: loop) { [unowned self] in
        Array(self.connections.members)
    }
    /// The time between two heartbeats at most.
    let heartbeatTimeout: Duration
    /// Whether Pongs are heartbeats.
    let arePongsBeats: Bool
    private(set) lazy var dismissal = Dismissal(from: rooms)
    /// How often the feed's connection was lost; wraps. A copy that only the feed's news change.
    private(set) var feedLossCount: UInt32 = 0
    let maximumQueueBytes: Int
    let maximumMessageBytes: Int
    let pingInterval: Duration?
    /// For the messages of all clients that may compress them.
    private(set) lazy var inflater = Inflater()
    private let loop: EventLoop
    private var drain: Drain?
    private var reporter: NodeReporter?
    private var lister: RoomLister?
    /// Only the first worker's.
    private var echo: EchoSender?

    init(index: Int, node: NodeContext, loop: EventLoop) {
        let configuration = node.configuration
        self.index = index
        self.node = node
        self.loop = loop
        metrics = node.metrics.workers[index]
        maximumQueueBytes = configuration.maximumQueueBytes
        maximumMessageBytes = configuration.maximumMessageBytes
        pingInterval = configuration.pingInterval
        let delays = [
            configuration.heartbeatTimeout, configuration.requestTimeout, configuration.keepAliveTimeout,
            configuration.redisTimeout, configuration.pingInterval ?? .zero, Limits.closeTimeout,
        ]
        host = ConnectionHost(loop: loop, maximumDelay: delays.max() ?? .zero)
        heartbeatTimeout = configuration.heartbeatTimeout
        arePongsBeats = configuration.heartbeat == .pong
        rooms = RoomTable(worker: index, metrics: metrics, loop: loop) { [feed = node.feedMailboxes[0]] in
            feed.post($0)
        }
        turn = Turn(rooms: rooms, backlog: node.backlogs[index], metrics: metrics, log: node.log) {
            Worker.makeRing(for: index, node)
        }
        turn.onNews = { [unowned self] in self.handle($0) }
    }

    /// Says something to the feed.
    func tellFeed(_ message: FeedMessage) { rooms.tellFeed(message) }

    func start(_ socket: ListeningSocket) {
        node.workerMailboxes[index].open(on: loop, batchCount: Limits.turnMessageCount) { [turn] in
            turn.add($0)
        }
        loop.onTurnEnd = { [turn] in turn.run() }
        let key = Keys(prefix: node.configuration.prefix).node(node.configuration.nodeId)
        let shards = shards
        reporter = NodeReporter(
            worker: index, node: node, registry: shards.of(key: key).registry, rooms: rooms,
            address: "\(socket)",
            loop: loop)
        reporter?.start()
        lister = RoomLister(
            worker: index, configuration: node.configuration, registry: shards.any.registry, rooms: rooms,
            loop: loop)
        if index == 0 {
            echo = EchoSender(node: node, shards: shards.up, loop: loop)
            echo?.start()
        }
        shards.onUp = { [unowned self] in self.redisIsUp($0, $1) }
        shards.onChange = { [unowned self] in self.serversChanged() }
        shards.start()
        connections.start(socket)
    }

    /// Says once for a node how it writes.
    private static func makeRing(for index: Int, _ node: NodeContext) -> SendRing? {
        guard node.configuration.ioUring == .auto else { return nil }
        do throws(SystemError) {
            let ring = try SendRing()
            if index == 0 { node.log.info("writing through io_uring") }
            return ring
        } catch {
            if index == 0 { node.log.info("io_uring is unavailable", ["reason": "\(error)"]) }
            return nil
        }
    }

    // MARK: News

    private func handle(_ news: WorkerNews) {
        switch news {
        case .subscribed(let room, let leaveCount): rooms.subscribed(room, leaveCount: leaveCount)
        case .refused(let room, let leaveCount): rooms.refused(room, leaveCount: leaveCount)
        case .subscriptionsLost(let count): subscriptionsLost(count: count)
        case .subscriptionsRestored:
            echo?.send()
            for shard in shards.all { shard.heartbeats.nodeIsHeardAgain() }
        case .gapEnded(let milliseconds): tellGap(milliseconds: milliseconds)
        case .messagesLost(let rooms, let milliseconds):
            sendAway(optedInMembersOf: rooms)
            if node.configuration.tellsGaps { tellLoss(of: rooms, milliseconds: milliseconds) }
        case .resumed(let connection, let answers): connections.resumed(connection, answers)
        case .historyLost(let rooms): tellHistoryLost(rooms)
        case .replaced(let token, let connection): connections.replaced(token, connection)
        case .revoked(let token): connections.revoked(token)
        case .listRooms(let reply): lister?.list(reply: reply)
        case .master(let address): for shard in shards.all { shard.registry.follow(address) }
        case .renewCommands(let reason): for shard in shards.all { shard.registry.renew(reason: reason) }
        case .adopt(let handover):
            node.state.releaseHandover()
            connections.serve(handover)
        case .makeRoom: connections.makeRoom()
        case .drain(let time): startDrain(over: time)
        case .stop: stop()
        }
    }

    /// The feed's connection is lost; handshakes from now on wait for the next one.
    func subscriptionsLost(count: UInt32) {
        feedLossCount = count
        for shard in shards.all { shard.heartbeats.nodeIsNotHeard() }
        rooms.subscriptionsLost(pending: connections.pendingJoins)
    }

    private func redisIsUp(_ shard: Shard, _ server: ClientRegistry.Return) {
        if server.hadRefused { node.controlMailbox.post(.redisWrites(worker: index, isRefusing: false)) }
        echo?.send()
        reporter?.report()
        shard.heartbeats.redisIsUp(server)
    }

    private func serversChanged() {
        if let count = shards.reachableSlotCount, let masters = shards.masterCounts {
            node.state.setCluster(reachableSlotCount: count, masters: masters, worker: index)
        } else {
            let isUp = shards.isComplete
            // What was known of its writes went with the connection.
            if !isUp { node.state.setWriteRefusal(nil, worker: index) }
            node.state.setCommandsUp(isUp, worker: index)
        }
        node.controlMailbox.post(.readinessChanged)
    }

    // MARK: The end

    /// Whether new connections are turned away.
    var isDraining: Bool { drain != nil }

    private func startDrain(over time: Duration) {
        guard drain == nil else { return }
        let drain = Drain(connections, turn, over: time, loop: loop) { [unowned self] in
            self.node.controlMailbox.post(.drained(worker: self.index))
        }
        self.drain = drain
        connections.onDeparture = { drain.check() }
        drain.start()
        connections.close(patience: time + Limits.closeTimeout)
    }

    /// Leaves the list of nodes, which waits for Redis no longer than any request, and ends the loop.
    private func stop() {
        let end = { [unowned self] in
            self.shards.stop()
            self.loop.stop()
        }
        guard let reporter else { return end() }
        reporter.leave(onDone: end)
    }
}
