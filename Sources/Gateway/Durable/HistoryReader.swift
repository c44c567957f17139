// A feed's second connection: reads the histories of rooms and the epoch. Loop-confined: the feed's loop.

import Bytes
import EventLoop
import Redis
import RedisSchema

/// Sends the questions of `DurableRooms` to Redis and brings the answers, in their order.
///
/// A subscribed connection may not ask anything else, hence a second one. Its user may lack the rights for
/// it: then opted-in handshakes wait in vain, and everything else goes on.
///
/// In a cluster a question goes to the master of its slot, and there may be no answer, which is said, too.
final class HistoryReader {
    /// What an answer says.
    enum Answer {
        case epoch(slot: Int, UInt64, HistoryEpoch)
        /// A cluster has not answered.
        case noEpoch(slot: Int, UInt64)
        case tail(ticket: UInt64, time: Int64, newest: HistoryEntry<Message>?)
        case range(ticket: UInt64, entries: [HistoryEntry<Message>])
        case state(ticket: UInt64, StreamState)
        /// Redis has refused the question.
        case refused(ticket: UInt64)
        /// A cluster has not answered.
        case failed(ticket: UInt64)
    }

    private let link: Link
    private let channels: Channels
    private let keys: Keys
    private let makeEntry: (RoomId, NoticeId, UnsafeRawBufferPointer) -> HistoryEntry<Message>
    private var random = RandomPool()
    private var refusalLog: RateLimitedLog

    /// The `run_id` of the server; nil if the server does not say it, or the reader is not connected.
    private(set) var serverRun: String?

    /// The connection stands: the server's `run_id`, or nothing if it does not say.
    var onUp: ((String) -> Void)?
    /// Redis has taken a new password.
    var onNewPassword: (() -> Void)?
    /// The connection, or an attempt at one, is lost.
    var onDown: (() -> Void)?
    var onAnswer: ((Answer) -> Void)?
    /// In a cluster: the servers at which slots are read now.
    var onServers: ((_ serverOf: @escaping (Int) -> HistoryServer?) -> Void)?

    private enum Link {
        case one(RedisConnection)
        case cluster(ClusterConnection)
    }
    /// Of a cluster: the masters that are connected.
    private var servers: [RedisURL.Address: HistoryServer] = [:]
    private var serverCount: UInt64 = 0

    /// - Parameter makeEntry: makes the entry of a frame that was stored under an id.
    init(
        node: NodeContext, loop: EventLoop,
        makeEntry: @escaping (RoomId, NoticeId, UnsafeRawBufferPointer) -> HistoryEntry<Message>
    ) {
        let configuration = node.configuration
        self.makeEntry = makeEntry
        channels = Channels(prefix: configuration.prefix)
        keys = Keys(prefix: configuration.prefix)
        refusalLog = RateLimitedLog(node.log)
        let name = "roomcast-reader-\(configuration.nodeId)"
        if configuration.redis.isCluster {
            let cluster = ClusterConnection(
                url: configuration.redis, clientName: name, timeout: configuration.redisTimeout,
                silenceTimeout: configuration.redisSilenceTimeout, proof: .server, maps: node.clusterMaps,
                loop: loop)
            link = .cluster(cluster)
            connectCallbacks(of: cluster)
        } else {
            let connection = RedisConnection(
                url: configuration.redis, clientName: name, timeout: configuration.redisTimeout,
                silenceTimeout: configuration.redisSilenceTimeout, proof: .server, loop: loop)
            link = .one(connection)
            connectCallbacks(of: connection)
        }
    }

    private func connectCallbacks(of connection: RedisConnection) {
        connection.onUp = { [unowned self, unowned connection] in
            self.loadLibrary { connection.send($0, onReply: $1) }
            self.serverRun = $0.runID
            self.onUp?($0.runID ?? "")
        }
        connection.onNewPassword = { [unowned self] refusal in if refusal == nil { self.onNewPassword?() } }
        connection.onDown = { [unowned self] _ in
            self.serverRun = nil
            self.onDown?()
        }
    }

    private func connectCallbacks(of cluster: ClusterConnection) {
        cluster.onLane = { [unowned self] lane in
            let address = lane.address
            lane.onUp = { [unowned self, unowned lane] in
                self.loadLibrary { lane.sendHere($0, onReply: $1) }
                self.serverCount += 1
                self.servers[address] = HistoryServer(
                    address: "\(address)", run: $0.runID ?? "", connection: self.serverCount)
                self.serversChanged()
            }
            lane.onNewPassword = { [unowned self] refusal in if refusal == nil { self.onNewPassword?() } }
            lane.onDown = { [unowned self] _ in
                self.servers[address] = nil
                self.serversChanged()
            }
            lane.start()
        }
        cluster.onLaneRetired = { [unowned self] lane in
            lane.stop()
            self.servers[lane.address] = nil
        }
        cluster.onMap = { [unowned self] _ in self.serversChanged() }
    }

    private func serversChanged() {
        guard case .cluster(let cluster) = link, let map = cluster.map else { return }
        let servers = servers
        onServers? { map.owner(of: $0).flatMap { servers[$0] } }
    }

    /// The slot of a room in a cluster.
    static func slot(of room: RoomId, _ channels: Channels) -> Int { HashSlot.of(channels.room(room)) }

    func start() {
        switch link {
        case .one(let connection): connection.start()
        case .cluster(let cluster): cluster.start()
        }
    }

    func stop() {
        switch link {
        case .one(let connection): connection.stop()
        case .cluster(let cluster): cluster.stop()
        }
    }

    /// The connection is made again: it leads to another server than it should. A cluster says by itself where it
    /// should.
    func renew(reason: String) { if case .one(let connection) = link { connection.renew(reason: reason) } }

    /// The sentinels name this master.
    func follow(_ master: RedisURL.Address) {
        if case .one(let connection) = link { connection.follow(master) }
    }

    // MARK: Questions

    /// Backends call the library; the first node loads it. A node that may not goes on without it.
    private func loadLibrary(_ send: @escaping ClusterReader.Send) {
        DurableLibrary.load(send: send) { [unowned self] in
            guard case .refused(let message) = $0 else { return }
            let warning =
                DurableLibrary.hasNoFunctions(message)
                ? "redis has no functions: durable notices need Redis 7 or Valkey"
                : "redis refuses the function library: load it by hand"
            self.refusalLog.warning(warning, ["reason": message])
        }
    }

    /// Reads the epoch. If Redis has no epoch, or still has the one in doubt, it gets a fresh one.
    ///
    /// - Parameters:
    ///   - slot: whose epoch it is; one Redis has one.
    ///   - number: of the question; comes with its answer.
    func askEpoch(slot: Int, _ number: UInt64, inDoubt epoch: HistoryEpoch?) {
        let fresh = HistoryEpoch.make(using: &random)
        let key = isCluster ? keys.epoch(ofSlot: slot) : keys.epoch
        send(HistoryReader.epochCommand(key: key, fresh: fresh, inDoubt: epoch), named: "EVAL") {
            [unowned self] reply in
            if case .reply(let reply) = reply, let epoch = reply.bytes.flatMap({ HistoryEpoch($0) }) {
                self.onAnswer?(.epoch(slot: slot, number, epoch))
            } else if self.isCluster {
                self.onAnswer?(.noEpoch(slot: slot, number))
            }
        }
    }

    private var isCluster: Bool { if case .cluster = link { true } else { false } }

    /// Publishes to the node itself at the master of a slot, behind everything that was published there before.
    func publishEcho(_ echo: [UInt8], to channel: [UInt8], slot: Int) {
        guard case .cluster(let cluster) = link else { return }
        cluster.send(RedisCommand([[UInt8]("PUBLISH"), channel, echo]), slot: slot) { _ in }
    }

    func ask(_ question: HistoryCommand) {
        let (ticket, room) = (question.ticket, question.room)
        let key = channels.room(room)
        switch question.question {
        case .range(let from, let count):
            var start: [UInt8] = []
            from.append(to: &start)
            let arguments =
                [[UInt8]("XRANGE"), key, start] + ["+", "COUNT", "\(count)"].map { [UInt8]($0) }
            send(RedisCommand(arguments), named: "XRANGE") { [unowned self] reply in
                self.answer(ticket, reply) { .range(ticket: ticket, entries: self.entries($0, of: room)) }
            }
        case .tail:
            let arguments = [[UInt8]("XREVRANGE"), key] + ["+", "-", "COUNT", "1"].map { [UInt8]($0) }
            sendBehindTime(arguments, key: key, named: "XREVRANGE") { [unowned self] time, reply in
                self.answer(ticket, reply) {
                    .tail(ticket: ticket, time: time, newest: self.entries($0, of: room).first)
                }
            }
        case .state:
            let arguments = [[UInt8]("XINFO"), [UInt8]("STREAM"), key]
            sendBehindTime(arguments, key: key, named: "XINFO") { [unowned self] time, reply in
                self.answer(ticket, reply) { .state(ticket: ticket, StreamState(time: time, stream: $0)) }
            }
        }
    }

    /// What has become of a question.
    private enum Reply {
        case reply(RedisReply)
        /// There is no stream: no key, or one of another type.
        case noStream
        case refused
        /// The connection is lost, which one Redis reports by itself; or a cluster has no answer now.
        case lost
    }

    /// - Parameter read: is given nil if there is no stream.
    private func answer(_ ticket: UInt64, _ reply: Reply, _ read: (RedisReply?) -> Answer) {
        switch reply {
        case .reply(let reply): onAnswer?(read(reply))
        case .noStream: onAnswer?(read(nil))
        case .refused: onAnswer?(.refused(ticket: ticket))
        case .lost: if isCluster { onAnswer?(.failed(ticket: ticket)) }
        }
    }

    /// Sends a command behind a question for Redis' time: what it finds is not older than that.
    private func sendBehindTime(
        _ command: [[UInt8]], key: [UInt8], named name: String, onReply: @escaping (Int64, Reply) -> Void
    ) {
        if isCluster { return sendWithTime(command, key: key, onReply: onReply) }
        var time: Int64?
        send(HistoryReader.timeCommand, named: "TIME") {
            if case .reply(let reply) = $0 { time = HistoryReader.milliseconds(reply) }
        }
        send(RedisCommand(command), named: name) { reply in
            guard let time else {
                if case .lost = reply { return onReply(0, .lost) }
                return onReply(0, .refused)
            }
            onReply(time, reply)
        }
    }

    /// In one step: of two commands one might follow the slot to another master, with another clock.
    private func sendWithTime(
        _ command: [[UInt8]], key: [UInt8], onReply: @escaping (Int64, Reply) -> Void
    ) {
        let script = [[UInt8]("EVAL"), [UInt8](HistoryReader.timeScript), [UInt8]("1"), key] + command
        send(RedisCommand(script), named: "EVAL") { reply in
            guard case .reply(let answer) = reply else { return onReply(0, reply) }
            guard answer.count > 0, let time = HistoryReader.milliseconds(answer[0]) else {
                return onReply(0, .refused)
            }
            onReply(time, answer.count > 1 ? .reply(answer[1]) : .noStream)
        }
    }

    private func send(_ command: RedisCommand, named name: String, onReply: @escaping (Reply) -> Void) {
        let take: (Result<RedisReply, RedisFailure>) -> Void = { [unowned self] result in
            switch result {
            case .success(let reply): onReply(.reply(reply))
            case .failure(.refused(let message)) where HistoryReader.saysNoStream(message):
                onReply(.noStream)
            case .failure(.refused(let message)) where self.isCluster && HistoryReader.saysLater(message):
                onReply(.lost)
            case .failure(.refused(let message)):
                self.refused(message, name)
                onReply(.refused)
            case .failure(.unavailable): onReply(.lost)
            }
        }
        switch link {
        case .one(let connection): connection.send(command, onReply: take)
        case .cluster(let cluster): cluster.send(command, onReply: take)
        }
    }

    private func refused(_ message: String, _ command: String) {
        refusalLog.warning(
            "redis refuses to read histories: clients cannot resume",
            ["command": command, "reason": message])
    }

    // MARK: Answers

    private static let timeCommand = RedisCommand([[UInt8]("TIME")])

    /// A server that takes no questions now, or has stopped being a master.
    private static func saysLater(_ message: String) -> Bool {
        ["CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY"].contains { message.hasPrefix($0) }
    }

    private static func saysNoStream(_ message: String) -> Bool {
        message.hasPrefix("ERR no such key") || message.hasPrefix("WRONGTYPE")
    }

    /// `KEYS[1]` the stream, `ARGV` a command that reads it. Returns the time, and what the command returns unless
    /// there is no stream.
    private static let timeScript = """
        local time, reply = redis.call('TIME'), redis.pcall(unpack(ARGV))
        if not reply.err then return {time, reply} end
        if string.find(reply.err, 'no such key', 1, true) or string.find(reply.err, 'WRONGTYPE', 1, true) then
          return {time}
        end
        return reply
        """

    /// `KEYS[1]` the epoch, `ARGV` a fresh one and the one that is in doubt, or nothing. Returns the epoch that holds.
    private static let epochScript = """
        local epoch = redis.call('GET', KEYS[1])
        if not epoch or epoch == ARGV[2] then
          epoch = ARGV[1]
          redis.call('SET', KEYS[1], epoch)
        end
        return epoch
        """

    private static func epochCommand(
        key: [UInt8], fresh: HistoryEpoch, inDoubt: HistoryEpoch?
    ) -> RedisCommand {
        RedisCommand([
            [UInt8]("EVAL"), [UInt8](epochScript), [UInt8]("1"), key, fresh.bytes, inDoubt?.bytes ?? [],
        ])
    }

    /// Of `TIME`: seconds and microseconds.
    private static func milliseconds(_ reply: RedisReply) -> Int64? {
        guard reply.count == 2, let seconds = reply[0].string.flatMap(Int64.init),
            let microseconds = reply[1].string.flatMap(Int64.init)
        else {
            return nil
        }
        return seconds * 1_000 + microseconds / 1_000
    }

    /// Of `XRANGE` and `XREVRANGE`: pairs of an id and its fields. An entry that is not one of ours has no
    /// place in the room's history.
    private func entries(_ reply: RedisReply?, of room: RoomId) -> [HistoryEntry<Message>] {
        guard let reply else { return [] }
        return (0..<reply.count).compactMap { index in
            let pair = reply[index]
            guard pair.count == 2, let id = pair[0].bytes.flatMap({ NoticeId($0) }), pair[1].count >= 2,
                let frame = pair[1][1].bytes
            else {
                return nil
            }
            return makeEntry(room, id, frame)
        }
    }
}

extension StreamState {
    /// - Parameters:
    ///   - time: Redis' clock, Unix time in milliseconds.
    ///   - stream: the answer to `XINFO STREAM`, names and values in turn; nil if there is no stream.
    init(time: Int64, stream: RedisReply?) {
        var first: NoticeId?
        var maximumDeleted = NoticeId(milliseconds: 0, number: 0)
        if let stream {
            for index in stride(from: 0, to: stream.count - 1, by: 2) {
                let value = stream[index + 1]
                switch stream[index].string {
                case "first-entry" where value.count > 0:
                    first = value[0].bytes.flatMap { NoticeId($0) }
                case "max-deleted-entry-id":
                    maximumDeleted = value.bytes.flatMap { NoticeId($0) } ?? maximumDeleted
                default: break
                }
            }
        }
        self.init(time: time, first: first, maximumDeleted: maximumDeleted)
    }
}
