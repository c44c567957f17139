// What operators and their tools ask for. Runs on the control loop.

import EventLoop
import HTTP
import JSON

/// Liveness, readiness, metrics, publishing, and the console.
final class AdminEndpoints: HttpHandler {
    private let node: NodeContext
    private let console: ConsoleEndpoints?
    private let publish: PublishEndpoint
    private var hostLog: RateLimitedLog

    /// - Parameter address: where the node's clients connect.
    init(node: NodeContext, address: String, loop: EventLoop) {
        self.node = node
        hostLog = RateLimitedLog(node.log)
        let link = ConsoleLink(node: node, loop: loop)
        let gate = AdminKeyGate(node: node)
        publish = PublishEndpoint(node: node, gate: gate, link: link)
        console =
            node.configuration.hasConsole
            ? ConsoleEndpoints(node: node, address: address, gate: gate, link: link) : nil
    }

    func maximumBodyBytes(of request: HttpRequestHead) -> Int {
        if request.path == PublishEndpoint.path { return Limits.publishBodyBytes }
        return console != nil && ConsoleEndpoints.serves(request.path) ? Limits.consoleBodyBytes : 0
    }

    func fieldsOfEveryAnswer(to request: HttpRequestHead?) -> [HttpResponseField] {
        [Answer.noSniff]
    }

    func handle(_ request: HttpRequestHead, on connection: HttpConnection) {
        let path = request.path
        guard node.configuration.adminHosts.allow(request) else { return refuseHost(request, connection) }
        if let console, ConsoleEndpoints.serves(path) {
            return console.handle(request, path: path, on: connection)
        }
        if path == PublishEndpoint.path { return publish.handle(request, on: connection) }
        guard path == "/healthz" || path == "/readyz" || path == "/metrics" else {
            return connection.respond(.notFound, fields: [Answer.json], body: Answer.body("Not Found"))
        }
        guard request.method == .get || request.method == .head else {
            return connection.respond(
                .methodNotAllowed, fields: [Answer.json, Answer.allowsReading],
                body: Answer.body("Method Not Allowed"))
        }
        switch path {
        case "/healthz": connection.respond(.ok, fields: [Answer.json], body: AdminEndpoints.status("ok"))
        case "/readyz": readiness(connection)
        default:
            let metrics = PrometheusText(
                node.metrics, state: node.state, nodeID: node.configuration.nodeId,
                droppedLogLines: node.log.droppedCount)
            connection.respond(.ok, fields: [Answer.plainText], body: metrics.text)
        }
    }

    /// The listener is asked by a name that is not its own: by a page, perhaps, whose own name leads here
    /// now.
    private func refuseHost(_ request: HttpRequestHead, _ connection: HttpConnection) {
        let host = request.fields.value(of: "Host") ?? ""
        hostLog.warning("admin request for an unknown host", ["host": host, "ip": "\(connection.peer)"])
        connection.respond(
            .misdirectedRequest, fields: [Answer.json],
            body: Answer.body("Unknown host: ask by address, as localhost, or by a name of --admin-hosts"))
    }

    private func readiness(_ connection: HttpConnection) {
        let reasons = node.state.reasonsNotReady
        guard !reasons.isEmpty else {
            let warnings = node.state.warnings
            let body = Answer.object {
                $0.member("status", "ready")
                if !warnings.isEmpty { $0.member("warnings", warnings) }
            }
            return connection.respond(.ok, fields: [Answer.json], body: body)
        }
        let body = Answer.object {
            $0.member("status", "not ready")
            $0.member("reasons", reasons)
        }
        connection.respond(
            .serviceUnavailable, fields: [Answer.json, Answer.retryAfter(seconds: 1)], body: body)
    }

    private static func status(_ word: String) -> String { Answer.object { $0.member("status", word) } }
}
