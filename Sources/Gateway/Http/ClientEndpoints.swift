// What clients ask for: a token, a heartbeat, a WebSocket. Loop-confined; one for each worker.

import EventLoop
import Notices
import WebSocket

/// Routes requests and answers those for tokens and heartbeats.
final class ClientEndpoints: HttpHandler {
    private unowned(unsafe) let worker: Worker
    private let crossOrigin: CrossOrigin
    private let redisTimeout: Duration
    private var random = RandomPool()

    /// The worker owns its endpoints.
    init(worker: Worker) {
        self.worker = worker
        crossOrigin = CrossOrigin(allowed: worker.node.configuration.allowedOrigins)
        // A deadline is met up to one tick late.
        redisTimeout = worker.node.configuration.redisTimeout - DeadlineWheel<Connection>.tick
    }

    func handle(_ request: HttpRequestHead, on connection: HttpConnection) {
        let path = request.path
        guard path == "/ws" || path == "/heartbeat" || path == "/get/token" else {
            return connection.respond(.notFound, fields: [Answer.json], body: Answer.body("Not Found"))
        }
        guard request.method == .get || request.method == .head else {
            return refuseMethod(request, path, on: connection)
        }
        switch path {
        case "/heartbeat": heartbeat(request, on: connection)
        case "/get/token": issueToken(request, on: connection)
        default: Upgrade.begin(request, on: connection, worker: worker, crossOrigin: crossOrigin)
        }
    }

    private func refuseMethod(_ request: HttpRequestHead, _ path: String, on connection: HttpConnection) {
        if path != "/ws", CrossOrigin.isPreflight(request) {
            return connection.respond(.noContent, fields: crossOrigin.preflightFields(for: request))
        }
        connection.respond(
            .methodNotAllowed, fields: [Answer.json, Answer.allowsReading],
            body: Answer.body("Method Not Allowed"))
    }

    // MARK: GET /get/token

    private func issueToken(_ request: HttpRequestHead, on connection: HttpConnection) {
        let fields = [Answer.json, Answer.noStore] + crossOrigin.fields(for: request)
        if let issueKeys = worker.node.configuration.issueKeys, !issueKeys.allow(request) {
            worker.metrics.tokensRefused.add(1)
            let challenge = HttpResponseField("WWW-Authenticate", "Bearer")
            return connection.respond(
                .unauthorized, fields: fields + [challenge], body: Answer.issueKeyRequired)
        }
        guard let asked = TokenRequest(request) else {
            return connection.respond(.badRequest, fields: fields, body: Answer.invalidParameters)
        }
        guard request.method == .get else { return wouldIssueToken(connection, fields) }
        let address = ClientAddress.find(
            request, peer: connection.peer, trusted: worker.node.configuration.trustedProxies)
        guard worker.node.admission.mayHaveToken(address) else {
            worker.metrics.tokensLimited.add(1)
            // Each second brings at least one.
            return connection.respond(
                .tooManyRequests, fields: fields + [Answer.retryAfter(seconds: 1)], body: Answer.tooManyRequests)
        }
        if let seconds = worker.node.admission.takeToken() {
            worker.metrics.tokensOverRate.add(1)
            return connection.respond(
                .tooManyRequests, fields: fields + [Answer.retryAfter(seconds: seconds)], body: Answer.tooManyRequests)
        }
        let token = Token.mint(using: &random)
        awaitRedis(connection, fields)
        worker.registry.issue(
            token, identity: asked.identity, isLogin: asked.isLogin, allowedRooms: asked.allowedRooms
        ) { [worker] isRegistered in
            guard isRegistered else { return ClientEndpoints.unavailable(connection, fields, worker) }
            worker.metrics.tokensIssued.add(1)
            connection.respond(.ok, fields: fields, body: Answer.body(token.text))
        }
    }

    /// HEAD: what GET would say, as far as that is known without asking Redis. A token that nobody gets to see would be
    /// of no use, so none is made, and no limit is touched.
    private func wouldIssueToken(_ connection: HttpConnection, _ fields: [HttpResponseField]) {
        guard worker.registry.isConnected else { return ClientEndpoints.unavailable(connection, fields, worker) }
        connection.respond(.ok, fields: fields, body: Answer.body(Token.mint(using: &random).text))
    }

    /// The decoded query; nil if it is malformed.
    static func parameters(_ request: HttpRequestHead) -> QueryParameters? {
        do throws(QueryError) {
            return try request.queryParameters()
        } catch {
            return nil
        }
    }

    // MARK: GET /heartbeat

    private func heartbeat(_ request: HttpRequestHead, on connection: HttpConnection) {
        let fields = [Answer.json] + crossOrigin.fields(for: request)
        guard let query = ClientEndpoints.parameters(request) else {
            return connection.respond(.badRequest, fields: fields, body: Answer.invalidParameters)
        }
        guard let token = query.withFirst("token", { Token($0) }) ?? nil else {
            return tokenError(connection, fields)
        }
        awaitRedis(connection, fields)
        worker.registry.renew(token) { [unowned self] renewal in
            switch renewal {
            case .renewed:
                self.worker.metrics.heartbeats.add(1)
                connection.respond(.ok, fields: fields, body: "{}")
            case .unknownToken: self.tokenError(connection, fields)
            case .unavailable: ClientEndpoints.unavailable(connection, fields, self.worker)
            }
        }
    }

    private func tokenError(_ connection: HttpConnection, _ fields: [HttpResponseField]) {
        worker.metrics.heartbeatsRefused.add(1)
        connection.respond(.internalServerError, fields: fields, body: Answer.tokenError)
    }

    // MARK: Redis is away

    private func awaitRedis(_ connection: HttpConnection, _ fields: [HttpResponseField]) {
        connection.wait(atMost: redisTimeout) { [worker] reason in
            // A peer that has only shut down its side still reads the answer.
            if reason == .timeout { ClientEndpoints.unavailable(connection, fields, worker) }
        }
    }

    private static func unavailable(
        _ connection: HttpConnection, _ fields: [HttpResponseField], _ worker: Worker
    ) {
        worker.metrics.requestsUnavailable.add(1)
        connection.respond(
            .serviceUnavailable, fields: fields + [Answer.retryAfter(seconds: 1)], body: Answer.serviceUnavailable)
    }
}
