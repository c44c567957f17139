// The way to one master of a Redis Cluster. Loop-confined.

import EventLoop

/// What sends commands and says when it can: a connection to the one Redis, or to a part of a cluster.
package protocol CommandLink: AnyObject {
    typealias Outcome = Result<RedisReply, RedisFailure>

    /// Whether commands are sent; otherwise they fail at once.
    var isUp: Bool { get }
    /// The address of this end, in numbers; nil without a connection, and over a Unix socket.
    var localHost: String? { get }
    var onUp: ((RedisConnection.Server) -> Void)? { get set }
    /// The connection, or an attempt at one, was lost: the reason.
    var onDown: ((String) -> Void)? { get set }
    var onNewPassword: ((String?) -> Void)? { get set }
    func start()
    func stop()
    func follow(_ master: RedisURL.Address)
    func renew(reason: String)
    /// Sends a command; `onReply` is called once.
    func send(_ command: RedisCommand, mayWait: Bool, onReply: @escaping (Outcome) -> Void)
    func writeWhatWaits()
}

extension CommandLink {
    package func send(_ command: RedisCommand, onReply: @escaping (Outcome) -> Void) {
        send(command, mayWait: false, onReply: onReply)
    }
}

extension RedisConnection: CommandLink {}

/// A master's connection, and the commands that wait for its first word, or until it passes on what is published.
///
/// As a `CommandLink` it sends each command with a key where the map says, which is mostly its own master, and each
/// without one to its own master.
package final class ClusterLane: CommandLink {
    package let address: RedisURL.Address
    let connection: RedisConnection
    private unowned let cluster: ClusterConnection
    /// Whether the map has it.
    package internal(set) var isMaster = false
    /// Whether its connection has stood, or has failed, since it was made.
    private(set) var hasTried = false
    private var hasStarted = false
    private var waiting: [(deadline: MonotonicInstant, body: () -> Void)] = []
    private var timer: Timer?
    private var lastUsedAt = MonotonicInstant.now
    private(set) var hasBeenUsed = false
    /// What the server of the present connection, or of the last one, has said of itself.
    private var server: RedisConnection.Server?
    private var linkage = Linkage.unknown
    /// What is to be published as soon as the server passes it on, in its order.
    private var held: [() -> Void] = []
    private var linkageTimer: Timer?

    package var onUp: ((RedisConnection.Server) -> Void)?
    package var onDown: ((String) -> Void)?
    package var onNewPassword: ((String?) -> Void)? {
        get { connection.onNewPassword }
        set { connection.onNewPassword = newValue }
    }

    init(
        _ address: RedisURL.Address, _ connection: RedisConnection, cluster: ClusterConnection,
        loop: EventLoop
    ) {
        self.address = address
        self.connection = connection
        self.cluster = cluster
        timer = Timer(on: loop) { [unowned self] in self.expire() }
        linkageTimer = Timer(on: loop) { [unowned self] in self.askForLinkage() }
        connection.onUp = { [unowned self] server in
            self.server = server
            self.linkage = .unknown
            self.tried()
            self.onUp?(server)
            self.cluster.laneChanged(self)
        }
        connection.onDown = { [unowned self] reason in
            self.tried()
            self.linkage = .unknown
            self.linkageTimer?.cancel()
            self.publishHeld()
            self.onDown?(reason)
            self.cluster.laneChanged(self)
        }
    }

    package var isUp: Bool { connection.isUp }
    package var localHost: String? { connection.localHost }

    /// Begins to connect, once.
    func connect() {
        guard !hasStarted else { return }
        hasStarted = true
        connection.start()
    }

    /// Ends the connection for good.
    func end() {
        timer?.cancel()
        linkageTimer?.cancel()
        connection.stop()
        tried()
        publishHeld()
    }

    /// Its user begins: a connection that stands already is news to it.
    package func start() {
        if isUp, let server { onUp?(server) }
    }

    /// Its user ends. The connection is the cluster's.
    package func stop() { (onUp, onDown, onNewPassword) = (nil, nil, nil) }

    /// In a cluster masters are found by the map.
    package func follow(_ master: RedisURL.Address) {}

    package func renew(reason: String) {}

    package func send(_ command: RedisCommand, mayWait: Bool, onReply: @escaping (Outcome) -> Void) {
        if let slot = command.slot {
            cluster.send(command, slot: slot, mayWait: mayWait, onReply: onReply)
        } else {
            sendHere(command, mayWait: mayWait, onReply: onReply)
        }
    }

    /// Sends a command to this master, whatever the map says.
    package func sendHere(
        _ command: RedisCommand, mayWait: Bool = false, onReply: @escaping (Outcome) -> Void
    ) {
        whenTried(until: .now + cluster.timeout) { [connection] in
            connection.send(command, mayWait: mayWait, onReply: onReply)
        }
    }

    package func writeWhatWaits() { cluster.writeWhatWaits() }

    // MARK: What is published

    /// What is known of the server's links to the others of its cluster.
    private enum Linkage {
        case unknown
        /// It is asked with this key, and was asked first at this time.
        case asked(key: [UInt8], since: MonotonicInstant)
        case proven
    }

    /// A server that has just been started refuses keys for two seconds.
    private static let longestLinkageTime = Duration.seconds(3)
    private static let linkagePause = Duration.milliseconds(50)

    /// Publishes to this master, once it passes on what is published.
    ///
    /// A master that has just been started takes PUBLISH before it is linked to the others, and nobody would hear of
    /// it. Meanwhile it refuses keys: so each connection asks for one first. A cluster that is down for longer gets
    /// PUBLISH all the same: some nodes may hear it.
    ///
    /// - Parameter key: which the user may read, and that of the channel; nil does without.
    package func publish(_ command: RedisCommand, key: [UInt8]?, onReply: @escaping (Outcome) -> Void) {
        whenTried(until: .now + cluster.timeout) { [unowned self] in
            self.whenLinked(key) { [connection] in connection.send(command, onReply: onReply) }
        }
    }

    /// As `publish` of one command; the answers are numbers.
    package func publish(_ batch: RedisBatch, key: [UInt8]?, onNews: @escaping (RedisBatch.News) -> Void) {
        whenLinked(key) { [connection] in connection.send(batch, onNews: onNews) }
    }

    private func whenLinked(_ key: [UInt8]?, _ body: @escaping () -> Void) {
        guard let key, connection.isUp else { return body() }
        switch linkage {
        case .proven: body()
        case .asked: held.append(body)
        case .unknown:
            held.append(body)
            linkage = .asked(key: key, since: .now)
            askForLinkage()
        }
    }

    private func askForLinkage() {
        guard case .asked(let key, let since) = linkage else { return }
        connection.send(RedisCommand([[UInt8]("PTTL"), key])) { [weak self] result in
            guard let self, case .asked = self.linkage else { return }
            // Any other answer is that of a server that takes part, also one that the user has no right to.
            if case .failure(.refused(let message)) = result, message.hasPrefix("CLUSTERDOWN"),
                .now - since < Self.longestLinkageTime
            {
                self.linkageTimer?.start(after: Self.linkagePause)
                return
            }
            self.linkage = .proven
            self.publishHeld()
        }
    }

    private func publishHeld() {
        let bodies = held
        held = []
        for body in bodies { body() }
    }

    // MARK: The first word

    /// Whether nothing waits for it, and nothing was sent over it for so long.
    func isIdle(for time: Duration) -> Bool { waiting.isEmpty && .now - lastUsedAt >= time }

    /// Something is sent over it.
    func isUsed() {
        lastUsedAt = .now
        hasBeenUsed = true
    }

    /// Runs `body` now if the connection stands or has failed; else when it does, or at the deadline. Then sending
    /// says by itself what is the matter.
    func whenTried(until deadline: MonotonicInstant, _ body: @escaping () -> Void) {
        guard !hasTried else { return body() }
        isUsed()
        waiting.append((deadline, body))
        if waiting.count == 1 { timer?.start(after: max(.zero, deadline - .now)) }
    }

    private func tried() {
        hasTried = true
        timer?.cancel()
        release { _ in true }
    }

    private func expire() {
        let now = MonotonicInstant.now
        release { $0 <= now }
        if let next = waiting.map(\.deadline).min() { timer?.start(after: max(.zero, next - now)) }
    }

    private func release(_ isDue: (MonotonicInstant) -> Bool) {
        let due = waiting.filter { isDue($0.deadline) }
        waiting.removeAll { isDue($0.deadline) }
        for entry in due { entry.body() }
    }
}
