// A connection to Redis that is made again whenever it is lost. Loop-confined.

import EventLoop

/// Resolves, connects, logs in, and after a loss waits and starts again, for ever, until `stop()`.
///
///     waiting ──timer──▶ resolving ──address──▶ connecting ──OK──▶ logging in ──OK──▶ up
///        ▲                   │                      │                  │              │
///        └───── backoff ─────┴──────────────────────┴──────────────────┴──── lost ────┘
final class RedisLink {
    /// A connect or login that takes longer is given up: hiredis 0.14 has no timeout of its own, and a host that
    /// drops packets would hold the link for minutes.
    private static let connectTimeout = Duration.seconds(2)

    private let loop: EventLoop
    private let url: RedisURL
    private let clientName: String
    private var backoff = ReconnectBackoff()
    private var random = SystemRandomNumberGenerator()
    private let resolved = Mailbox<(Int, HostResolver.Outcome)>()
    private var attempt = 0
    private var isStopped = false
    private var retryTimer: Timer?
    private var timeoutTimer: Timer?
    private(set) var context: RedisContext?

    /// Logged in: the context takes commands.
    var onLogin: ((RedisContext) -> Void)?
    /// The connection (or the attempt) ended, with the reason. Must not call into the context.
    var onLost: ((String) -> Void)?

    init(url: RedisURL, clientName: String, loop: EventLoop) {
        self.url = url
        self.clientName = clientName
        self.loop = loop
        resolved.open(on: loop) { [weak self] outcomes in
            for (attempt, outcome) in outcomes { self?.resolved(attempt, outcome) }
        }
        retryTimer = Timer(on: loop) { [unowned self] in self.connect() }
        timeoutTimer = Timer(on: loop) { [unowned self] in self.drop(reason: "no connection within 2 s") }
    }

    func start() {
        connect()
    }

    /// Ends the connection and makes no other.
    func stop() {
        isStopped = true
        retryTimer?.cancel()
        drop(reason: "stopped")
    }

    /// Ends the present connection, because of what its user found out; another is made after the backoff.
    /// Not to be called from `onLost`.
    func drop(reason: String) {
        timeoutTimer?.cancel()
        if let context {
            context.close(reason: reason)
        } else if !isStopped {
            lost(reason)
        }
    }

    /// The user of the link has seen it work, so the next loss starts with a short wait again.
    func confirm() {
        timeoutTimer?.cancel()
        backoff.reset()
    }

    private func connect() {
        attempt += 1
        timeoutTimer?.start(after: RedisLink.connectTimeout)
        switch url.address {
        case .unix:
            connect(to: url.address)
        case .tcp(let host, _) where HostResolver.isNumeric(host):
            connect(to: url.address)
        case .tcp(let host, _):
            HostResolver.resolve(host, attempt: attempt, to: resolved)
        }
    }

    private func resolved(_ attempt: Int, _ outcome: HostResolver.Outcome) {
        guard attempt == self.attempt, context == nil, !isStopped else { return }
        guard case .tcp(_, let port) = url.address else { return }
        switch outcome {
        case .success(let host): connect(to: .tcp(host: host, port: port))
        case .failure(.unavailable(let reason)), .failure(.refused(let reason)): lost(reason)
        }
    }

    private func connect(to address: RedisURL.Address) {
        do throws(RedisFailure) {
            let context = try RedisContext.connect(
                to: address, on: loop,
                onConnect: { [unowned self] in self.logIn() },
                onEnd: { [weak self] reason in self?.ended(reason) })
            self.context = context
        } catch {
            guard case .unavailable(let reason) = error else { return }
            lost(reason)
        }
    }

    /// AUTH, SELECT and CLIENT SETNAME in one write; the answer to the last of them completes the login.
    private func logIn() {
        guard let context else { return }
        if let credentials = url.authArguments {
            context.send(RedisCommand((["AUTH"] + credentials).map { [UInt8]($0) })) { [weak self] in
                self?.checkLogin("AUTH", $0)
            }
        }
        if url.database != 0 {
            context.send(RedisCommand([[UInt8]("SELECT"), [UInt8](Int64(url.database))])) { [weak self] in
                self?.checkLogin("SELECT", $0)
            }
        }
        context.send(RedisCommand(["CLIENT", "SETNAME", clientName].map { [UInt8]($0) })) { [weak self] result in
            guard let self, let context = self.context else { return }
            if self.checkLogin("CLIENT SETNAME", result) { self.onLogin?(context) }
        }
    }

    @discardableResult
    private func checkLogin(_ command: String, _ result: Result<RedisReply, RedisFailure>) -> Bool {
        switch result {
        case .success: return true
        case .failure(.refused(let message)):
            drop(reason: "\(command): \(message)")
            return false
        case .failure(.unavailable): return false
        }
    }

    private func ended(_ reason: String) {
        context = nil
        lost(reason)
    }

    private func lost(_ reason: String) {
        timeoutTimer?.cancel()
        attempt += 1
        guard !isStopped else { return }
        retryTimer?.start(after: backoff.next(using: &random))
        onLost?(reason)
    }
}
