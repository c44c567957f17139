// One worker: a thread with its own loop, listener, clients, rooms and Redis command connection. Loop-confined.

import EventLoop
import Glibc
import Network
import RedisSchema

/// Serves a share of the node's clients and shares nothing with the other workers.
final class Worker {
    /// What one turn takes of the messages that wait, by the memory of their frames. What is beyond waits for the next
    /// turn, after the sockets had theirs; and no client that keeps up is taken for slow because of a burst.
    private static let maximumTurnBytes = 256 * 1024

    /// When places are short, a peer has so long to bring its request, or to take its answer: a round trip around the
    /// world. A crowd that brings none delays others by no more than this for each set of places.
    private static let unsettledTime = Duration.milliseconds(500)

    let index: Int
    let node: NodeContext
    let host: ConnectionHost
    let metrics: WorkerMetrics
    let registry: ClientRegistry
    let rooms: RoomTable
    let maximumQueueBytes: Int
    let maximumMessageBytes: Int
    private let loop: EventLoop
    private var listener: Listener?
    /// The open clients. Those that are closing are none any more, only connections.
    private(set) var clients: [Token: Client] = [:]
    private var clientConnectionCount = 0
    private let httpPlaces: HttpPlaces
    private let httpLimits: HttpLimits
    private var pendingUpgrades: [UInt64: Upgrade] = [:]
    private var lastConnectionID: UInt64
    private var failed: [(client: Client, reason: CloseReason)] = []
    /// Messages of the mailbox that the present turn did not take.
    private var waiting: [WorkerMessage] = []
    private var nextWaiting = 0
    /// What is left of the present turn's share, however often the mailbox hands over.
    private var turnBytesLeft = Worker.maximumTurnBytes
    private var drain: Drain?
    private var confirmation: RecordConfirmation?
    /// Whether what is said on the node's channel comes.
    private var isSubscribed = true
    /// How often the subscriber's connection was lost; wraps.
    private(set) var lossCount: UInt32 = 0
    private var endpoints: ClientEndpoints?
    private var reporter: NodeReporter?
    private var lister: RoomLister?
    private(set) lazy var writer = TurnWriter(worker: self, ring: makeRing(), log: node.log)

    // Added up during the turn, moved to the metrics at its end.
    var writeCount = 0
    var writtenBytes = 0
    var queueBytes = 0

    init(index: Int, node: NodeContext, loop: EventLoop) {
        let configuration = node.configuration
        self.index = index
        self.node = node
        self.loop = loop
        metrics = node.metrics.workers[index]
        maximumQueueBytes = configuration.maximumQueueBytes
        maximumMessageBytes = configuration.maximumMessageBytes
        let delays = [
            configuration.heartbeatTimeout, configuration.requestTimeout, configuration.keepAliveTimeout,
            configuration.redisTimeout, Client.closeTimeout,
        ]
        host = ConnectionHost(loop: loop, maximumDelay: delays.max() ?? .zero)
        httpLimits = HttpLimits(configuration)
        httpPlaces = HttpPlaces(
            maximumCount: node.state.maximumHttpConnectionCount(ofWorker: index), grace: Worker.unsettledTime)
        registry = ClientRegistry(node: node, worker: index, loop: loop)
        rooms = RoomTable(worker: index, subscriber: node.subscriberMailbox, metrics: metrics)
        // Unique over restarts of a node that keeps its id: the records of its old connections are still in Redis.
        lastConnectionID = UInt64.random(in: 0..<(1 << 62))
    }

    func start(_ socket: ListeningSocket) {
        node.workerMailboxes[index].open(on: loop) { [unowned self] messages in
            self.waiting.append(contentsOf: messages)
            self.takeMessages()
        }
        confirmation = RecordConfirmation(
            registry: registry, timeout: node.configuration.heartbeatTimeout, loop: loop)
        endpoints = ClientEndpoints(worker: self)
        reporter = NodeReporter(
            worker: index, node: node, registry: registry, rooms: rooms, address: "\(socket)", loop: loop)
        reporter?.start()
        lister = RoomLister(
            worker: index, configuration: node.configuration, registry: registry, rooms: rooms, loop: loop)
        registry.onUp = { [unowned self] in self.redisIsUp($0) }
        registry.onDown = { [unowned self] in self.setUp(false) }
        registry.onWritesChanged = { [unowned self] in self.writesChanged() }
        registry.start()
        loop.onTurnEnd = { [unowned self] in self.endTurn() }
        var acceptLog = RateLimitedLog(node.log)
        listener = Listener(
            socket, on: loop,
            onError: { [metrics, httpPlaces] in
                // The limit may have been lowered, or libraries hold more than is set aside for them.
                httpPlaces.makeRoom()
                metrics.acceptPauses.add(1)
                acceptLog.warning("accept failed", ["reason": "\($0)"])
            },
            // Nobody is turned away who can be served in a moment.
            room: { [httpPlaces] in httpPlaces.room() }, onAccept: { [unowned self] in self.accept($0, $1) })
        httpPlaces.onRoom = { [unowned self] in self.listener?.resume() }
    }

    /// Tells once for a node how it writes.
    private func makeRing() -> SendRing? {
        guard node.configuration.ioUring == .auto else { return nil }
        do throws(SystemError) {
            let ring = try SendRing()
            if index == 0 { node.log.info("writing through io_uring") }
            return ring
        } catch {
            if index == 0 { node.log.info("io_uring is not to be had", ["reason": "\(error)"]) }
            return nil
        }
    }

    // MARK: The turn

    /// Handles messages until the turn has its share.
    private func takeMessages() {
        var takenBytes = 0
        while nextWaiting < waiting.count, turnBytesLeft > 0 {
            let message = waiting[nextWaiting]
            nextWaiting += 1
            handle(message)
            takenBytes += message.frameBytes
            turnBytesLeft -= max(message.frameBytes, SharedFrame.overheadBytes)
        }
        node.backlogs[index].subtract(takenBytes)
        if nextWaiting == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 4096)
            nextWaiting = 0
        } else if nextWaiting > waiting.count / 2 {
            // A worker that never quite catches up must not keep what it has delivered.
            waiting.removeFirst(nextWaiting)
            nextWaiting = 0
        }
    }

    /// Writes what the turn has brought to every client that gets some of it; returns whether messages are left.
    private func endTurn() -> Bool {
        rooms.flush(through: writer)
        finishFailures()
        if writeCount > 0 {
            metrics.writes.add(UInt64(writeCount))
            metrics.bytesWritten.add(UInt64(writtenBytes))
            writeCount = 0
            writtenBytes = 0
        }
        metrics.queueBytes.set(UInt64(max(0, queueBytes)))
        // The next turn's: what it takes at once comes before the sockets.
        turnBytesLeft = Worker.maximumTurnBytes
        guard nextWaiting < waiting.count else { return false }
        takeMessages()
        return true
    }

    /// What this turn has brought so far leaves now, for those who are sent away before its end.
    func flushRooms() {
        rooms.flush(through: writer)
    }

    private func finishFailures() {
        while !failed.isEmpty {
            let batch = failed
            failed = []
            for (client, reason) in batch { client.finishFailure(reason) }
        }
    }

    private func handle(_ message: WorkerMessage) {
        switch message {
        case .deliver(let room, let frame): rooms.deliver(frame, to: room)
        case .subscribed(let room): rooms.subscribed(room)
        case .refused(let room): rooms.refused(room)
        case .subscriptionsLost: subscriptionsLost()
        case .subscriptionsRestored: subscriptionsRestored()
        case .gapEnded(let milliseconds): tellGap(milliseconds: milliseconds)
        case .messagesLost(let rooms, let milliseconds): tellLoss(of: rooms, milliseconds: milliseconds)
        case .master(let address): registry.follow(address)
        case .replaced(let token, let connection): replaced(token, connection)
        case .revoked(let token): revoked(token)
        case .listRooms(let reply): lister?.list(reply: reply)
        case .adopt(let handover):
            node.state.releaseHandover()
            serve(handover)
        case .drain(let time): startDrain(over: time)
        case .stop: stop()
        }
    }

    /// The subscriber's connection is gone; clients from now on wait for the next one.
    func subscriptionsLost() {
        isSubscribed = false
        lossCount &+= 1
        rooms.subscriptionsLost(pending: pendingUpgrades.values.compactMap(\.pendingJoin))
    }

    /// Leaves the list of nodes, which waits for Redis no longer than any request, and ends the loop.
    private func stop() {
        let end = { [unowned self] in
            self.registry.stop()
            self.loop.stop()
        }
        guard let reporter else { return end() }
        reporter.leave(onDone: end)
    }

    // MARK: Connections

    private func accept(_ socket: Socket, _ peer: PeerAddress) {
        serve(Handover(socket: socket, peer: IPAddress(high: peer.high, low: peer.low), bytes: []))
    }

    private func serve(_ accepted: Handover) {
        let socket = accepted.socket
        guard let endpoints, httpPlaces.take() else {
            // Out of room even for an answer that waits: say so if the socket takes it at once, and close.
            let fields = endpoints?.fieldsOfEveryAnswer(to: nil) ?? []
            _ = ServiceUnavailable.response(fields: fields, date: host.dateLine).withUnsafeBytes { socket.write($0) }
            socket.close()
            return
        }
        let connection = HttpConnection(
            socket: socket, peer: accepted.peer, host: host, limits: httpLimits, places: httpPlaces, handler: endpoints
        ) { [unowned self] in self.httpConnectionsChanged() }
        httpConnectionsChanged()
        connection.start(with: accepted.bytes)
        if isDraining { connection.closeWhenIdle() }
    }

    private func httpConnectionsChanged() {
        metrics.httpConnections.set(UInt64(httpPlaces.count))
        drain?.check(self)
    }

    func makeConnectionID() -> UInt64 {
        lastConnectionID += 1
        return lastConnectionID
    }

    /// A handshake asks Redis from here on; it is known by its connection's id, should it be replaced meanwhile.
    func begin(_ upgrade: Upgrade) {
        pendingUpgrades[upgrade.connectionID] = upgrade
    }

    func finish(_ upgrade: Upgrade) {
        pendingUpgrades[upgrade.connectionID] = nil
    }

    /// Has a record that names another connection name this one, now that it is complete, and the other one told.
    ///
    /// - Parameter lossCount: the registry's when the handshake asked Redis for its place.
    func takeOver(_ client: Client, since lossCount: UInt32) {
        confirmation?.confirm(client, restoring: lossCount != registry.lossCount)
    }

    /// Takes in the client of a finished handshake.
    func add(_ client: Client, _ pending: PendingJoin) {
        if let other = clients[client.token] {
            // Redis has said which of them is the newer.
            guard other.isBefore(client) else {
                rooms.cancel(pending)
                client.close(.replaced)
                return
            }
            other.close(.replaced)
        }
        clients[client.token] = client
        metrics.clients.set(UInt64(clients.count))
        rooms.join(client, pending)
        client.lossCountAtJoin = lossCount
        client.setDeadline(after: node.configuration.heartbeatTimeout)
    }

    /// The client gets nothing more; its connection may live a little for the closing handshake.
    func clientLeft(_ client: Client, _ reason: CloseReason) {
        client.leaveRooms(rooms)
        if clients[client.token] === client { clients[client.token] = nil }
        metrics.close(reason)
        metrics.clients.set(UInt64(clients.count))
        guard node.log.isEnabled(.debug) else { return }
        node.log.debug(
            "client closed", ["token": "\(client.token)", "ip": "\(client.address)", "code": "\(reason)"])
    }

    /// A connection that was admitted is none any more.
    func releasePlace(of address: IPAddress) {
        node.state.releaseClient()
        node.admission.release(address)
    }

    /// A client that cannot go on, found while rooms are walked through.
    func clientFailed(_ client: Client, _ reason: CloseReason) {
        failed.append((client, reason))
    }

    /// A client takes a connection over: counted before that one is gone, as a drain waits for the last of both.
    func clientBegins() {
        clientConnectionCount += 1
    }

    /// A client's socket is closed: its place is free now, not when its closing handshake began.
    func clientEnded(_ client: Client) {
        clientConnectionCount -= 1
        releasePlace(of: client.address)
        drain?.check(self)
    }

    private func replaced(_ token: Token, _ connection: UInt64) {
        if let client = clients[token], client.connectionID == connection { client.close(.replaced) }
        pendingUpgrades[connection]?.isReplaced = true
    }

    private func revoked(_ token: Token) {
        clients[token]?.close(.revoked)
        for upgrade in pendingUpgrades.values where upgrade.token == token { upgrade.revoke() }
    }

    // MARK: Heartbeats

    /// Asks Redis when the last heartbeat was. All that are due in a turn ask in one write.
    func heartbeatIsDue(_ client: Client) {
        let timeout = node.configuration.heartbeatTimeout
        guard silenceCounts else { return client.setDeadline(after: timeout) }
        registry.remaining(client.token) { [unowned self] remaining in
            guard client.state == .open else { return }
            switch remaining {
            case .milliseconds(let left):
                let decision = HeartbeatClock.decide(
                    ttlSeconds: client.record.ttlSeconds, remainingMilliseconds: left, timeout: timeout)
                switch decision {
                case .close: self.closeUnlessRefused(client, .heartbeatTimeout)
                case .check(let delay): client.setDeadline(after: delay)
                }
            case .missing: self.closeUnlessRefused(client, .revoked)
            case .unlimited: client.setDeadline(after: timeout)
            // Redis is away: that is not the client's fault, and its return starts the time anew.
            case .unavailable: client.setDeadline(after: timeout)
            }
        }
    }

    /// Whether the lack of a heartbeat or of a record is the client's: not while records are written again, when a
    /// missing one means nothing, nor while Redis takes no heartbeat. Each client gets a new deadline afterwards.
    private var silenceCounts: Bool { registry.tellsSilence && confirmation?.isRunning != true }

    /// Closes a client on Redis' word, if Redis would have taken its heartbeats.
    private func closeUnlessRefused(_ client: Client, _ reason: CloseReason) {
        let timeout = node.configuration.heartbeatTimeout
        registry.writes.check { [unowned self] isTaken in
            guard client.state == .open else { return }
            if isTaken, self.silenceCounts { client.close(reason) } else { client.setDeadline(after: timeout) }
        }
    }

    private func redisIsUp(_ server: ClientRegistry.Return) {
        setUp(true)
        if server.hadRefused { node.controlMailbox.post(.redisWrites(worker: index, isRefusing: false)) }
        reporter?.report()
        // A record may also have run out because its heartbeats could not be taken while Redis was away.
        let configuration = node.configuration
        let mayHaveExpired = server.hadRefused || server.away >= configuration.tokenTTL - configuration.heartbeatTimeout
        confirmRecords(restoring: !server.isSameRun || mayHaveExpired)
    }

    /// What was said on the node's channel meanwhile was not heard.
    private func subscriptionsRestored() {
        isSubscribed = true
        // The command connection's return confirms the records as well.
        if registry.isUp { confirmRecords(restoring: false) }
    }

    private func confirmRecords(restoring: Bool) {
        confirmation?.start(restoring: restoring, isSubscribed: isSubscribed) { [unowned self] in
            Array(self.clients.values)
        }
    }

    /// Redis refuses what renews records, or takes it again: then it was away from them for as long.
    private func writesChanged() {
        let refusal = registry.writes.refusal
        node.state.setWriteRefusal(refusal, worker: index)
        node.controlMailbox.post(.redisWrites(worker: index, isRefusing: refusal != nil))
        node.controlMailbox.post(.readinessChanged)
        if refusal == nil { confirmRecords(restoring: true) }
    }

    private func setUp(_ isUp: Bool) {
        // What was known of its writes went with the connection.
        if !isUp { node.state.setWriteRefusal(nil, worker: index) }
        node.state.setCommandsUp(isUp, worker: index)
        node.controlMailbox.post(.readinessChanged)
    }

    // MARK: Drain

    /// Whether new connections are turned away.
    var isDraining: Bool { drain != nil }

    private func startDrain(over time: Duration) {
        guard drain == nil else { return }
        drain = Drain(over: time, loop: loop)
        for connection in host.connections { (connection as? HttpConnection)?.closeWhenIdle() }
        drain?.start(self)
        // Those that the kernel has queued already get an answer, if need be when the drain has freed descriptors.
        listener?.closeWhenEmpty(patience: time + Client.closeTimeout) { [unowned self] in
            self.listener = nil
            self.drain?.check(self)
        }
    }

    /// What a drain waits for: connections, and the listener while connections may wait in its queue.
    var openConnectionCount: Int { clientConnectionCount + httpPlaces.count + (listener == nil ? 0 : 1) }

    func drained() {
        node.controlMailbox.post(.drained(worker: index))
    }
}
