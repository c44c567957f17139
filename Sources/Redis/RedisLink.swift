// A connection to Redis that is made again whenever it is lost. Loop-confined.

import EventLoop

/// Finds the server, connects, logs in, and after a loss waits and starts again, for ever, until `stop()`.
///
///     waiting ──timer──▶ asking ──address──▶ connecting ──OK──▶ logging in ──OK──▶ up
///        ▲                 │                      │                  │              │
///        └──── backoff ────┴──────────────────────┴──────────────────┴──── lost ────┘
///
/// *Asking* is the sentinels' part; without them the address is in the URL. Behind sentinels a server counts only
/// when it says itself that it is the master: for seconds after a switch a sentinel may not know of it.
final class RedisLink {
    /// Where a link leads.
    private enum Destination {
        /// To the next of these with each attempt.
        case anyOf([RedisURL.Address])
        /// To the server that the sentinels name.
        case master(MasterFinder)
    }

    /// A connect or login that takes longer is given up: hiredis 0.14 has no timeout of its own, and a host that
    /// drops packets would hold the link for minutes.
    private static let connectTimeout = Duration.seconds(2)
    /// A connection that ends sooner does not prove the server well: the waits go on growing.
    private static let provingTime = Duration.seconds(2)

    let loop: EventLoop
    private let destination: Destination
    private let authArguments: [String]?
    private let database: Int
    private let clientName: String
    private let lookup: AddressLookup
    private var mustBeMaster: Bool
    private var backoff = ReconnectBackoff()
    private var random = SystemRandomNumberGenerator()
    private var attemptCount = 0
    private var isStopped = false
    private var isWaiting = false
    /// The server of the present attempt or connection; nil while there is none, or sentinels are asked for it.
    private var server: RedisURL.Address?
    /// The master by the latest word, for the next attempt: some sentinels may still name the one before.
    private var announcedMaster: RedisURL.Address?
    private var confirmedAt: MonotonicInstant?
    /// What the present attempt lacks.
    private var missing = "connection"
    private var retryTimer: Timer?
    private var timeoutTimer: PatienceTimer?
    private(set) var context: RedisContext?

    /// Logged in: the context takes commands.
    var onLogin: ((RedisContext) -> Void)?
    /// The connection (or the attempt) ended, with the reason. Must not call into the context.
    var onLost: ((String) -> Void)?

    /// A link to the server of a URL.
    convenience init(url: RedisURL, clientName: String, loop: EventLoop) {
        let destination: Destination =
            switch url.route {
            case .server(let address): .anyOf([address])
            case .master(let sentinels): .master(MasterFinder(sentinels, loop: loop))
            }
        self.init(
            destination, authArguments: url.authArguments, database: url.database, clientName: clientName, loop: loop)
    }

    /// A link to a sentinel, whichever can be reached.
    convenience init(toAnyOf sentinels: RedisURL.Sentinels, clientName: String, loop: EventLoop) {
        self.init(
            .anyOf(sentinels.addresses), authArguments: sentinels.authArguments, database: 0, clientName: clientName,
            loop: loop)
    }

    private init(
        _ destination: Destination, authArguments: [String]?, database: Int, clientName: String, loop: EventLoop
    ) {
        self.destination = destination
        self.authArguments = authArguments
        self.database = database
        self.clientName = clientName
        self.loop = loop
        lookup = AddressLookup(on: loop)
        if case .master = destination { mustBeMaster = true } else { mustBeMaster = false }
        retryTimer = Timer(on: loop) { [unowned self] in self.connect() }
        timeoutTimer = PatienceTimer(
            RedisLink.connectTimeout, loop: loop, hasNews: { [unowned self] in self.hasNews },
            onExpiry: { [unowned self] in self.drop(reason: "no \(self.missing) within 2 s") })
    }

    /// Whether the server has sent something that the loop has not read yet.
    var hasNews: Bool { context?.hasNews ?? false }

    func start() {
        loop.assertOnThread()
        connect()
    }

    /// Ends the connection and makes no other.
    func stop() {
        loop.assertOnThread()
        isStopped = true
        retryTimer?.cancel()
        giveUpAttempt()
        drop(reason: "stopped")
    }

    /// Ends the present connection, because of what its user found out; another is made after the backoff.
    /// Not to be called from `onLost`.
    func drop(reason: String) {
        loop.assertOnThread()
        timeoutTimer?.cancel()
        if let context {
            context.close(reason: reason)
        } else if !isStopped {
            lost(reason)
        }
    }

    /// The server takes no writes. The connection is dropped, and only a master is taken from now on.
    func dropReplica(reason: String) {
        mustBeMaster = true
        drop(reason: reason)
    }

    /// The connection stands, and is of use when this has come.
    func await(_ missing: String) { self.missing = missing }

    /// The user of the link has seen it work, so a later loss starts with a short wait again.
    func confirm() {
        timeoutTimer?.cancel()
        confirmedAt = .now
    }

    /// Makes the next attempt soon: the reason for the loss is out of the way. Only from `onLost`.
    func retrySoon() {
        backoff.reset()
        retryTimer?.start(after: backoff.next(using: &random))
    }

    /// The sentinels have a new master: any other server is left at once, and this one is tried first.
    func follow(_ master: RedisURL.Address) {
        loop.assertOnThread()
        guard case .master = destination, !isStopped, server != master else { return }
        announcedMaster = master
        if server != nil { drop(reason: "the master is now \(master)") }
        if isWaiting { retrySoon() }
    }

    // MARK: Connecting

    private func connect() {
        isWaiting = false
        attemptCount += 1
        switch destination {
        case .anyOf(let addresses): connect(to: addresses[(attemptCount - 1) % addresses.count])
        case .master(let finder):
            if let announcedMaster { return connectToMaster(announcedMaster) }
            finder.find { [unowned self] outcome in
                switch outcome {
                case .success(let master): self.connectToMaster(self.announcedMaster ?? master)
                case .failure(let failure): self.lost(failure.reason)
                }
            }
        }
    }

    private func connectToMaster(_ master: RedisURL.Address) {
        announcedMaster = nil
        connect(to: master)
    }

    private func connect(to address: RedisURL.Address) {
        server = address
        missing = "connection"
        timeoutTimer?.start()
        lookup.start(address) { [unowned self] result in
            switch result {
            case .success(let address): self.open(address)
            case .failure(let failure): self.lost(failure.reason)
            }
        }
    }

    private func open(_ address: RedisURL.Address) {
        do throws(RedisFailure) {
            context = try RedisContext.connect(
                to: address, on: loop,
                onConnect: { [unowned self] in self.logIn() },
                onEnd: { [weak self] reason in self?.ended(reason) })
        } catch {
            lost(error.reason)
        }
    }

    /// AUTH, SELECT, CLIENT SETNAME and ROLE in one write; the answer to the last of them completes the login.
    private func logIn() {
        guard let context else { return }
        if let authArguments {
            context.send(RedisCommand((["AUTH"] + authArguments).map { [UInt8]($0) })) { [weak self] in
                self?.checkLogin("AUTH", $0)
            }
        }
        if database != 0 {
            context.send(RedisCommand([[UInt8]("SELECT"), [UInt8](Int64(database))])) { [weak self] in
                self?.checkLogin("SELECT", $0)
            }
        }
        let checksRole = mustBeMaster
        context.send(RedisCommand(["CLIENT", "SETNAME", clientName].map { [UInt8]($0) })) { [weak self] result in
            guard let self, self.checkLogin("CLIENT SETNAME", result), !checksRole else { return }
            self.loggedIn()
        }
        guard checksRole else { return }
        context.send(RedisCommand([[UInt8]("ROLE")])) { [weak self] in self?.checkRole($0) }
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

    private func checkRole(_ result: Result<RedisReply, RedisFailure>) {
        switch result {
        case .success(let reply):
            let role = reply.count > 0 ? reply[0].string : nil
            guard role == "master" else { return drop(reason: "the server is no master but a \(role ?? "?")") }
            loggedIn()
        case .failure(.refused(let message)):
            // Who has named one server and may not ask it for its role has to take it as it is.
            if case .anyOf = destination { loggedIn() } else { drop(reason: "ROLE: \(message)") }
        case .failure(.unavailable): break
        }
    }

    private func loggedIn() {
        if let context { onLogin?(context) }
    }

    // MARK: The end

    private func ended(_ reason: String) {
        context = nil
        lost(reason)
    }

    private func lost(_ reason: String) {
        giveUpAttempt()
        server = nil
        if let confirmedAt, .now - confirmedAt >= RedisLink.provingTime { backoff.reset() }
        confirmedAt = nil
        guard !isStopped else { return }
        isWaiting = true
        retryTimer?.start(after: backoff.next(using: &random))
        onLost?(reason)
    }

    private func giveUpAttempt() {
        timeoutTimer?.cancel()
        lookup.cancel()
        if case .master(let finder) = destination { finder.cancel() }
    }
}
