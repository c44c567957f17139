// A connection to Redis that is made again whenever it is lost. Loop-confined.

import EventLoop

/// Finds the server, connects, logs in, and after a loss waits and starts again, for ever, until `stop()`.
/// What it does next is up to `RedisLinkState`; here are the parts that do it.
final class RedisLink {
    let loop: EventLoop
    private var state: RedisLinkState
    /// Only behind sentinels.
    private let finder: MasterFinder?
    /// What AUTH gets at this moment, without its name; nil where no login is needed.
    private let readAuthArguments: () throws(RedisFailure) -> [String]?
    /// What the present connection, or attempt, has logged in with.
    private var authArguments: [String]?
    /// Looks whether the password has changed; only if it is in a file.
    private var passwordTimer: Timer?
    private let database: Int
    private let clientName: String?
    private let tls: TLSContext?
    private let lookup: AddressLookup
    private var backoff = ReconnectBackoff()
    private var random = SystemRandomNumberGenerator()
    private var retryTimer: Timer?
    private var timeoutTimer: PatienceTimer?
    private(set) var context: RedisContext?
    /// Whether the latest loss was the server's word, such as a wrong password, rather than trouble on the
    /// way.
    private(set) var isRefused = false
    /// The server of the latest attempt, as it was named.
    private(set) var triedServer: RedisURL.Address?
    /// The nodes of the cluster in the order in which they are tried, for each attempt anew; empty keeps those that
    /// there were before.
    var candidates: (() -> [RedisURL.Address])?

    /// Logged in: the context takes commands.
    var onLogin: ((RedisContext) -> Void)?
    /// The password in the file is another one: what AUTH gets now. Called again until
    /// `hasLoggedIn`.
    var onNewPassword: (([String]) -> Void)?
    /// The connection (or the attempt) ended, with the reason. Must not call into the context.
    var onLost: ((String) -> Void)?

    /// A link to the server of a URL.
    ///
    /// - Parameters:
    ///   - clientName: shown by CLIENT LIST; nil for a program whose user may have no right to be named.
    ///   - attemptTime: for each connection with its login, and as much for looking up the name before; nil is
    ///     the link's own.
    ///   - mustBeMaster: whether a replica is refused from the beginning.
    convenience init(
        url: RedisURL, clientName: String?, attemptTime: Duration? = nil, mustBeMaster: Bool = false,
        loop: EventLoop
    ) {
        let (route, finder): (RedisLinkState.Route, MasterFinder?) =
            switch url.route {
            case .server(let address): (.anyOf([address]), nil)
            case .master(let sentinels): (.master, MasterFinder(sentinels, loop: loop))
            case .cluster(let seeds): (.anyOf(seeds), nil)
            }
        self.init(
            route, finder, needsAuthentication: url.authArguments != nil || url.passwordFile != nil,
            readAuthArguments: url.readAuthArguments, database: url.database, clientName: clientName,
            tls: url.tls, attemptTime: attemptTime, mustBeMaster: mustBeMaster, loop: loop)
        if url.passwordFile != nil {
            passwordTimer = Timer(on: loop, repeating: true) { [unowned self] in self.checkPassword() }
        }
    }

    /// A link to a sentinel, whichever can be reached.
    convenience init(toAnyOf sentinels: RedisURL.Sentinels, clientName: String?, loop: EventLoop) {
        self.init(
            .anyOf(sentinels.addresses), nil, needsAuthentication: sentinels.authArguments != nil,
            readAuthArguments: { sentinels.authArguments }, database: 0,
            clientName: clientName, tls: sentinels.tls, attemptTime: nil, mustBeMaster: false, loop: loop)
    }

    /// A link to a node of a cluster, whichever can be reached.
    convenience init(
        toAnyOf nodes: [RedisURL.Address], of url: RedisURL, clientName: String?, attemptTime: Duration?,
        loop: EventLoop
    ) {
        self.init(
            .anyOf(nodes), nil, needsAuthentication: url.authArguments != nil || url.passwordFile != nil,
            readAuthArguments: url.readAuthArguments, database: 0, clientName: clientName, tls: url.tls,
            attemptTime: attemptTime, mustBeMaster: false, loop: loop)
    }

    private init(
        _ route: RedisLinkState.Route, _ finder: MasterFinder?, needsAuthentication: Bool,
        readAuthArguments: @escaping () throws(RedisFailure) -> [String]?, database: Int,
        clientName: String?, tls: TLSContext?, attemptTime: Duration?, mustBeMaster: Bool, loop: EventLoop
    ) {
        var login: [RedisLinkState.LoginCommand] = []
        if needsAuthentication { login.append(.authenticate) }
        if database != 0 { login.append(.select) }
        if clientName != nil { login.append(.setName) }
        state = RedisLinkState(
            route, login: login, attemptTime: attemptTime ?? RedisLinkState.attemptTime,
            lookUpTime: attemptTime ?? RedisLinkState.lookUpTime, mustBeMaster: mustBeMaster)
        self.finder = finder
        self.readAuthArguments = readAuthArguments
        self.database = database
        self.clientName = clientName
        self.tls = tls
        self.loop = loop
        lookup = AddressLookup(on: loop)
        retryTimer = Timer(on: loop) { [unowned self] in self.attempt() }
        timeoutTimer = PatienceTimer(
            attemptTime ?? RedisLinkState.attemptTime, loop: loop,
            hasNews: { [unowned self] in self.hasNews },
            onExpiry: { [unowned self] in
                self.perform(self.state.timedOut(inHandshake: self.context?.isShakingHands ?? false))
            })
    }

    /// Whether the server has sent something that the loop has not read yet.
    var hasNews: Bool { context?.hasNews ?? false }

    func start() {
        loop.assertOnThread()
        attempt()
    }

    private func attempt() {
        if let candidates { state.offer(candidates()) }
        perform(state.attempt())
    }

    /// Ends the connection and makes no other.
    func stop() {
        loop.assertOnThread()
        perform(state.stopped())
    }

    /// Ends the present connection, because of what its user found out; another is made after the backoff.
    /// Not to be called from `onLost`.
    ///
    /// - Parameter isRefusal: whether it is the server's word.
    func drop(reason: String, isRefusal: Bool = false) {
        loop.assertOnThread()
        isRefused = isRefusal
        perform(state.dropped(reason))
    }

    /// The server takes no writes. The connection is dropped, and only a master is taken from now on.
    func dropReplica(reason: String) { perform(state.droppedReplica(reason)) }

    /// The present connection works, and the user wants another one soon.
    ///
    /// - Parameter mustBeMaster: whether only a master is taken from now on.
    func renew(reason: String, mustBeMaster: Bool = false) {
        loop.assertOnThread()
        perform(state.renewed(reason, mustBeMaster: mustBeMaster))
    }

    /// What the server has refused at login, and can be done without.
    var refusals: [RefusedCommand] { state.refusals }

    /// Whether the connection has logged in with a password that is in the file no more.
    var hasOldPassword: Bool {
        guard passwordTimer != nil, let present = try? readAuthArguments() else { return false }
        return present != authArguments
    }

    /// The server has taken a new password on this connection.
    func hasLoggedIn(with arguments: [String]) { authArguments = arguments }

    private func checkPassword() {
        guard context != nil, let present = try? readAuthArguments(), present != authArguments else {
            return
        }
        onNewPassword?(present)
    }

    /// The connection stands, and is of use when this has come.
    func await(_ missing: String) { state.await(missing) }

    /// The user of the link has seen it work, so a later loss starts with a short wait again.
    func confirm() { perform(state.confirmed(now: .now)) }

    /// The sentinels have a new master: any other server is left at once, and this one is tried first.
    func follow(_ master: RedisURL.Address) {
        loop.assertOnThread()
        perform(state.follow(master))
    }

    // MARK: What the state asks for

    private func perform(_ action: RedisLinkState.Action) {
        switch action {
        case .nothing: break
        case .askSentinels:
            isRefused = false
            askSentinels()
        case .resolve(let server, let time):
            isRefused = false
            resolve(server, within: time)
        case .connect(let address): connect(to: address)
        case .logIn(let asksRole): logIn(asksRole: asksRole)
        case .handOver:
            passwordTimer?.start(after: PasswordFile.checkInterval)
            if let context { onLogin?(context) }
        case .endTimeout: timeoutTimer?.cancel()
        case .close(let reason):
            timeoutTimer?.cancel()
            context?.close(reason: reason)
        case .retry(let reason, let startsOver):
            passwordTimer?.cancel()
            giveUpAttempt()
            wait(startsOver: startsOver)
            onLost?(reason)
        case .hasten: wait(startsOver: true)
        case .stop:
            passwordTimer?.cancel()
            retryTimer?.cancel()
            giveUpAttempt()
            context?.close(reason: "stopped")
        }
    }

    private func askSentinels() {
        finder?.find { [unowned self] outcome in
            switch outcome {
            case .success(let master): self.perform(self.state.named(master))
            case .failure(let failure): self.lost(failure.reason)
            }
        }
    }

    private func resolve(_ server: RedisURL.Address, within time: Duration) {
        triedServer = server
        do throws(RedisFailure) { authArguments = try readAuthArguments() } catch {
            return lost(error.reason)
        }
        timeoutTimer?.start(after: time)
        lookup.start(server) { [unowned self] result in
            switch result {
            case .success(let addresses): self.perform(self.state.resolved(addresses))
            case .failure(let failure): self.lost(failure.reason)
            }
        }
    }

    private func connect(to address: RedisURL.Address) {
        timeoutTimer?.start()
        // The certificate is for the name, not for the address behind it.
        let server = state.server ?? address
        do throws(RedisFailure) {
            context = try RedisContext.connect(
                to: address, securedFor: server.peer(securedBy: tls), on: loop,
                onConnect: { [unowned self] in self.perform(self.state.connected()) },
                onEnd: { [weak self] reason in self?.ended(reason) })
        } catch {
            lost(error.reason)
        }
    }

    /// All commands of a login leave in one write; the answer to the last of them completes it.
    private func logIn(asksRole: Bool) {
        if let authArguments { send(.authenticate, ["AUTH"] + authArguments) }
        if database != 0 { send(.select, ["SELECT", "\(database)"]) }
        if let clientName { send(.setName, ["CLIENT", "SETNAME", clientName]) }
        if asksRole { send(.askRole, ["ROLE"]) }
    }

    private func send(_ command: RedisLinkState.LoginCommand, _ arguments: [String]) {
        context?.send(RedisCommand(arguments.map { [UInt8]($0) })) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let reply):
                let role = command == .askRole && reply.count > 0 ? reply[0].string : nil
                self.perform(self.state.accepted(command, role: role))
            case .failure(.refused(let message)):
                let action = self.state.refused(command, message)
                if case .close = action { self.isRefused = true }
                self.perform(action)
            // The connection is ending, which it reports itself.
            case .failure(.unavailable): break
            }
        }
    }

    // MARK: The end

    private func ended(_ reason: String) {
        context = nil
        lost(reason)
    }

    private func lost(_ reason: String) { perform(state.lost(reason, now: .now)) }

    private func wait(startsOver: Bool) {
        if startsOver { backoff.reset() }
        retryTimer?.start(after: backoff.next(using: &random))
    }

    private func giveUpAttempt() {
        timeoutTimer?.cancel()
        lookup.cancel()
        finder?.cancel()
    }
}
