// What the console does besides looking: watch a room, revoke. Confined to the control loop.

import EventLoop
import HTTP
import JSON
import Redis
import RedisSchema

/// Carries out what a page with the admin key asks for.
///
/// To watch a room the page becomes a client like any other: it gets a token, and its socket goes to a
/// worker, so that what it shows has taken the whole road. It beats as clients do; a token whose page is
/// gone runs out. No other token watches here: a stolen one of a client would read its rooms past the origins
/// and the limits of the listener for clients.
final class ConsoleActions {
    /// What `device:<id>` says of the tokens of pages.
    private static let deviceId = "roomcast-console"

    private let node: NodeContext
    private let channels: Channels
    private let keys: Keys
    private let link: ConsoleLink
    private var random = RandomPool()
    private var nextWorker = 0
    private var pageTokens: PageTokens

    init(node: NodeContext, link: ConsoleLink) {
        self.node = node
        self.link = link
        channels = Channels(prefix: node.configuration.prefix)
        keys = Keys(prefix: node.configuration.prefix)
        pageTokens = PageTokens(life: node.configuration.heartbeatTimeout + Limits.pageTokenLateness)
    }

    /// What came of an action: a status and a body.
    typealias Outcome = (status: HttpStatus, body: String)

    static let malformed: Outcome = (.badRequest, Answer.invalidParameters)
    private static let unavailable: Outcome = (.serviceUnavailable, Answer.serviceUnavailable)

    /// Deletes a token's record and has its connection closed with 4003.
    func revoke(_ request: ConsoleRequest, onDone: @escaping (Outcome) -> Void) {
        guard let token = request.token else { return onDone(ConsoleActions.malformed) }
        node.log.info("console revokes", ["token": "\(token)"])
        send(Revocation.command(token, keys: keys, channels: channels), onDone) { [log = node.log] reply in
            guard let revocation = Revocation(reply) else {
                return (.notFound, Answer.body("No such token"))
            }
            guard let refusal = revocation.refusal else { return (.ok, "{}") }
            log.warning("console command failed", ["reason": "\(refusal)"])
            return ConsoleActions.unavailable
        }
    }

    /// Makes a token with which the page may watch rooms.
    func admit(onDone: @escaping (Outcome) -> Void) {
        let token = Token.mint(using: &random)
        let ttl = node.configuration.heartbeatTimeout + Limits.pageTokenLateness
        let fields = [
            ClientField.deviceId.rawValue, ConsoleActions.deviceId, ClientField.isLogin.rawValue, "false",
            ClientField.issuedAt.rawValue, "\(WallClock.unixMilliseconds)",
        ]
        let seconds = [UInt8](ttl.components.seconds)
        let command = script(
            RegistryScript.issue.source, token, [seconds, seconds] + fields.map { [UInt8]($0) })
        let beat = node.configuration.heartbeatTimeout.wholeMilliseconds / 3
        integer(command, onDone) { [unowned self] _ in
            self.pageTokens.keep(token, now: .now)
            let body = Answer.object {
                $0.member("token", token.text)
                $0.member("beatMs", beat)
            }
            return (.ok, body)
        }
    }

    /// Keeps the token of a watching page alive.
    func beat(_ request: ConsoleRequest, onDone: @escaping (Outcome) -> Void) {
        guard let token = request.token else { return onDone(ConsoleActions.malformed) }
        let command = script(RegistryScript.renew.source, token, [[UInt8]("60")])
        integer(command, onDone) { [unowned self] renewed in
            guard renewed == 1 else { return (.notFound, Answer.body("No such token")) }
            self.pageTokens.renew(token, now: .now)
            return (.ok, "{}")
        }
    }

    /// Whether the token of a handshake is one that this console has issued to a page.
    func isPage(_ token: Token) -> Bool { pageTokens.contains(token, now: .now) }

    /// Hands the socket of a handshake to a worker, with a request for it: the same one, but for its path
    /// (which is the clients') and its origin (which is the console's own, and was checked).
    func watch(_ request: HttpRequestHead, on connection: HttpConnection) {
        var head = "GET /ws?" + request.withQuery { String(decoding: $0, as: UTF8.self) } + " HTTP/1.1\r\n"
        let names: [StaticString] = [
            "Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
        ]
        for name in names {
            for value in request.fields.values(of: name) { head += "\(name): \(value)\r\n" }
        }
        head += "\r\n"
        // A place on the way first: until the worker has it, the socket would be counted nowhere.
        guard node.state.admitHandover() else {
            return connection.respond(
                .serviceUnavailable, fields: [Answer.json], body: Answer.serviceUnavailable)
        }
        let peer = connection.peer
        let worker = nextWorker
        nextWorker = (nextWorker + 1) % node.workerMailboxes.count
        node.workerMailboxes[worker].post(
            .news(.adopt(Handover(socket: connection.detach(), peer: peer, bytes: Array(head.utf8)))))
    }

    // MARK: Redis

    /// Scripts go with their source: they are short, and a person's clicks are few.
    private func script(_ source: String, _ token: Token, _ arguments: [[UInt8]]) -> RedisCommand {
        var key: [UInt8] = []
        keys.appendClient(token, to: &key)
        return RedisCommand([[UInt8]("EVAL"), [UInt8](source), [UInt8]("1"), key] + arguments)
    }

    private func integer(
        _ command: RedisCommand, _ onDone: @escaping (Outcome) -> Void,
        _ answer: @escaping (Int64) -> Outcome
    ) {
        send(command, onDone) { answer($0.integer ?? 0) }
    }

    private func send(
        _ command: RedisCommand, _ onDone: @escaping (Outcome) -> Void,
        _ answer: @escaping (RedisReply) -> Outcome
    ) {
        link.send(command) { [log = node.log] result in
            switch result {
            case .success(let reply): onDone(answer(reply))
            case .failure(let failure):
                log.warning("console command failed", ["reason": "\(failure)"])
                onDone(ConsoleActions.unavailable)
            }
        }
    }
}
