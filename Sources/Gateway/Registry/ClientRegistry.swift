// Tokens and connections in Redis, as one worker sees them. Loop-confined.

import EventLoop
import Notices
import Redis

/// The worker's command connection and what is done over it. Every call has one outcome, within the timeout.
final class ClientRegistry {
    enum Renewal { case renewed, unknownToken, unavailable }

    enum Attachment {
        case attached(ClientRecord)
        case unknownToken, unavailable
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
    private let nodeID: [UInt8]
    private let tokenTTL: [UInt8]
    private let tokenTTLSeconds: Int64
    private let metrics: WorkerMetrics
    private let log: Log
    private let connection: RedisConnection
    private var linkLog: LinkLog
    private var lastRunID: String?
    private var lostAt: MonotonicInstant?
    private var digests: [String: [UInt8]] = [:]
    /// Until when an unknown token proves nothing: Redis has come back without its data, and the nodes that hold the
    /// live clients are still to write their records again.
    private var settlesAt = MonotonicInstant(nanoseconds: 0)

    /// Longer than a node takes to notice a return: the longest backoff and the time to connect, and some.
    private static let settlingTime = Duration.seconds(5)

    var onUp: ((Return) -> Void)?
    var onDown: (() -> Void)?

    init(node: NodeContext, worker: Int, loop: EventLoop) {
        let configuration = node.configuration
        keys = Keys(prefix: configuration.prefix)
        controlPrefix = Channels(prefix: configuration.prefix).gateway("")
        nodeID = [UInt8](configuration.nodeId)
        tokenTTLSeconds = configuration.tokenTTL.components.seconds
        tokenTTL = [UInt8](tokenTTLSeconds)
        metrics = node.metrics.workers[worker]
        log = node.log
        linkLog = LinkLog(node.log, role: "worker \(worker)")
        connection = RedisConnection(
            url: configuration.redis, clientName: "roomcast-worker\(worker)-\(configuration.nodeId)",
            timeout: configuration.redisTimeout, loop: loop)
        connection.onUp = { [unowned self] in self.isUp($0) }
        connection.onDown = { [unowned self] in self.isDown($0) }
    }

    func start() { connection.start() }

    func stop() { connection.stop() }

    // MARK: Tokens

    /// Registers a new token; false when Redis did not take it.
    func issue(_ token: Token, identity: Identity, isLogin: Bool, onDone: @escaping (Bool) -> Void) {
        let arguments: [RedisArgument] = [
            tokenTTL,
            [UInt8](isLogin ? ClientField.userId.rawValue : ClientField.deviceId.rawValue), identity.bytes,
            Names.isLogin, isLogin ? Names.yes : Names.no, Names.issuedAt, [UInt8](WallClock.unixMilliseconds),
        ]
        call(.issue, token, arguments) { result in
            if case .success = result { onDone(true) } else { onDone(false) }
        }
    }

    /// A heartbeat: renews the token's record.
    func renew(_ token: Token, onDone: @escaping (Renewal) -> Void) {
        call(.renew, token, [tokenTTL]) { [unowned self] result in
            switch result {
            case .success(let reply) where reply.integer == 1: onDone(.renewed)
            case .success: onDone(self.isSettling ? .unavailable : .unknownToken)
            case .failure: onDone(.unavailable)
            }
        }
    }

    /// How long the token's record has still to live, which tells when it was renewed last.
    func remaining(_ token: Token, onDone: @escaping (Remaining) -> Void) {
        connection.send([Names.pttl, keys.client(token)]) { result in
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
        let arguments: [RedisArgument] = [
            nodeID, [UInt8](address), ClientRegistry.list(rooms), [UInt8](connectedAt),
            [UInt8](String(connectionID)), tokenTTL, controlPrefix, token.bytes,
        ]
        let defaultTTL = tokenTTLSeconds
        call(.attach, token, arguments) { [unowned self] result in
            guard case .success(let reply) = result else { return onDone(.unavailable) }
            guard reply.count >= 5 else { return onDone(self.isSettling ? .unavailable : .unknownToken) }
            let isLogin = reply[1].string == "true"
            onDone(
                .attached(
                    ClientRecord(
                        identity: (isLogin ? reply[2] : reply[3]).string ?? "", isLogin: isLogin,
                        issuedAt: Int64(reply[4].string ?? "") ?? 0,
                        ttlSeconds: Int64(reply[0].string ?? "") ?? defaultTTL)))
        }
    }

    /// Makes a live connection's record true again after an absence from Redis.
    ///
    /// - Parameter restoring: whether a missing record is written again, rather than taken for a revocation.
    func confirm(_ client: Client, restoring: Bool, onDone: @escaping (Confirmation?) -> Void) {
        let record = client.record
        let connection = [UInt8](String(client.connectionID))
        let connectedAt = [UInt8](client.connectedAt)
        let ttl = [UInt8](record.ttlSeconds)
        let arguments: [RedisArgument] = [
            connection, connectedAt, ttl, [UInt8](restoring ? "1" : "0"),
            [UInt8](record.isLogin ? ClientField.userId.rawValue : ClientField.deviceId.rawValue),
            [UInt8](record.identity),
            Names.isLogin, record.isLogin ? Names.yes : Names.no, Names.issuedAt, [UInt8](record.issuedAt),
            Names.ttl, ttl, Names.node, nodeID, Names.ip, [UInt8](client.address.description),
            Names.rooms, ClientRegistry.list(client.rooms), Names.connectedAt, connectedAt,
            Names.connection, connection,
        ]
        call(.confirm, client.token, arguments) { result in
            guard case .success(let reply) = result else { return onDone(nil) }
            onDone(reply.integer.flatMap(Confirmation.init(rawValue:)))
        }
    }

    /// Runs `body` when every command sent so far has its reply; never if the connection is lost before.
    func afterCommandsSent(_ body: @escaping () -> Void) {
        connection.send([Names.ping]) { if case .success = $0 { body() } }
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
        linkLog.up()
        // One script may have been loaded by another worker; loading is idempotent, and the digest is needed.
        digests = [:]
        for script in RegistryScript.all {
            connection.send([Names.script, Names.load, [UInt8](script.source)]) { [weak self] result in
                if case .success(let reply) = result, let digest = reply.bytes {
                    self?.digests[script.name] = Array(digest)
                }
            }
        }
        onUp?(Return(isSameRun: isSameRun, away: isFirst ? .zero : away))
    }

    private func isDown(_ reason: String) {
        linkLog.down(reason)
        guard lostAt == nil else { return }
        lostAt = .now
        if lastRunID != nil { metrics.redisReconnects.add(1) }
        onDown?()
    }

    /// Calls a script by its digest, or by its source while (or since) Redis does not know it.
    private func call(
        _ script: RegistryScript, _ token: Token, _ arguments: [RedisArgument],
        onDone: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) {
        let rest = [Names.one, keys.client(token)] + arguments
        guard let digest = digests[script.name] else {
            return connection.send([Names.eval, [UInt8](script.source)] + rest) { [log] result in
                ClientRegistry.report(result, script, log)
                onDone(result)
            }
        }
        connection.send([Names.evalsha, digest] + rest) { [weak self] result in
            if let self, case .failure(.refused(let message)) = result, message.hasPrefix("NOSCRIPT") {
                self.digests[script.name] = nil
                return self.call(script, token, arguments, onDone: onDone)
            }
            if let self { ClientRegistry.report(result, script, self.log) }
            onDone(result)
        }
    }

    private static func report(_ result: Result<RedisReply, RedisFailure>, _ script: RegistryScript, _ log: Log) {
        guard case .failure(.refused(let message)) = result else { return }
        log.debug("redis refused a command", ["script": script.name, "reason": message])
    }

    private static func list(_ rooms: [RoomId]) -> [UInt8] {
        Array(rooms.map(\.bytes).joined(separator: [UInt8(ascii: ",")]))
    }

    /// Words of commands, made once.
    private enum Names {
        static let one = [UInt8]("1")
        static let yes = [UInt8]("true")
        static let no = [UInt8]("false")
        static let ping = [UInt8]("PING")
        static let pttl = [UInt8]("PTTL")
        static let script = [UInt8]("SCRIPT")
        static let load = [UInt8]("LOAD")
        static let eval = [UInt8]("EVAL")
        static let evalsha = [UInt8]("EVALSHA")
        static let isLogin = [UInt8](ClientField.isLogin.rawValue)
        static let issuedAt = [UInt8](ClientField.issuedAt.rawValue)
        static let ttl = [UInt8](ClientField.ttl.rawValue)
        static let node = [UInt8](ClientField.node.rawValue)
        static let ip = [UInt8](ClientField.ip.rawValue)
        static let rooms = [UInt8](ClientField.rooms.rawValue)
        static let connectedAt = [UInt8](ClientField.connectedAt.rawValue)
        static let connection = [UInt8]("connection")
    }
}
