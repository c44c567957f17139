// A request for a WebSocket or an event stream, from its first check to the client or the refusal.
// Loop-confined.

import EventLoop
import HTTP
import Network
import RedisSchema
import WebSocket

/// Checks a handshake, registers its connection, waits until its rooms are subscribed, and makes the client.
final class Upgrade {
    let connectionID: UInt64
    private(set) var pendingJoin: PendingJoin?
    /// A newer connection has registered the token meanwhile: this one opens only to be closed with that
    /// reason.
    var isReplaced = false

    let token: Token
    private let opening: Opening
    private let roomIds: [RoomId]
    /// For each room the position behind which the client wants what it has missed, if it has one; nil if it
    /// has not opted in.
    private let since: [HistoryPosition?]?
    /// Whether the feed has been asked for what was missed.
    private var isResuming = false
    private var registration: Registration?
    private var lossCount: UInt32 = 0
    private let address: IPAddress
    private let connectedAt = WallClock.unixMilliseconds
    private let connection: HttpConnection
    private unowned(unsafe) let worker: Worker
    private var isOver = false

    /// Why a handshake goes no further, with its answer.
    private struct Refusal: Error {
        let reason: RejectionReason
        let status: HttpStatus
        let message: String
        var fields: [HttpResponseField] = []
        /// What the message does not say; nil for what the reason says.
        var detail: String?
    }

    /// Makes the checks of a handshake in their order, and starts it or refuses it.
    static func begin(
        _ request: HttpRequestHead, for transport: Transport, on connection: HttpConnection, worker: Worker,
        crossOrigin: CrossOrigin
    ) {
        do throws(Refusal) {
            let opening: Opening =
                switch transport {
                case .webSocket:
                    .webSocket(
                        try checkHandshake(
                            request,
                            acceptsCompression: worker.node.configuration.compressionMinimumBytes != nil))
                case .events:
                    .events(
                        token: BearerKey.shown(by: request).map { String(decoding: $0, as: UTF8.self) },
                        fields: crossOrigin.fields(for: request))
                }
            guard crossOrigin.mayConnect(request) else {
                throw Refusal(
                    reason: .originNotAllowed, status: .forbidden, message: "Origin not allowed",
                    detail: crossOrigin.isUnambiguous(request) ? nil : RejectionReason.twoOrigins)
            }
            let (token, roomIds, since) = try checkParameters(request, opening)
            guard let token else { throw tokenError("the token is not of the form of one") }
            guard request.method == .get else { return try wouldOpen(connection, worker) }
            let address = ClientAddress.find(
                request, peer: connection.peer, trusted: worker.node.configuration.trustedProxies)
            try admit(address, worker)
            Upgrade(
                opening, token: token, roomIds: roomIds, since: since, address: address,
                connection: connection, worker: worker
            ).start()
        } catch {
            refuse(error, on: connection, worker)
        }
    }

    private static func checkHandshake(
        _ request: HttpRequestHead, acceptsCompression: Bool
    ) throws(Refusal) -> WebSocketHandshake {
        do throws(HandshakeError) {
            return try WebSocketHandshake(request, acceptsCompression: acceptsCompression)
        } catch {
            let version = HttpResponseField("Sec-WebSocket-Version", WebSocketHandshake.version)
            throw Refusal(
                reason: .invalidHandshake, status: .badRequest, message: "Invalid WebSocket handshake",
                fields: error == .unsupportedVersion ? [version] : [], detail: "\(error)")
        }
    }

    /// The token (nil if it has not even the form of one), the rooms, and where the client stands in them.
    private static func checkParameters(
        _ request: HttpRequestHead, _ opening: Opening
    ) throws(Refusal) -> (Token?, [RoomId], since: [HistoryPosition?]?) {
        let query: QueryParameters
        do throws(ParameterFault) {
            query = try RequestQuery.parameters(of: request, reading: ["token", "roomIds", "since"])
        } catch {
            throw invalid(error.detail)
        }
        let token: Token?
        if query.withFirst("token", { !$0.isEmpty }) == true {
            token = query.withFirst("token") { Token($0) } ?? nil
        } else if let offered = opening.offeredToken, !offered.isEmpty {
            token = Token(String(offered))
        } else {
            throw Refusal(reason: .missingToken, status: .unauthorized, message: "Missing token")
        }
        let rooms = query.withFirst("roomIds") { RoomList.first(Limits.connectionRoomCount, of: $0) }
        guard let roomIds = rooms ?? [] else { throw invalid(RoomList.fault("roomIds")) }
        guard !roomIds.isEmpty else {
            throw Refusal(reason: .missingRoom, status: .unauthorized, message: "Missing room")
        }
        return (token, roomIds, try since(request, query, opening, roomCount: roomIds.count))
    }

    /// What an `EventSource` has got wins over what its page has asked for, as it repeats its URL.
    private static func since(
        _ request: HttpRequestHead, _ query: QueryParameters, _ opening: Opening, roomCount: Int
    ) throws(Refusal) -> [HistoryPosition?]? {
        if case .events = opening, request.fields.count(of: "Last-Event-ID") > 0 {
            let ids = request.fields.values(of: "Last-Event-ID")
            let positions = SinceList.positions(lastEventId: ids[0], roomCount: roomCount)
            guard ids.count == 1, let positions else { throw invalid(SinceList.lastEventIdFault) }
            return positions
        }
        let since = query.withFirst("since") { SinceList.positions($0, roomCount: roomCount) }
        guard let positions = since else { return nil }
        guard let positions else { throw invalid(SinceList.fault) }
        return positions
    }

    /// HEAD: what GET would say, as far as that is known without asking Redis, which would make the token's
    /// connection another one.
    private static func wouldOpen(_ connection: HttpConnection, _ worker: Worker) throws(Refusal) {
        guard !worker.isDraining else { throw unavailable(.draining, retryAfterSeconds: 1) }
        guard worker.shards.any.registry.isUp else { throw upgradeFailed(.upgradeFailed) }
        connection.respond(.ok, fields: Opening.eventFields, isEndless: true)
    }

    private static func invalid(_ detail: String) -> Refusal {
        Refusal(
            reason: .invalidParameters, status: .badRequest, message: "Invalid request parameters",
            detail: detail)
    }

    private static func tokenError(_ detail: String? = nil) -> Refusal {
        Refusal(reason: .tokenError, status: .internalServerError, message: "Token error", detail: detail)
    }

    private static func upgradeFailed(_ reason: RejectionReason) -> Refusal {
        Refusal(reason: reason, status: .internalServerError, message: "WebSocket upgrade failed")
    }

    /// Takes a place among the node's connections.
    private static func admit(_ address: IPAddress, _ worker: Worker) throws(Refusal) {
        guard !worker.isDraining else { throw unavailable(.draining, retryAfterSeconds: 1) }
        guard worker.node.state.admitClient() else {
            throw unavailable(.tooManyConnections, retryAfterSeconds: 5)
        }
        let verdict = worker.node.admission.admit(address)
        if verdict != .admitted { worker.node.state.releaseClient() }
        switch verdict {
        case .admitted: break
        case .tooManyOfAddress:
            throw Refusal(
                reason: .tooManyOfAddress, status: .tooManyRequests, message: "Too many connections",
                fields: [Answer.retryAfter(seconds: 5)])
        case .tooManyHandshakes(let seconds):
            throw unavailable(.tooManyHandshakes, retryAfterSeconds: seconds)
        }
    }

    private static func unavailable(_ reason: RejectionReason, retryAfterSeconds: Int) -> Refusal {
        Refusal(
            reason: reason, status: .serviceUnavailable, message: "service unavailable",
            fields: [Answer.retryAfter(seconds: retryAfterSeconds)])
    }

    private static func refuse(_ refusal: Refusal, on connection: HttpConnection, _ worker: Worker) {
        worker.metrics.reject(refusal.reason)
        let detail = refusal.detail ?? refusal.reason.detail
        worker.node.log.debug(
            "handshake refused",
            ["reason": "\(refusal.reason)", "detail": detail, "peer": "\(connection.peer)"])
        // A client that goes on opens a connection of its own for the next attempt; this one has no further
        // use.
        connection.respond(
            // The last field is for handshakes of the console, whose listener says so everywhere.
            refusal.status,
            fields: [Answer.json] + refusal.fields + [Answer.detail(detail), Answer.noSniff],
            body: Answer.body(refusal.message), isLast: true)
    }

    private init(
        _ opening: Opening, token: Token, roomIds: [RoomId], since: [HistoryPosition?]?,
        address: IPAddress, connection: HttpConnection, worker: Worker
    ) {
        self.opening = opening
        self.token = token
        self.roomIds = roomIds
        self.since = since
        self.address = address
        self.connection = connection
        self.worker = worker
        connectionID = worker.connections.makeConnectionID()
    }

    private func start() {
        worker.connections.begin(self)
        let registry = worker.shards.of(token).registry
        let lossCount = registry.lossCount
        let timeout = worker.node.configuration.redisTimeout - Limits.deadlineTick
        connection.wait(atMost: timeout) { [self] reason in
            fail(reason == .timeout ? .upgradeFailed : .abandoned)
        }
        registry.attach(
            token, connectionID: connectionID, connectedAt: connectedAt, address: address.description,
            rooms: roomIds
        ) { [self] in attached($0, lossCount: lossCount) }
    }

    /// - Parameter lossCount: how often Redis had been lost when it was asked.
    private func attached(_ attachment: ClientRegistry.Attachment, lossCount: UInt32) {
        guard !isOver else { return }
        switch attachment {
        case .attached(let registration):
            // The older connection could not be told, and both would live on.
            if registration.isPending, worker.node.state.publishRefusal != nil {
                return fail(.publishRefused)
            }
            let join = worker.rooms.prepare(roomIds)
            pendingJoin = join
            self.registration = registration
            self.lossCount = lossCount
            if join.isRefused {
                fail(.roomRefused)
            } else if let since {
                resume(since)
                join.onRefused = { [self] in fail(.roomRefused) }
            } else if join.isReady {
                complete(registration, join)
            } else {
                join.onReady = { [self] in complete(registration, join) }
                join.onRefused = { [self] in fail(.roomRefused) }
            }
        case .roomRefused: fail(.roomRefused)
        case .unknownToken: fail(.tokenError)
        case .roomNotAllowed: fail(.roomNotAllowed)
        case .unavailable: fail(.upgradeFailed)
        }
    }

    /// Asks the feed, which answers when the rooms are subscribed and what was missed is known.
    private func resume(_ since: [HistoryPosition?]) {
        isResuming = true
        let rooms = zip(roomIds, since).map { (room: $0, since: $1) }
        worker.tellFeed(.resume(ResumeRequest(id: resumeId, rooms: rooms)))
    }

    private var resumeId: ResumeId { ResumeId(worker: worker.index, connection: connectionID) }

    /// The feed has answered.
    func resumed(_ answers: [RoomAnswer<Message>]) {
        guard !isOver, let registration, let pendingJoin else { return }
        isResuming = false
        complete(registration, pendingJoin, answers)
    }

    /// Registered and subscribed: the answer leaves, and with it begins what the client is promised. Only now
    /// is an older connection told that it is replaced: had this one failed, the user would have had none.
    ///
    /// - Parameter answers: where the histories of the rooms go on, if the client has opted in.
    private func complete(
        _ registration: Registration, _ join: PendingJoin, _ answers: [RoomAnswer<Message>]? = nil
    ) {
        guard !isOver else { return }
        isOver = true
        join.onRefused = nil
        worker.connections.finish(self)
        let response = opening.response(date: worker.host.dateLine)
        var rest = connection.input
        let client = opening.memberType.init(
            takingOver: connection, worker: worker, encoding: opening.encoding, isOptedIn: answers != nil,
            token: token, connectionID: connectionID, connectedAt: connectedAt, address: address,
            record: registration.record)
        if let answers { client.begin(response, answers) } else { client.send(.copying(response)) }
        worker.metrics.handshakes[opening.encoding.transport.rawValue].add(1)
        if case .events = opening { worker.node.state.eventStreamBegins() }
        worker.connections.add(client, join, resumed: answers ?? [])
        if isReplaced { client.close(.replaced) }
        if registration.isPending, client.isOpen {
            worker.shards.of(client.token).heartbeats.takeOver(client, since: lossCount)
        }
        if let client = client as? WebSocketClient, !rest.isEmpty {
            rest.withUnsafeMutableBytes { client.receive($0) }
        }
    }

    private func fail(_ reason: RejectionReason) {
        guard !isOver else { return }
        isOver = true
        worker.connections.finish(self)
        if isResuming { worker.tellFeed(.cancelResume(resumeId)) }
        if let pendingJoin { worker.rooms.cancel(pendingJoin) }
        worker.connections.releasePlace(of: address)
        let refusal =
            switch reason {
            case .tokenError: Upgrade.tokenError()
            case .roomNotAllowed: Refusal(reason: reason, status: .forbidden, message: "Room not allowed")
            default: Upgrade.upgradeFailed(reason)
            }
        Upgrade.refuse(refusal, on: connection, worker)
    }

    /// The token was revoked while the handshake was under way: it ends as if the token had never been
    /// known.
    func revoke() { fail(.tokenError) }
}
