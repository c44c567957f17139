// The check of requests that change something. Confined to the control loop.

import EventLoop
import HTTP

/// Lets in what is a POST of JSON, shows the admin key, and does not come from another site's page.
final class AdminKeyGate {
    /// Why a request is not let in.
    struct Refusal {
        let status: HttpStatus
        let message: String
        var fields: [HttpResponseField] = []
    }

    static let noKey = Refusal(
        status: .forbidden, message: "Start the gateway with --admin-key to turn this on")
    static let otherOrigin = Refusal(status: .forbidden, message: "Origin not allowed")

    private let key: BearerKey?
    private var log: RateLimitedLog
    private var attempts = KeyAttempts()

    init(node: NodeContext) {
        key = node.configuration.adminKey
        log = RateLimitedLog(node.log)
    }

    /// Whether there is a key with which anything can be changed.
    var hasKey: Bool { key != nil }

    /// - Returns: nil if the request is let in.
    func refusal(of request: HttpRequestHead, on connection: HttpConnection) -> Refusal? {
        guard request.method == .post else {
            return Refusal(
                status: .methodNotAllowed, message: "Method Not Allowed",
                fields: [HttpResponseField("Allow", "POST")])
        }
        guard SameOrigin.holds(for: request) else { return AdminKeyGate.otherOrigin }
        guard request.fields.value(of: "Content-Type")?.lowercased().hasPrefix("application/json") == true
        else { return Refusal(status: .unsupportedMediaType, message: "Expected application/json") }
        guard let key else { return AdminKeyGate.noKey }
        return refusal(of: BearerKey.shown(by: request), key, on: connection)
    }

    private func refusal(of shown: [UInt8]?, _ key: BearerKey, on connection: HttpConnection) -> Refusal? {
        guard shown == nil || attempts.mayTry(connection.peer, now: .now) else {
            log.warning("too many wrong admin keys", ["ip": "\(connection.peer)"])
            return Refusal(
                status: .tooManyRequests, message: "Too many wrong keys",
                fields: [Answer.retryAfter(seconds: 1)])
        }
        if let shown, key.matches(shown) { return nil }
        if shown != nil { attempts.failed(connection.peer, now: .now) }
        log.warning("admin key refused", ["ip": "\(connection.peer)"])
        return Refusal(
            status: .unauthorized, message: "Admin key required",
            fields: [HttpResponseField("WWW-Authenticate", "Bearer")])
    }
}
