// The connections of one worker: requests, handshakes on their way, and members. Loop-confined.

import EventLoop
import HTTP
import Network
import RedisSchema

/// Takes connections in, knows the members by their tokens, and counts who is still there.
final class Connections {
    private unowned(unsafe) let worker: Worker
    private let host: ConnectionHost
    private let node: NodeContext
    private let metrics: WorkerMetrics
    private let places: HttpPlaces
    private let limits: HttpLimits
    private var listener: Listener?
    private var endpoints: ClientEndpoints?
    /// The open members by token. Those that are closing are only connections.
    private(set) var members = TokenTable<Member>()
    private var memberConnectionCount = 0
    private var pendingUpgrades: [UInt64: Upgrade] = [:]
    /// What opted-in members have still to get of what they missed, by their connections' ids.
    var catchingUp: [UInt64: CatchUp] = [:]
    private var lastConnectionID: UInt64
    /// A connection is over, or the listener.
    var onDeparture: (() -> Void)?

    /// The worker owns its connections.
    init(worker: Worker) {
        self.worker = worker
        host = worker.host
        node = worker.node
        metrics = worker.metrics
        limits = HttpLimits(node.configuration)
        places = HttpPlaces(
            maximumCount: node.state.maximumHttpConnectionCount(ofWorker: worker.index),
            grace: Limits.unsettledTime)
        // Unique over restarts of a node that keeps its id: the records of its old connections are still in
        // Redis.
        lastConnectionID = UInt64.random(in: 0..<(1 << 62))
    }

    // MARK: Taking in

    /// Begins to accept.
    func start(_ socket: ListeningSocket) {
        endpoints = ClientEndpoints(worker: worker)
        var acceptLog = RateLimitedLog(node.log)
        listener = Listener(
            socket, on: host.loop,
            onError: { [metrics, places, node, index = worker.index] in
                // The limit may have been lowered, or libraries hold more than is set aside for them.
                if !places.makeRoom() { node.askForRoom(besides: index) }
                metrics.acceptPauses.add(1)
                acceptLog.warning("accept failed", ["reason": "\($0)"])
            },
            // No one is turned away who can be served in a moment.
            room: { [places] in places.room() },
            onAccept: { [unowned self] socket, peer in
                self.serve(
                    Handover(socket: socket, peer: IPAddress(high: peer.high, low: peer.low), bytes: []))
            })
        places.onRoom = { [unowned self] in self.listener?.resume() }
    }

    func serve(_ accepted: Handover) {
        let socket = accepted.socket
        guard let endpoints, places.take() else {
            // Out of room even for an answer that waits: say so if the socket takes it at once, and close.
            let fields = endpoints?.fieldsOfEveryAnswer(to: nil) ?? []
            _ = ServiceUnavailable.response(fields: fields, date: host.dateLine).withUnsafeBytes {
                socket.write($0)
            }
            socket.close()
            return
        }
        let connection = HttpConnection(
            socket: socket, peer: accepted.peer, host: host, limits: limits, places: places,
            handler: endpoints
        ) { [unowned self] in self.httpConnectionsChanged() }
        httpConnectionsChanged()
        connection.start(with: accepted.bytes)
        if worker.isDraining { connection.closeWhenIdle() }
    }

    /// Closes a connection that waits for its peer, if there is one: another loop is out of descriptors.
    func makeRoom() { places.makeRoom() }

    private func httpConnectionsChanged() {
        metrics.httpConnections.set(UInt64(places.count))
        onDeparture?()
    }

    /// Takes no new connections: those that the kernel has queued already get an answer, if need be when
    /// others have freed descriptors.
    func close(patience: Duration) {
        for connection in host.connections { (connection as? HttpConnection)?.closeWhenIdle() }
        listener?.closeWhenEmpty(patience: patience) { [unowned self] in
            self.listener = nil
            self.onDeparture?()
        }
    }

    /// What a drain waits for: connections, and the listener while connections may wait in its queue.
    var openCount: Int { memberConnectionCount + places.count + (listener == nil ? 0 : 1) }

    // MARK: Handshakes

    func makeConnectionID() -> UInt64 {
        lastConnectionID += 1
        return lastConnectionID
    }

    /// A handshake asks Redis from here on; it is known by its connection's id, should it be replaced
    /// meanwhile.
    func begin(_ upgrade: Upgrade) {
        pendingUpgrades[upgrade.connectionID] = upgrade
    }

    func finish(_ upgrade: Upgrade) {
        pendingUpgrades[upgrade.connectionID] = nil
    }

    /// The entries of handshakes that wait for the subscription of their rooms.
    var pendingJoins: [PendingJoin] { pendingUpgrades.values.compactMap(\.pendingJoin) }

    /// The feed has answered a connection that resumes: what the turn has brought so far comes before it.
    func resumed(_ connection: UInt64, _ answers: [RoomAnswer<Message>]) {
        worker.turn.flush()
        if let upgrade = pendingUpgrades[connection] { return upgrade.resumed(answers) }
        catchingUp[connection]?.resumed(answers)
    }

    // MARK: Members

    /// Takes in the member of a finished handshake.
    ///
    /// - Parameter answers: what it has got of its rooms' histories, if it has opted in.
    func add(_ member: Member, _ pending: PendingJoin, resumed answers: [RoomAnswer<Message>] = []) {
        if let other = members[member.token] {
            // Redis has said which of them is the newer.
            guard other.isBefore(member) else {
                worker.rooms.cancel(pending)
                member.close(.replaced)
                return
            }
            other.close(.replaced)
        }
        members.insert(member)
        metrics.clients[member.encoding.transport.rawValue].add(1)
        member.enter(pending, answers)
        member.lossCountAtJoin = worker.feedLossCount
        member.beginDeadlines()
    }

    /// The member gets nothing more; its connection may live a little for the closing handshake.
    func memberLeft(_ member: Member, _ reason: CloseReason) {
        member.leaveRooms(worker.rooms)
        if members.remove(member) { metrics.clients[member.encoding.transport.rawValue].subtract(1) }
        metrics.close(reason)
        guard node.log.isEnabled(.debug) else { return }
        node.log.debug(
            "client closed", ["token": "\(member.token)", "ip": "\(member.address)", "code": "\(reason)"])
    }

    /// A member takes a connection over: counted before that one is gone, as a drain waits for the last of
    /// both.
    func memberBegins(_ encoding: Encoding) {
        memberConnectionCount += 1
        if encoding == .webSocketDeflated { node.state.addCompressedClient() }
    }

    /// A member's socket is closed: its place is free now, not when its closing handshake began.
    func memberEnded(_ member: Member) {
        memberConnectionCount -= 1
        if member.encoding == .webSocketDeflated { node.state.removeCompressedClient() }
        releasePlace(of: member.address)
        onDeparture?()
    }

    /// A connection that was admitted is over.
    func releasePlace(of address: IPAddress) {
        node.state.releaseClient()
        node.admission.release(address)
    }

    /// Another connection has taken the token over.
    func replaced(_ token: Token, _ connection: UInt64) {
        if let member = members[token], member.connectionID == connection { member.close(.replaced) }
        pendingUpgrades[connection]?.isReplaced = true
    }

    /// The token's record was deleted.
    func revoked(_ token: Token) {
        members[token]?.close(.revoked)
        for upgrade in pendingUpgrades.values where upgrade.token == token { upgrade.revoke() }
    }
}
