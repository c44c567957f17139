// Tokens and connections in Redis, as one worker sees them. Loop-confined.

import EventLoop
import RedisSchema
import Redis

/// The worker's command connection and what is done over it. Every call has one outcome, within the timeout.
final class ClientRegistry {
    enum Renewal { case renewed, unknownToken, unavailable }

    enum Attachment {
        case attached(Registration)
        /// The token is bound to rooms, and one of the rooms asked for is not among them. Nothing is
        /// changed.
        case roomNotAllowed
        case unknownToken, unavailable
        /// Redis' access rules refuse one of the rooms.
        case roomRefused
    }

    enum Remaining {
        /// The key's remaining life.
        case milliseconds(Int64)
        /// The key has been made permanent by hand.
        case unlimited
        /// The key is gone.
        case missing
        case unavailable
    }

    enum Confirmation: Int64 { case revoked = 0, renewed, restored, replaced }

    /// What is known of the server when the connection is up (again).
    struct Return {
        /// The same server process as before, for certain: a key that is missing now was deleted or has expired.
        let isSameRun: Bool
        /// How long the connection was down; zero when it is the first.
        let away: Duration
        /// Redis had refused writes before: records may have run out since.
        let hadRefused: Bool
    }

    private let keys: Keys
    private let controlPrefix: [UInt8]
    private let roomPrefix: [UInt8]
    private let nodeID: [UInt8]
    private let tokenTTLSeconds: Int64
    /// Until the first handshake or heartbeat, either of which renews by `tokenTTLSeconds`.
    private let unusedTTLSeconds: Int64
    private let metrics: WorkerMetrics
    private let node: NodeContext
    private let link: RegistryLink
    private let losses: LossWatch
    private(set) lazy var writes = WriteCheck(interval: writeCheckInterval, loop: loop) { [unowned self] in
        self.probe(onDone: $0)
    }
    private let loop: EventLoop
    private let writeCheckInterval: Duration
    /// A token that was never issued: writes are tried on its key.
    private let probeToken: Token
    /// Of a master of a cluster; nil for the only server.
    private let place: ShardPlace?
    /// Another server had its slots before, and may have taken what it wrote last along.
    private var isSuccessor = false
    private var refusedRoomLog: RateLimitedLog
    /// What the server of the present connection, or of the last one, has said of itself.
    private var server: RedisConnection.Server?
    private var lostAt: MonotonicInstant?
    private var hadRefused = false
    /// How often the connection was lost, or Redis had lost records; wraps.
    private(set) var lossCount: UInt32
    /// Until when an unknown token proves nothing: Redis has come back without its data, and the nodes that
    /// hold the live clients are still to write their records again.
    private var settlesAt = MonotonicInstant(nanoseconds: 0)

    var onUp: ((Return) -> Void)?
    var onDown: (() -> Void)?
    /// Redis begins to refuse writes, or takes them again.
    var onWritesChanged: (() -> Void)?
    /// Redis has lost records: those of live connections are to be written again.
    var onLoss: (() -> Void)?

    init(
        node: NodeContext, worker: Int, renewalPause: Duration = Limits.renewalPause,
        place: ShardPlace? = nil,
        link: (any CommandLink)? = nil, loop: EventLoop
    ) {
        self.place = place
        // That of one shard is never that of another.
        lossCount = (place?.number ?? 0) &* 0x1_0000
        let configuration = node.configuration
        keys = Keys(prefix: configuration.prefix)
        controlPrefix = Channels(prefix: configuration.prefix).gateway("")
        roomPrefix = Channels(prefix: configuration.prefix).roomPrefix
        nodeID = [UInt8](configuration.nodeId)
        tokenTTLSeconds = configuration.tokenTTL.components.seconds
        unusedTTLSeconds = configuration.unusedTokenTTL.components.seconds
        metrics = node.metrics.workers[worker]
        self.node = node
        refusedRoomLog = RateLimitedLog(node.log)
        writeCheckInterval = min(Limits.writeCheckInterval, configuration.redisSilenceTimeout / 4)
        self.loop = loop
        var random = RandomPool()
        probeToken = Token.mint(using: &random)
        let server =
            link
            ?? RedisConnection(
                url: configuration.redis, clientName: "roomcast-worker\(worker)-\(configuration.nodeId)",
                timeout: configuration.redisTimeout, silenceTimeout: configuration.redisSilenceTimeout,
                loop: loop)
        let link = RegistryLink(
            node: node, worker: worker, renewalPause: renewalPause, link: server, address: place?.address,
            loop: loop)
        self.link = link
        losses = LossWatch(node: node, link: link, place: place, loop: loop)
        losses.onLoss = { [unowned self] in self.recordsLost($0) }
        link.onUp = { [unowned self] in self.isUp($0) }
        link.onDown = { [unowned self] in self.isDown($0) }
        link.onScriptRefused = { [unowned self] in self.scriptRefused() }
        writes.onChange = { [unowned self] in self.writesChanged() }
    }

    /// The node's own address on the way to Redis; nil without a connection.
    var localHost: String? { link.localHost }

    func start() { link.start() }

    func stop() {
        writes.stop()
        losses.stop()
        link.stop()
    }

    /// The sentinels name this master.
    func follow(_ master: RedisURL.Address) { link.follow(master) }

    // MARK: Tokens

    /// Registers a new token; false when Redis did not take it.
    ///
    /// - Parameter allowedRooms: the only rooms that it may enter; empty is any room.
    func issue(
        _ token: Token, identity: Identity, isLogin: Bool, allowedRooms: [RoomId] = [],
        onDone: @escaping (Bool) -> Void
    ) {
        let call = link.call(.issue, token, argumentCount: allowedRooms.isEmpty ? 8 : 10) { command in
            command.append(unusedTTLSeconds)
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
        link.send(call) { result in
            if case .success = result { onDone(true) } else { onDone(false) }
        }
    }

    /// A heartbeat: renews the token's record, together with others that come close behind it.
    func renew(_ token: Token, onDone: @escaping (Renewal) -> Void) {
        let call = link.call(.renew, token, argumentCount: 1) { $0.append(tokenTTLSeconds) }
        link.sendRenewal(call) { [unowned self] result in
            switch result {
            case .success(let reply) where reply.integer == 1: onDone(.renewed)
            case .success: self.judgeMissing { onDone($0 ? .unavailable : .unknownToken) }
            case .failure: onDone(.unavailable)
            }
        }
    }

    /// How long the token's record has still to live, which shows when it was last renewed.
    func remaining(_ token: Token, onDone: @escaping (Remaining) -> Void) {
        var command = RedisCommand(argumentCount: 2)
        command.append("PTTL")
        command.append(byteCount: keys.clientBytes) { keys.appendClient(token, to: &$0) }
        link.send(command, named: "PTTL") { result in
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

    /// Finds out what a missing record means: true if Redis may have lost it, or cannot be asked, and the node that has
    /// its connection is still to write it again; false if it was deleted, or has run out.
    func judgeMissing(onDone: @escaping (Bool) -> Void) {
        guard !isSettling else { return onDone(true) }
        losses.look { [unowned self] in onDone($0 || self.isSettling) }
    }

    /// Finds out whether records may have been lost since there were so many losses; true as well when Redis cannot be
    /// asked.
    func findLoss(since lossCount: UInt32, onDone: @escaping (Bool) -> Void) {
        losses.look { [unowned self] in onDone($0 || lossCount != self.lossCount) }
    }

    /// Whether a token that does not beat any more was revoked: then a tombstone, which is no hash, stands in place of
    /// its record.
    func isRevoked(_ token: Token, onDone: @escaping (Bool) -> Void) {
        var command = RedisCommand(argumentCount: 3)
        command.append("HGET")
        command.append(byteCount: keys.clientBytes) { keys.appendClient(token, to: &$0) }
        command.append("isLogin")
        link.sendQuietly(command) { result in
            if case .failure(.refused(let message)) = result {
                return onDone(message.hasPrefix("WRONGTYPE"))
            }
            onDone(false)
        }
    }

    /// How many of the tokens, which are different, have a record; nil if Redis cannot say.
    func presentCount(_ tokens: [Token], onDone: @escaping (Int64?) -> Void) {
        guard place == nil || tokens.count == 1 else { return presentCountOneByOne(tokens, onDone: onDone) }
        var command = RedisCommand(
            argumentCount: tokens.count + 1, capacityBytes: 32 + tokens.count * (keys.clientBytes + 8))
        command.append("EXISTS")
        for token in tokens {
            command.append(byteCount: keys.clientBytes) { keys.appendClient(token, to: &$0) }
        }
        link.send(command, named: "EXISTS") { result in
            if case .success(let reply) = result { onDone(reply.integer) } else { onDone(nil) }
        }
    }

    /// A command has keys of one slot only.
    private func presentCountOneByOne(_ tokens: [Token], onDone: @escaping (Int64?) -> Void) {
        var missingCount = tokens.count
        var presentCount: Int64? = 0
        for token in tokens {
            self.presentCount([token]) { count in
                missingCount -= 1
                presentCount = count.flatMap { count in presentCount.map { $0 + count } }
                if missingCount == 0 { onDone(presentCount) }
            }
        }
    }

    // MARK: Connections

    /// Gives a connection its place in the order of its token's connections, and renews the record. An older
    /// connection is left in peace until `confirm` says that this one is complete.
    func attach(
        _ token: Token, connectionID: UInt64, connectedAt: Int64, address: String, rooms: [RoomId],
        onDone: @escaping (Attachment) -> Void
    ) {
        let call = link.call(.attach, token, argumentCount: 7) { command in
            command.append(nodeID)
            command.append([UInt8](address))
            ClientRegistry.append(rooms, to: &command)
            command.append(connectedAt)
            command.append(Int64(connectionID))
            command.append(tokenTTLSeconds)
            command.append(roomPrefix)
        }
        link.send(call) { [unowned self] result in
            guard case .success(let reply) = result else { return onDone(.unavailable) }
            switch reply.integer {
            case nil: break
            case 0: return onDone(.roomNotAllowed)
            default:
                let text = rooms.map(\.description).joined(separator: ",")
                self.refusedRoomLog.warning("redis refuses a room", ["rooms": text])
                return onDone(.roomRefused)
            }
            guard let text = reply.bytes else {
                return self.judgeMissing { onDone($0 ? .unavailable : .unknownToken) }
            }
            onDone(.attached(Registration(attached: text, defaultTTLSeconds: self.tokenTTLSeconds)))
        }
    }

    /// Makes a live connection's record true, when it is complete and after an absence from Redis. The
    /// connection before it, wherever it is, is replaced.
    ///
    /// - Parameter restoring: whether a missing record is written again, rather than taken for a revocation.
    func confirm(_ member: Member, restoring: Bool, onDone: @escaping (Confirmation?) -> Void) {
        let record = member.record
        let allowedRooms = record.allowedRooms
        let isBound = !allowedRooms.isEmpty
        let call = link.call(.confirm, member.token, argumentCount: isBound ? 28 : 26) { command in
            command.append(Int64(member.connectionID))
            command.append(record.order)
            command.append(Int64(record.ttlSeconds))
            command.append(restoring ? "1" : "0")
            command.append(controlPrefix)
            command.append(byteCount: Token.byteCount) { member.token.append(to: &$0) }
            command.append(record.isLogin ? Names.userId : Names.deviceId)
            command.append(record.identity)
            command.append(Names.isLogin)
            command.append(record.isLogin ? "true" : "false")
            command.append(Names.issuedAt)
            command.append(record.issuedAt)
            command.append(Names.ttl)
            command.append(Int64(record.ttlSeconds))
            command.append(Names.node)
            command.append(nodeID)
            command.append(Names.ip)
            command.append([UInt8](member.address.description))
            command.append(Names.rooms)
            ClientRegistry.append(member.rooms, to: &command)
            command.append(Names.connectedAt)
            command.append(member.connectedAt)
            command.append(Names.connection)
            command.append(Int64(member.connectionID))
            command.append(Names.order)
            command.append(record.order)
            guard isBound else { return }
            command.append(Names.allowedRooms)
            command.append(allowedRooms)
        }
        link.send(call) { result in
            guard case .success(let reply) = result else { return onDone(nil) }
            onDone(reply.integer.flatMap(Confirmation.init(rawValue:)))
        }
    }

    // MARK: Anything else

    /// Whether commands are sent; otherwise they fail at once.
    var isUp: Bool { link.isUp }

    /// Whether an absence of heartbeats says anything: not while Redis takes none.
    var tellsSilence: Bool { link.isUp && writes.refusal == nil }

    /// Sends a command that is about no token.
    ///
    /// - Parameter name: the command that a refusal is reported for.
    func send(
        _ command: RedisCommand, named name: String,
        onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) {
        link.send(command, named: name, onReply: onReply)
    }

    /// The `run_id` of the server; nil if it does not say, and in a cluster, where others may have another one.
    var serverRun: String? { place == nil ? server?.runID : nil }

    /// The master of a cluster; nil for the only server.
    var address: RedisURL.Address? { place?.address }

    /// Connects again: the connection leads to another server than it should.
    func renew(reason: String) { link.renew(reason: reason) }

    /// Publishes what the node needs published for itself.
    ///
    /// - Parameter onTaken: called when Redis has taken it.
    func publish(_ command: RedisCommand, onTaken: @escaping () -> Void) {
        link.sendQuietly(command) { [node] result in
            switch result {
            case .success:
                node.state.setPublishRefusal(nil)
                onTaken()
            case .failure(.refused(let message)) where RefusedCommand.concernsOnlyItself(message):
                let isNews = node.state.setPublishRefusal(RedisRefusal.text(message))
                if isNews { node.controlMailbox.post(.publishRefused(message)) }
            case .failure: break
            }
        }
    }

    /// Runs a script on a key that is no token's.
    func run(
        _ script: RegistryScript, key: [UInt8], arguments: [RedisArgument],
        onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) {
        link.send(link.call(script, key: key, arguments: arguments), onDone: onReply)
    }

    /// Runs `body` when every command sent so far has its reply; never if the connection is lost before.
    func afterCommandsSent(_ body: @escaping () -> Void) {
        link.sendQuietly(RedisCommand([[UInt8]("PING")])) { result in
            switch result {
            // Also a refusal came behind all other replies.
            case .success, .failure(.refused): body()
            case .failure(.unavailable): break
            }
        }
    }

    // MARK: Writes

    private func probe(onDone: @escaping (Result<RedisReply, RedisFailure>) -> Void) {
        if let slot = place?.firstSlot() {
            return link.send(
                link.call(.probe, key: keys.probe(ofSlot: slot), arguments: [[UInt8](tokenTTLSeconds)]),
                onDone: onDone)
        }
        link.send(
            link.call(.probe, probeToken, argumentCount: 1) { $0.append(tokenTTLSeconds) }, onDone: onDone)
    }

    /// One record may have its own reason, so it is the probe that says what it means for the others.
    private func scriptRefused() {
        if writes.refusal == nil { writes.check { _ in } }
    }

    /// Other nodes notice a return of this kind when they try to write the next time, and not at once.
    private func writesChanged() {
        if writes.refusal == nil { settlesAt = .now + Limits.settlingTime * 2 }
        onWritesChanged?()
    }

    // MARK: The connection

    private var isSettling: Bool { .now < settlesAt || writes.refusal != nil }

    private func isUp(_ server: RedisConnection.Server) {
        let isFirst = self.server == nil
        let isSameRun = self.server.map { $0.isSameRun(as: server) } ?? !isSuccessor
        isSuccessor = false
        let away = lostAt.map { MonotonicInstant.now - $0 } ?? .zero
        if !isSameRun || hadRefused { settlesAt = .now + Limits.settlingTime }
        self.server = server
        lostAt = nil
        let known = Return(isSameRun: isSameRun, away: isFirst ? .zero : away, hadRefused: hadRefused)
        hadRefused = false
        writes.start()
        losses.start(server, isSameRun: isSameRun)
        onUp?(known)
    }

    /// The server was promoted, and has slots of another one, perhaps without what that has written last.
    func hasTakenOver() {
        guard link.isUp else {
            isSuccessor = true
            return
        }
        lossCount &+= 1
        settlesAt = .now + Limits.settlingTime
        onLoss?()
    }

    private func isDown(_ reason: String) {
        // A server that takes no writes may have lost its records to another one's before it takes them
        // again.
        if writes.refusal != nil || RedisFailure.refused(reason).isReadOnly { hadRefused = true }
        writes.stop()
        losses.stop()
        guard lostAt == nil else { return }
        lostAt = .now
        lossCount &+= 1
        if server != nil { metrics.redisReconnects.add(1) }
        onDown?()
    }

    private func recordsLost(_ loss: LossWatch.Loss) {
        lossCount &+= 1
        settlesAt = .now + Limits.settlingTime
        node.controlMailbox.post(.recordsLost(loss))
        onLoss?()
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
        static let order = [UInt8](ClientField.order.rawValue)
        static let allowedRooms = [UInt8](ClientField.allowedRooms.rawValue)
    }
}
