// What operators and their tools ask for. Runs on the control loop.

import Notices
import WebSocket

/// Liveness, readiness and metrics.
final class AdminEndpoints: HttpHandler {
    private let node: NodeContext

    init(node: NodeContext) {
        self.node = node
    }

    func handle(_ request: HttpRequestHead, on connection: HttpConnection) {
        let path = request.path
        guard path == "/healthz" || path == "/readyz" || path == "/metrics" else {
            return connection.respond(.notFound, fields: [Answer.json], body: Answer.body("Not Found"))
        }
        guard request.method == .get else {
            return connection.respond(
                .methodNotAllowed, fields: [Answer.json, HttpResponseField("Allow", "GET")],
                body: Answer.body("Method Not Allowed"))
        }
        switch path {
        case "/healthz": connection.respond(.ok, fields: [Answer.json], body: #"{"status":"ok"}"#)
        case "/readyz": readiness(connection)
        default:
            let metrics = PrometheusText(
                node.metrics, state: node.state, nodeID: node.configuration.nodeId)
            connection.respond(.ok, fields: [Answer.plainText], body: metrics.text)
        }
    }

    private func readiness(_ connection: HttpConnection) {
        let reasons = node.state.reasonsNotReady
        guard !reasons.isEmpty else {
            return connection.respond(.ok, fields: [Answer.json], body: #"{"status":"ready"}"#)
        }
        var body = Array(#"{"status":"not ready","reasons":["#.utf8)
        for (index, reason) in reasons.enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            NoticeEnvelope.appendString(reason, to: &body)
        }
        body += "]}".utf8
        connection.respond(
            .serviceUnavailable, fields: [Answer.json, Answer.retryAfter(seconds: 1)],
            body: String(decoding: body, as: UTF8.self))
    }
}
