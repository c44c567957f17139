// The node's entry among the nodes in Redis. Loop-confined; each worker has one.

import EventLoop
import RedisSchema
import Redis

/// Writes a worker's report into `node:<id>` every two seconds: the first worker reports the totals of the
/// node, each of them its largest rooms. A report leaves over the worker's command connection in one write,
/// and nothing waits for it: after one that fails comes the next.
final class NodeReporter {
    private let worker: Int
    private let node: NodeContext
    private let currentRegistry: () -> ClientRegistry
    /// That of the server with the node's key.
    private var registry: ClientRegistry { currentRegistry() }
    private let rooms: RoomTable
    private let keys: Keys
    private let key: [UInt8]
    private let id: [UInt8]
    private let address: ReportedAddress
    private let walk: RoomWalk
    private var top = TopRooms(maximumCount: NodeReport.topRoomCount)
    private var timer: Timer?
    /// Begins anywhere, so that nodes that were started together do not look at the same time.
    private var reportsUntilSweep = Int.random(in: 1...Limits.nodeSweepPeriod)

    /// The list has taken our id. If its key holds something else, it does not, and is not read either.
    private var isListed = false
    private var hasReported = false
    private var hasToldForeignKey = false
    private var hasToldSharing = false
    /// Two nodes with one id may report in an order in which each finds its own report before the next one, so
    /// the other one is remembered for as long as a report lives.
    private let sharingMemory: Duration
    private var sharedUntil = MonotonicInstant(nanoseconds: 0)

    private var isFirst: Bool { worker == 0 }

    init(
        worker: Int, node: NodeContext, registry: @autoclosure @escaping () -> ClientRegistry,
        rooms: RoomTable, address: String,
        sharingMemory: Duration = .seconds(NodeReport.lifeSeconds), loop: EventLoop
    ) {
        self.sharingMemory = sharingMemory
        self.worker = worker
        self.node = node
        currentRegistry = registry
        self.rooms = rooms
        self.address = ReportedAddress(bound: address, hostName: Configuration.hostName())
        keys = Keys(prefix: node.configuration.prefix)
        id = [UInt8](node.configuration.nodeId)
        key = keys.node(node.configuration.nodeId)
        walk = RoomWalk(loop: loop)
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.report() }
    }

    func start() {
        timer?.start(after: NodeReport.interval)
    }

    /// Reports now: the connection to Redis is up (again).
    func report() {
        guard registry.isUp, !walk.isRunning else { return }
        top = TopRooms(maximumCount: NodeReport.topRoomCount)
        walk.start(
            rooms.all, onRooms: { [unowned self] rooms in for room in rooms { self.top.add(room) } },
            onEnd: { [unowned self] in self.write() })
    }

    private func write() {
        let address = address.text(localHost: registry.localHost)
        var fields = isFirst ? NodeReport(node: node, address: address).fields : []
        let rooms = String(decoding: RoomMembers.encode(top.list), as: UTF8.self)
        fields.append((NodeReport.roomsField(worker: worker), rooms))
        let values = fields.flatMap { [[UInt8]($0.name), [UInt8]($0.value)] }
        // Between the first workers of two nodes with one id no other worker may have the last word.
        let run = isFirst ? node.run : []
        let arguments = [[UInt8](NodeReport.lifeSeconds), run] + values
        registry.run(.report, key: key, arguments: arguments) { [unowned self] in self.written($0) }
        guard isFirst else { return }
        registry.send(RedisCommand([[UInt8]("SADD"), keys.nodes, id]), named: "SADD") {
            [unowned self] result in
            if case .success = result { self.isListed = true } else { self.isListed = false }
        }
        reportsUntilSweep -= 1
        guard reportsUntilSweep <= 0, isListed else { return }
        reportsUntilSweep = Limits.nodeSweepPeriod
        sweep()
    }

    private func written(_ result: Result<RedisReply, RedisFailure>) {
        switch result {
        case .failure(.unavailable): break
        case .failure(.refused(let message)): registry.writes.reported(message)
        case .success(let reply):
            registry.writes.reported(nil)
            if isFirst { judge(reply.integer) }
        }
    }

    /// What the script `report` says of the key.
    private func judge(_ answer: Int64?) {
        if answer == 0, !hasToldForeignKey {
            hasToldForeignKey = true
            let name = String(decoding: key, as: UTF8.self)
            node.log.warning("node report not written, the key has another kind", ["key": name])
        }
        // What was there before the first report may be left of a node that was killed.
        let isOther = answer == 2 && hasReported
        hasReported = answer == 1 || answer == 2 || hasReported
        guard answer == 1 || isOther else { return }
        if isOther { sharedUntil = .now + sharingMemory }
        let isShared = isOther || .now < sharedUntil
        node.state.setNodeIDShared(isShared)
        guard isShared, !hasToldSharing else { return }
        hasToldSharing = true
        node.log.warning("node id shared with another node", ["node_id": node.configuration.nodeId])
    }

    private func send(_ command: RedisCommand, named name: String) {
        registry.send(command, named: name) { _ in }
    }

    // MARK: The others

    /// Takes the ids out of the index whose reports are gone. One that comes back in that moment adds itself
    /// again with its next report.
    func sweep() {
        registry.send(RedisCommand([[UInt8]("SMEMBERS"), keys.nodes]), named: "SMEMBERS") {
            [weak self] result in
            guard let self, case .success(let reply) = result else { return }
            for index in 0..<reply.count {
                guard let id = reply[index].bytes.map(Array.init), id != self.id else { continue }
                // What no gateway can have put in is left alone.
                if NodeReport.isNodeId(id) { self.removeIfGone(id) }
            }
        }
    }

    private func removeIfGone(_ id: [UInt8]) {
        let key = keys.node(String(decoding: id, as: UTF8.self))
        registry.send(RedisCommand([[UInt8]("EXISTS"), key]), named: "EXISTS") { [weak self] result in
            guard let self, case .success(let reply) = result, reply.integer == 0 else { return }
            self.send(RedisCommand([[UInt8]("SREM"), self.keys.nodes, id]), named: "SREM")
        }
    }

    // MARK: The end

    /// Ends the reports, and takes the node off the list, unless another node reports under its id. A report
    /// of another worker that crosses this is left as a hash without an uptime, which no reader takes for a
    /// node, until its life is over.
    ///
    /// - Parameter onDone: runs once: when Redis has answered, or when it cannot.
    func leave(onDone: @escaping () -> Void) {
        timer?.cancel()
        walk.cancel()
        guard isFirst else { return onDone() }
        registry.run(.leave, key: key, arguments: [node.run]) { [unowned self] result in
            guard case .success(let reply) = result, reply.integer == 1 else { return onDone() }
            self.registry.send(RedisCommand([[UInt8]("SREM"), self.keys.nodes, self.id]), named: "SREM") {
                _ in onDone()
            }
        }
    }
}
