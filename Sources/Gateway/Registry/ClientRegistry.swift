// Tokens and connections in Redis, as one worker sees them. Loop-confined.

import EventLoop
import Notices
import Redis

/// The worker's command connection and what is done over it. Every call has one outcome, within the timeout.
final class ClientRegistry {
    enum Renewal { case renewed, unknownToken, unavailable }

    enum Attachment {
        case attached(ClientRecord)
        /// The token is bound to rooms, and one of those asked for is none of them. Nothing is changed.
        case roomNotAllowed
        case unknownToken, unavailable
        /// Redis' access rules refuse one of the rooms.
        case roomRefused
    }

    enum Remaining {
        /// The key's remaining life.
        case milliseconds(Int64)
        /// Somebody has made the key permanent.
        case unlimited
        /// The key is gone.
        case missing
        case unavailable
    }

    enum Confirmation: Int64 { case revoked = 0, renewed, restored, replaced }

    /// What is known of the server when the connection is up (again).
    struct Return {
        /// The same server process as before: a key that is missing now was deleted or has expired.
        let isSameRun: Bool
        /// How long the connection was down; zero when it is the first.
        let away: Duration
    }

    private let keys: Keys
    private let controlPrefix: [UInt8]
    private let roomPrefix: [UInt8]
    private let nodeID: [UInt8]
    private let tokenTTLSeconds: Int64
    private let metrics: WorkerMetrics
    private let log: Log
    private let role: RedisRole
    private let control: Mailbox<ControlNotice>
    private let connection: RedisConnection
    private var refusedRoomLog: RateLimitedLog
    /// When the next refused command is told to the node, which decides whether it is news.
    private var nextRefusalAt = MonotonicInstant(nanoseconds: 0)
    private var lastRunID: String?
    private var lostAt: MonotonicInstant?
    /// By the number of the script; nil while Redis may not know it.
    private var digests = [RedisArgument?](repeating: nil, count: RegistryScript.allCases.count)
    /// Until when an unknown token proves nothing: Redis has come back without its data, and the nodes that hold the
    /// live clients are still to write their records again.
    private var settlesAt = MonotonicInstant(nanoseconds: 0)

    /// Longer than a node takes to notice a return: the longest backoff and the time to connect, and some.
    private static let settlingTime = Duration.seconds(5)
    private static let refusalInterval = Duration.seconds(1)

    var onUp: ((Return) -> Void)?
    var onDown: (() -> Void)?

    init(node: NodeContext, worker: Int, loop: EventLoop) {
        let configuration = node.configuration
        keys = Keys(prefix: configuration.prefix)
        controlPrefix = Channels(prefix: configuration.prefix).gateway("")
        roomPrefix = Channels(prefix: configuration.prefix).roomPrefix
        nodeID = [UInt8](configuration.nodeId)
        tokenTTLSeconds = configuration.tokenTTL.components.seconds
        metrics = node.metrics.workers[worker]
        log = node.log
        role = .worker(worker)
        control = node.controlMailbox
        refusedRoomLog = RateLimitedLog(node.log)
        connection = RedisConnection(
            url: configuration.redis, clientName: "roomcast-worker\(worker)-\(configuration.nodeId)",
            timeout: configuration.redisTimeout, silenceTimeout: configuration.redisSilenceTimeout, loop: loop)
        connection.onUp = { [unowned self] in self.isUp($0) }
        connection.onDown = { [unowned self] in self.isDown($0) }
    }

    /// The node's own address on the way to Redis; nil when there is none.
    var localHost: String? { connection.localHost }

    func start() { connection.start() }

    func stop() { connection.stop() }

    /// The sentinels name this master.
    func follow(_ master: RedisURL.Address) { connection.follow(master) }

    // MARK: Tokens

    /// Registers a new token; false when Redis did not take it.
    ///
    /// - Parameter allowedRooms: the only rooms that it may enter; empty is any room.
    func issue(
        _ token: Token, identity: Identity, isLogin: Bool, allowedRooms: [RoomId] = [],
        onDone: @escaping (Bool) -> Void
    ) {
        let call = call(.issue, token, argumentCount: allowedRooms.isEmpty ? 7 : 9) { command in
            command.append(tokenTTLSeconds)
            command.append(isLogin ? Names.userId : Names.deviceId)
            command.append(identity.bytes)
            command.append(Names.isLogin)
            command.append(isLogin ? "true" : "false")
            command.append(Names.issuedAt)
            command.append(WallClock.unixMilliseconds)
            guard !allowedRooms.isEmpty else { return }
            command.append(Names.allowedRooms)
            ClientRegistry.append(allowedRooms, to: &command)
        }
        send(call) { result in
            if case .success = result { onDone(true) } else { onDone(false) }
        }
    }

    /// A heartbeat: renews the token's record.
    func renew(_ token: Token, onDone: @escaping (Renewal) -> Void) {
        let call = call(.renew, token, argumentCount: 1) { $0.append(tokenTTLSeconds) }
        send(call) { [unowned self] result in
            switch result {
            case .success(let reply) where reply.integer == 1: onDone(.renewed)
            case .success: onDone(self.isSettling ? .unavailable : .unknownToken)
            case .failure: onDone(.unavailable)
            }
        }
    }

    /// How long the token's record has still to live, which tells when it was renewed last.
    func remaining(_ token: Token, onDone: @escaping (Remaining) -> Void) {
        var command = RedisCommand(argumentCount: 2)
        command.append("PTTL")
        command.append(byteCount: keys.clientBytes) { keys.appendClient(token, to: &$0) }
        connection.send(command) { result in
            switch result {
            case .success(let reply):
                switch reply.integer {
                case -2: onDone(.missing)
                case -1: onDone(.unlimited)
                case let milliseconds?: onDone(.milliseconds(milliseconds))
                case nil: onDone(.unavailable)
                }
            case .failure: onDone(.unavailable)
            }
        }
    }

    // MARK: Connections

    /// Writes a connection into its token's record, which ends an older connection wherever it is.
    func attach(
        _ token: Token, connectionID: UInt64, connectedAt: Int64, address: String, rooms: [RoomId],
        onDone: @escaping (Attachment) -> Void
    ) {
        let call = call(.attach, token, argumentCount: 9) { command in
            command.append(nodeID)
            command.append([UInt8](address))
            ClientRegistry.append(rooms, to: &command)
            command.append(connectedAt)
            command.append(Int64(connectionID))
            command.append(tokenTTLSeconds)
            command.append(controlPrefix)
            command.append(byteCount: Token.byteCount) { token.append(to: &$0) }
            command.append(roomPrefix)
        }
        send(call) { [unowned self] result in
            guard case .success(let reply) = result else { return onDone(.unavailable) }
            switch reply.integer {
            case nil: break
            case 0: return onDone(.roomNotAllowed)
            default:
                let text = rooms.map(\.description).joined(separator: ",")
                self.refusedRoomLog.warning("redis refuses a room", ["rooms": text])
                return onDone(.roomRefused)
            }
            guard let text = reply.bytes else { return onDone(self.isSettling ? .unavailable : .unknownToken) }
            onDone(.attached(ClientRecord(attached: text, defaultTTLSeconds: self.tokenTTLSeconds)))
        }
    }

    /// Makes a live connection's record true again after an absence from Redis.
    ///
    /// - Parameter restoring: whether a missing record is written again, rather than taken for a revocation.
    func confirm(_ client: Client, restoring: Bool, onDone: @escaping (Confirmation?) -> Void) {
        let record = client.record
        let isBound = !record.allowedRooms.isEmpty
        let call = call(.confirm, client.token, argumentCount: isBound ? 24 : 22) { command in
            command.append(Int64(client.connectionID))
            command.append(client.connectedAt)
            command.append(record.ttlSeconds)
            command.append(restoring ? "1" : "0")
            command.append(record.isLogin ? Names.userId : Names.deviceId)
            command.append([UInt8](record.identity))
            command.append(Names.isLogin)
            command.append(record.isLogin ? "true" : "false")
            command.append(Names.issuedAt)
            command.append(record.issuedAt)
            command.append(Names.ttl)
            command.append(record.ttlSeconds)
            command.append(Names.node)
            command.append(nodeID)
            command.append(Names.ip)
            command.append([UInt8](client.address.description))
            command.append(Names.rooms)
            ClientRegistry.append(client.rooms, to: &command)
            command.append(Names.connectedAt)
            command.append(client.connectedAt)
            command.append(Names.connection)
            command.append(Int64(client.connectionID))
            guard isBound else { return }
            command.append(Names.allowedRooms)
            command.append(record.allowedRooms)
        }
        send(call) { result in
            guard case .success(let reply) = result else { return onDone(nil) }
            onDone(reply.integer.flatMap(Confirmation.init(rawValue:)))
        }
    }

    // MARK: Anything else

    /// Whether commands are sent; otherwise they fail at once.
    var isUp: Bool { connection.isUp }

    /// Sends a command that is about no token.
    func send(_ command: RedisCommand, onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void) {
        connection.send(command, onReply: onReply)
    }

    /// Runs `body` when every command sent so far has its reply; never if the connection is lost before.
    func afterCommandsSent(_ body: @escaping () -> Void) {
        connection.send(RedisCommand([[UInt8]("PING")])) { result in
            switch result {
            // Also a refusal came behind all other replies.
            case .success, .failure(.refused): body()
            case .failure(.unavailable): break
            }
        }
    }

    // MARK: The connection

    private var isSettling: Bool { .now < settlesAt }

    private func isUp(_ server: RedisConnection.Server) {
        let isSameRun = lastRunID == nil || lastRunID == server.runID
        let away = lostAt.map { MonotonicInstant.now - $0 } ?? .zero
        let isFirst = lastRunID == nil
        if !isSameRun { settlesAt = .now + ClientRegistry.settlingTime }
        lastRunID = server.runID
        lostAt = nil
        control.post(.redisUp(role))
        // One script may have been loaded by another worker; loading is idempotent, and the digest is needed.
        for script in RegistryScript.allCases {
            digests[script.rawValue] = nil
            let load = RedisCommand([[UInt8]("SCRIPT"), [UInt8]("LOAD"), [UInt8](script.source)])
            connection.send(load) { [weak self] result in
                if case .success(let reply) = result, let digest = reply.bytes {
                    self?.digests[script.rawValue] = Array(digest)
                }
            }
        }
        onUp?(Return(isSameRun: isSameRun, away: isFirst ? .zero : away))
    }

    private func isDown(_ reason: String) {
        control.post(.redisDown(role, reason))
        guard lostAt == nil else { return }
        lostAt = .now
        if lastRunID != nil { metrics.redisReconnects.add(1) }
        onDown?()
    }

    /// A call of a script, and how much of it says which one.
    private struct Call {
        let script: RegistryScript
        let command: RedisCommand
        let startBytes: Int
    }

    /// A call by the script's digest, or by its source while (or since) Redis does not know it.
    private func call(
        _ script: RegistryScript, _ token: Token, argumentCount: Int, _ arguments: (inout RedisCommand) -> Void
    ) -> Call {
        var command = RedisCommand(argumentCount: argumentCount + 4, capacityBytes: 480)
        if let digest = digests[script.rawValue] {
            command.append("EVALSHA")
            command.append(digest)
        } else {
            command.append("EVAL")
            command.append([UInt8](script.source))
        }
        let startBytes = command.byteCount
        command.append("1")
        command.append(byteCount: keys.clientBytes) { keys.appendClient(token, to: &$0) }
        arguments(&command)
        return Call(script: script, command: command, startBytes: startBytes)
    }

    private func send(_ call: Call, onDone: @escaping (Result<RedisReply, RedisFailure>) -> Void) {
        connection.send(call.command) { [unowned self] result in
            guard case .failure(.refused(let message)) = result else { return onDone(result) }
            guard message.hasPrefix("NOSCRIPT") else {
                self.tell(refusal: message, of: call.script)
                return onDone(result)
            }
            self.digests[call.script.rawValue] = nil
            let source = [UInt8](call.script.source)
            let command = call.command.replacingStart(call.startBytes, by: [[UInt8]("EVAL"), source])
            self.send(Call(script: call.script, command: command, startBytes: 0), onDone: onDone)
        }
    }

    private func tell(refusal message: String, of script: RegistryScript) {
        log.debug("redis refused a command", ["script": "\(script)", "reason": message])
        let now = MonotonicInstant.now
        guard now >= nextRefusalAt else { return }
        nextRefusalAt = now + ClientRegistry.refusalInterval
        control.post(.redisRefused(message))
    }

    /// Room ids joined by commas.
    private static func append(_ rooms: [RoomId], to command: inout RedisCommand) {
        command.append(byteCount: RoomList.byteCount(rooms)) { RoomList.append(rooms, to: &$0) }
    }

    /// Names of fields, made once.
    private enum Names {
        static let userId = [UInt8](ClientField.userId.rawValue)
        static let deviceId = [UInt8](ClientField.deviceId.rawValue)
        static let isLogin = [UInt8](ClientField.isLogin.rawValue)
        static let issuedAt = [UInt8](ClientField.issuedAt.rawValue)
        static let ttl = [UInt8](ClientField.ttl.rawValue)
        static let node = [UInt8](ClientField.node.rawValue)
        static let ip = [UInt8](ClientField.ip.rawValue)
        static let rooms = [UInt8](ClientField.rooms.rawValue)
        static let connectedAt = [UInt8](ClientField.connectedAt.rawValue)
        static let connection = [UInt8](ClientField.connection.rawValue)
        static let allowedRooms = [UInt8](ClientField.allowedRooms.rawValue)
    }
}
