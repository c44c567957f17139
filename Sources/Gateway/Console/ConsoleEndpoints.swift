// The console under /console/ of the admin listener: its page, and what the page asks for. Confined to the
// control loop.

import ConsolePage
import EventLoop
import HTTP
import RedisSchema

/// Routes the console's requests. Anyone who reaches the listener may look; anything else needs the admin
/// key.
///
///     GET  /console/…                    the page
///     GET  /console/api/cluster          all nodes' reports
///     POST /console/api/revoke           {"token":…} → {}
///     POST /console/api/admit            {} → {"token":…,"beatMs":…}, a token to watch with
///     POST /console/api/beat             {"token":…} → {}
///     GET  /console/api/watch?token=…&roomIds=…     a WebSocket
final class ConsoleEndpoints {
    private static let root = "/console"

    /// Only resources of this listener, and in no frame.
    private static let protection = [
        HttpResponseField(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        HttpResponseField("Referrer-Policy", "no-referrer"),
        HttpResponseField("Cross-Origin-Resource-Policy", "same-origin"),
        HttpResponseField("Cross-Origin-Opener-Policy", "same-origin"),
    ]
    private static let apiFields = [Answer.json, Answer.noStore] + protection

    private let node: NodeContext
    private let reader: ClusterView
    private let actions: ConsoleActions
    private let gate: AdminKeyGate

    /// - Parameter address: where the node's clients connect.
    init(node: NodeContext, address: String, gate: AdminKeyGate, link: ConsoleLink) {
        self.node = node
        self.gate = gate
        reader = ClusterView(node: node, address: address, link: link)
        actions = ConsoleActions(node: node, link: link)
    }

    /// Whether a path is the console's.
    static func serves(_ path: String) -> Bool { path == root || path.hasPrefix(root + "/") }

    func handle(_ request: HttpRequestHead, path: String, on connection: HttpConnection) {
        guard path != ConsoleEndpoints.root else {
            let location = HttpResponseField("Location", ConsoleEndpoints.root + "/")
            return connection.respond(.permanentRedirect, fields: [location] + ConsoleEndpoints.protection)
        }
        switch path.dropFirst(ConsoleEndpoints.root.count + 1) {
        case "api/cluster": if isMethod(.get, request, connection) { cluster(connection) }
        case "api/watch": if isMethod(.get, request, connection) { watch(request, connection) }
        case "api/revoke": act(request, connection) { $0.revoke($1, onDone: $2) }
        case "api/admit": act(request, connection) { actions, _, onDone in actions.admit(onDone: onDone) }
        case "api/beat": act(request, connection) { $0.beat($1, onDone: $2) }
        case let name: if isMethod(.get, request, connection) { file(String(name), request, connection) }
        }
    }

    private func isMethod(_ method: HttpMethod, _ request: HttpRequestHead, _ connection: HttpConnection)
        -> Bool
    {
        if request.method == method || (method == .get && request.method == .head) { return true }
        let allow = HttpResponseField("Allow", method == .get ? "GET, HEAD" : "POST")
        refuse(.methodNotAllowed, "Method Not Allowed", connection, [allow])
        return false
    }

    private func refuse(
        _ status: HttpStatus, _ message: String, _ connection: HttpConnection,
        _ fields: [HttpResponseField] = []
    ) {
        connection.respond(status, fields: ConsoleEndpoints.apiFields + fields, body: Answer.body(message))
    }

    private func refuse(_ refusal: AdminKeyGate.Refusal, _ connection: HttpConnection) {
        refuse(refusal.status, refusal.message, connection, refusal.fields)
    }

    // MARK: To look

    private func file(_ name: String, _ request: HttpRequestHead, _ connection: HttpConnection) {
        guard let file = PageFile.at(name) else { return refuse(.notFound, "Not Found", connection) }
        // Validated each time and sent only if it has changed: a page never loads a script of another
        // version.
        let fields = [
            HttpResponseField("Content-Type", file.contentType), HttpResponseField("ETag", file.tag),
            HttpResponseField("Cache-Control", "no-cache"),
        ]
        let isKnown = request.fields.items(of: "If-None-Match").contains { $0 == file.tag || $0 == "*" }
        connection.respond(
            isKnown ? .notModified : .ok, fields: fields + ConsoleEndpoints.protection,
            body: isKnown ? "" : String(decoding: file.bytes, as: UTF8.self))
    }

    private func cluster(_ connection: HttpConnection) {
        connection.wait(atMost: node.configuration.consolePatience) { _ in }
        reader.read { [node] cluster in
            let hasActions = node.configuration.adminKey != nil
            let json = ClusterJson.bytes(cluster, nodeID: node.configuration.nodeId, hasActions: hasActions)
            connection.respond(
                .ok, fields: ConsoleEndpoints.apiFields, body: String(decoding: json, as: UTF8.self))
        }
    }

    // MARK: To act

    private typealias Action = (ConsoleActions, ConsoleRequest, @escaping (ConsoleActions.Outcome) -> Void)
        ->
        Void

    private func act(_ request: HttpRequestHead, _ connection: HttpConnection, _ action: Action) {
        if let refusal = gate.refusal(of: request, on: connection) {
            return refuse(refusal, connection)
        }
        guard let body = ConsoleRequest(connection.requestBody) else {
            return connection.respond(
                .badRequest, fields: ConsoleEndpoints.apiFields, body: Answer.invalidParameters)
        }
        connection.wait(atMost: node.configuration.consolePatience) { _ in }
        action(actions, body) { outcome in
            connection.respond(outcome.status, fields: ConsoleEndpoints.apiFields, body: outcome.body)
        }
    }

    /// The token is the credential, as at `/ws`: a browser's WebSocket cannot send a key. `admit` must have
    /// issued it to a page with the key.
    private func watch(_ request: HttpRequestHead, _ connection: HttpConnection) {
        guard gate.hasKey else { return refuse(AdminKeyGate.noKey, connection) }
        guard SameOrigin.holds(for: request) else { return refuse(AdminKeyGate.otherOrigin, connection) }
        do throws(ParameterFault) {
            let query = try RequestQuery.parameters(of: request, reading: ["token", "roomIds"])
            guard let token = query.withFirst("token", { Token($0) }) ?? nil, actions.isPage(token) else {
                return refuse(.forbidden, "Not a token of this console", connection)
            }
        } catch {
            return connection.respond(
                .badRequest, fields: ConsoleEndpoints.apiFields + [Answer.detail(error.detail)],
                body: Answer.invalidParameters)
        }
        actions.watch(request, on: connection)
    }
}

extension Configuration {
    /// How long a request of the console may wait. The link to Redis fails earlier.
    var consolePatience: Duration { redisTimeout + Limits.consoleConnectTime }
}
