// The node's entry among the nodes in Redis. Loop-confined; each worker has one.

import EventLoop
import Notices
import Redis

/// Writes what a worker has to tell into `node:<id>` every two seconds: the first worker the totals of the node,
/// each of them its largest rooms. All over the worker's command connection, in one write, and nobody waits for it:
/// a report that fails is followed by the next.
final class NodeReporter {
    /// After how many reports the ids of nodes that are gone are looked for: once a minute.
    private static let sweepPeriod = 30

    private let worker: Int
    private let node: NodeContext
    private let registry: ClientRegistry
    private let rooms: RoomTable
    private let keys: Keys
    private let key: [UInt8]
    private let id: [UInt8]
    private let address: ReportedAddress
    private let walk: RoomWalk
    private var top = TopRooms(maximumCount: NodeReport.topRoomCount)
    private var timer: Timer?
    /// Begins anywhere, so that nodes that were started together do not look at the same time.
    private var reportsUntilSweep = Int.random(in: 1...NodeReporter.sweepPeriod)

    private var isFirst: Bool { worker == 0 }

    init(
        worker: Int, node: NodeContext, registry: ClientRegistry, rooms: RoomTable, address: String, loop: EventLoop
    ) {
        self.worker = worker
        self.node = node
        self.registry = registry
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

    /// Tells now: the connection to Redis is up (again).
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
        var command = RedisCommand(argumentCount: 2 + 2 * fields.count, capacityBytes: 2048)
        command.append("HSET")
        command.append(key)
        for field in fields {
            command.append([UInt8](field.name))
            command.append([UInt8](field.value))
        }
        send(command)
        send(RedisCommand([[UInt8]("EXPIRE"), key, [UInt8](NodeReport.lifeSeconds)]))
        guard isFirst else { return }
        send(RedisCommand([[UInt8]("SADD"), keys.nodes, id]))
        reportsUntilSweep -= 1
        guard reportsUntilSweep == 0 else { return }
        reportsUntilSweep = NodeReporter.sweepPeriod
        sweep()
    }

    private func send(_ command: RedisCommand) {
        registry.send(command) { [log = node.log] result in
            if case .failure(let failure) = result { log.debug("node report failed", ["reason": "\(failure)"]) }
        }
    }

    // MARK: The others

    /// Takes the ids out of the index whose reports are gone. One that comes back in that moment adds itself again
    /// with its next report.
    func sweep() {
        registry.send(RedisCommand([[UInt8]("SMEMBERS"), keys.nodes])) { [weak self] result in
            guard let self, case .success(let reply) = result else { return }
            for index in 0..<reply.count {
                guard let id = reply[index].bytes.map(Array.init), id != self.id else { continue }
                self.removeIfGone(id)
            }
        }
    }

    private func removeIfGone(_ id: [UInt8]) {
        let key = keys.node(String(decoding: id, as: UTF8.self))
        registry.send(RedisCommand([[UInt8]("EXISTS"), key])) { [weak self] result in
            guard let self, case .success(let reply) = result, reply.integer == 0 else { return }
            self.send(RedisCommand([[UInt8]("SREM"), self.keys.nodes, id]))
        }
    }

    // MARK: The end

    /// Ends the reports, and takes the node off the list. A report of another worker that crosses this is left as a
    /// hash without an uptime, which no reader takes for a node, until its life is over.
    ///
    /// - Parameter onDone: runs once: when Redis has answered, or when it cannot.
    func leave(onDone: @escaping () -> Void) {
        timer?.cancel()
        walk.cancel()
        guard isFirst else { return onDone() }
        send(RedisCommand([[UInt8]("DEL"), key]))
        registry.send(RedisCommand([[UInt8]("SREM"), keys.nodes, id])) { _ in onDone() }
    }
}
