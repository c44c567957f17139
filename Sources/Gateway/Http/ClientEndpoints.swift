// What clients ask for: a token, a heartbeat, a WebSocket or an event stream. Loop-confined; one for each worker.

import EventLoop
import HTTP
import RedisSchema

/// Routes requests and answers those for tokens and heartbeats.
final class ClientEndpoints: HttpHandler {
    private unowned(unsafe) let worker: Worker
    private let crossOrigin: CrossOrigin
    private let redisTimeout: Duration
    /// On every answer of `/get/token` and `/heartbeat`: a client learns whether it has to send heartbeats.
    private let heartbeatField: HttpResponseField
    private var random = RandomPool()

    /// The worker owns its endpoints.
    init(worker: Worker) {
        self.worker = worker
        let configuration = worker.node.configuration
        crossOrigin = CrossOrigin(allowed: configuration.allowedOrigins)
        heartbeatField = HttpResponseField(Answer.heartbeatName, configuration.heartbeat.rawValue)
        // A deadline is met up to one tick late.
        redisTimeout = configuration.redisTimeout - Limits.deadlineTick
    }

    /// A page may read every answer, so that it can see what is wrong.
    func fieldsOfEveryAnswer(to request: HttpRequestHead?) -> [HttpResponseField] {
        crossOrigin.fields(for: request)
    }

    func refused(_ status: HttpStatus, _ detail: String, on connection: HttpConnection) {
        logRefusal(status, detail, on: connection)
    }

    func handle(_ request: HttpRequestHead, on connection: HttpConnection) {
        let path = request.path
        let transport: Transport? = path == "/ws" ? .webSocket : path == "/events" ? .events : nil
        let isKnown = transport != nil || path == "/heartbeat" || path == "/get/token"
        // A page that asks for a path that is not there is to see that, too. Browsers do not ask ahead of a
        // WebSocket.
        if transport != .webSocket, CrossOrigin.isPreflight(request), crossOrigin.isUnambiguous(request) {
            return connection.respond(.noContent, fields: crossOrigin.preflightFields(for: request))
        }
        guard isKnown else {
            return refuse(
                .notFound, [Answer.json], Answer.body("Not Found"),
                "there are /get/token, /heartbeat, /ws and /events",
                on: connection)
        }
        guard request.method == .get || request.method == .head else {
            return refuse(
                .methodNotAllowed, [Answer.json, Answer.allowsReading], Answer.body("Method Not Allowed"),
                "the method is neither GET nor HEAD", on: connection, isLast: transport != nil)
        }
        if let transport {
            Upgrade.begin(request, for: transport, on: connection, worker: worker, crossOrigin: crossOrigin)
        } else if path == "/heartbeat" {
            heartbeat(request, on: connection)
        } else {
            issueToken(request, on: connection)
        }
    }

    /// Refuses a request; its sender and the log get `detail`, which never holds a secret.
    private func refuse(
        _ status: HttpStatus, _ fields: [HttpResponseField], _ body: String, _ detail: String,
        on connection: HttpConnection, isLast: Bool = false
    ) {
        logRefusal(status, detail, on: connection)
        connection.respond(status, fields: fields + [Answer.detail(detail)], body: body, isLast: isLast)
    }

    private func logRefusal(_ status: HttpStatus, _ detail: String, on connection: HttpConnection) {
        let log = worker.node.log
        guard log.isEnabled(.debug) else { return }
        log.debug(
            "request refused",
            ["status": "\(status.rawValue)", "detail": detail, "peer": "\(connection.peer)"])
    }

    /// A request with two origins is no page's.
    private func refuseOrigins(
        of request: HttpRequestHead, _ fields: [HttpResponseField], on connection: HttpConnection
    ) -> Bool {
        guard !crossOrigin.isUnambiguous(request) else { return false }
        refuse(.forbidden, fields, Answer.originNotAllowed, RejectionReason.twoOrigins, on: connection)
        return true
    }

    // MARK: GET /get/token

    private func issueToken(_ request: HttpRequestHead, on connection: HttpConnection) {
        let fields = [Answer.json, Answer.noStore, heartbeatField]
        guard !refuseOrigins(of: request, fields, on: connection) else { return }
        if let issueKeys = worker.node.configuration.issueKeys, !issueKeys.allow(request) {
            worker.metrics.tokensRefused.add(1)
            let challenge = HttpResponseField("WWW-Authenticate", "Bearer")
            return refuse(
                .unauthorized, fields + [challenge], Answer.issueKeyRequired,
                "Authorization does not show an issue key of this node", on: connection)
        }
        let asked: TokenRequest
        do throws(ParameterFault) {
            asked = try TokenRequest(request)
        } catch {
            return refuse(.badRequest, fields, Answer.invalidParameters, error.detail, on: connection)
        }
        guard request.method == .get else { return wouldIssueToken(connection, fields) }
        let address = ClientAddress.find(
            request, peer: connection.peer, trusted: worker.node.configuration.trustedProxies)
        guard worker.node.admission.mayHaveToken(address) else {
            worker.metrics.tokensLimited.add(1)
            // Each second brings at least one.
            return refuse(
                .tooManyRequests, fields + [Answer.retryAfter(seconds: 1)], Answer.tooManyRequests,
                "this address has asked for too many tokens", on: connection)
        }
        if let seconds = worker.node.admission.takeToken() {
            worker.metrics.tokensOverRate.add(1)
            return refuse(
                .tooManyRequests, fields + [Answer.retryAfter(seconds: seconds)], Answer.tooManyRequests,
                "the node issues no more tokens in this second", on: connection)
        }
        let token = Token.mint(using: &random)
        awaitRedis(connection, fields)
        worker.shards.of(token).registry.issue(
            token, identity: asked.identity, isLogin: asked.isLogin, allowedRooms: asked.allowedRooms
        ) { [unowned self] isRegistered in
            guard isRegistered else { return self.unavailable(connection, fields) }
            self.worker.metrics.tokensIssued.add(1)
            connection.respond(.ok, fields: fields, body: Answer.body(token.text))
        }
    }

    /// HEAD: what GET would say, as far as that is known without asking Redis. The token would be
    /// invisible, so Redis gets no record of it, and no limit counts it.
    private func wouldIssueToken(_ connection: HttpConnection, _ fields: [HttpResponseField]) {
        guard worker.shards.any.registry.isUp else { return unavailable(connection, fields) }
        connection.respond(.ok, fields: fields, body: Answer.body(Token.mint(using: &random).text))
    }

    // MARK: GET /heartbeat

    private func heartbeat(_ request: HttpRequestHead, on connection: HttpConnection) {
        let fields = [Answer.json, heartbeatField]
        guard !refuseOrigins(of: request, fields, on: connection) else { return }
        let text: String
        do throws(ParameterFault) {
            text = try HeartbeatRequest.token(of: request)
        } catch {
            return refuse(.badRequest, fields, Answer.invalidParameters, error.detail, on: connection)
        }
        guard let token = Token(text) else {
            return tokenError(
                connection, fields, text.isEmpty ? "no token" : "the token is not of the form of one")
        }
        awaitRedis(connection, fields)
        worker.shards.of(token).registry.renew(token) { [unowned self] renewal in
            switch renewal {
            case .renewed:
                self.worker.metrics.heartbeats.add(1)
                connection.respond(.ok, fields: fields, body: "{}")
            case .unknownToken: self.tokenError(connection, fields, "the token is unknown or has expired")
            case .unavailable: self.unavailable(connection, fields)
            }
        }
    }

    private func tokenError(_ connection: HttpConnection, _ fields: [HttpResponseField], _ detail: String) {
        worker.metrics.heartbeatsRefused.add(1)
        refuse(.internalServerError, fields, Answer.tokenError, detail, on: connection)
    }

    // MARK: Redis is away

    private func awaitRedis(_ connection: HttpConnection, _ fields: [HttpResponseField]) {
        connection.wait(atMost: redisTimeout) { [unowned self] reason in
            // A peer that has only shut down its side still reads the answer.
            if reason == .timeout { self.unavailable(connection, fields) }
        }
    }

    private func unavailable(_ connection: HttpConnection, _ fields: [HttpResponseField]) {
        worker.metrics.requestsUnavailable.add(1)
        refuse(
            .serviceUnavailable, fields + [Answer.retryAfter(seconds: 1)], Answer.serviceUnavailable,
            "this node cannot use Redis now", on: connection)
    }
}
