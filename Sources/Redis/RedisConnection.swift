// A command connection: pipelined commands, each with a deadline, over a link that comes back.
// Loop-confined.

import EventLoop

/// Sends commands and brings each exactly one outcome, within the timeout, whatever happens to the server.
package final class RedisConnection {
    /// What the server said of itself at login.
    package struct Server: Equatable, Sendable {
        /// Changes with every start of the server: other data may be behind it. nil if the server does not say:
        /// then other data may be behind every connection.
        package let runID: String?
        /// Whether it may evict keys that have a life when its memory is full, by the name of the policy; nil if
        /// it does not, or does not say.
        package let evictingPolicy: String?
        /// What it has refused at login, and can be done without.
        package let refusals: [RefusedCommand]

        /// Whether both are the same start of one server; false if either does not say.
        package func isSameRun(as other: Server) -> Bool { runID != nil && runID == other.runID }
    }

    /// What the server has to do before the connection counts as up.
    package enum Proof {
        /// Let the user in.
        case login
        /// Say what it is.
        case server
        /// Run a script. While writes are paused (CLIENT PAUSE … WRITE, or a failover under way) it answers
        /// everything but what matters.
        case writes
    }

    /// Why a server that is a part of a Redis Cluster is not taken unless it has all slots: it has a share of the
    /// keys, and refuses the others.
    package static let clusterReason = "the server is part of a Redis Cluster: use cluster:// or clusters://"

    /// The longest time that an attempt to connect takes, with its login.
    package static let connectTime = RedisLinkState.attemptTime

    private let link: RedisLink
    private let timeout: Duration
    private let proof: Proof
    /// Whether the server is wanted for its part of a cluster.
    private let isPart: Bool
    /// When each command that waits for a reply must have it, the oldest first: replies come in their order.
    private var deadlines = Fifo<MonotonicInstant>()
    private var deadlineTimer: PatienceTimer?
    /// When an answer to a batch came last: one that is large has its time as long as answers come.
    private var batchNewsAt = MonotonicInstant.now
    private var echo: LinkEcho?

    /// Whether commands are sent; otherwise they fail at once.
    package private(set) var isUp = false

    /// The connection stands and the server has reported its run id.
    package var onUp: ((Server) -> Void)?
    /// The connection, or an attempt at one, was lost: the reason. Called for each failed attempt.
    package var onDown: ((String) -> Void)?

    /// The password has changed, and the server has taken the new one on this connection (nil), or refused it: its
    /// message. Asked for again as long as it is refused.
    package var onNewPassword: ((String?) -> Void)?

    /// - Parameters:
    ///   - clientName: shown by CLIENT LIST; nil for none.
    ///   - timeout: the longest wait for a reply; after it the link counts as dead.
    ///   - silenceTimeout: the longest silence without any command; it is filled with PINGs.
    ///   - mustBeMaster: whether a replica is refused; one that keeps its role to itself is not.
    package convenience init(
        url: RedisURL, clientName: String?, timeout: Duration, silenceTimeout: Duration = .seconds(5),
        proof: Proof = .writes, mustBeMaster: Bool = false, loop: EventLoop
    ) {
        let link = RedisLink(
            url: url, clientName: clientName, mustBeMaster: mustBeMaster, loop: loop)
        self.init(link, timeout: timeout, proof: proof, isPart: url.isNodeOfCluster, loop: loop)
        echo = LinkEcho(
            silenceTimeout: silenceTimeout, loop: loop,
            ask: { [unowned self] in self.send(RedisConnection.ping) { _ in } },
            hasNews: { [unowned self] in self.link.hasNews },
            onSilence: { [unowned self] in self.link.drop(reason: $0) })
    }

    /// A connection that sends what it is given and no other command, so that its user needs no other right.
    ///
    /// - Parameters:
    ///   - timeout: the longest attempt to connect.
    ///   - answerTimeout: the longest wait for a reply, if it is another.
    ///   - mustBeMaster: whether a replica is refused; one that keeps its role to itself is not.
    package convenience init(
        plainTo url: RedisURL, timeout: Duration, answerTimeout: Duration? = nil, mustBeMaster: Bool = false,
        loop: EventLoop
    ) {
        let link = RedisLink(
            url: url, clientName: nil, attemptTime: timeout, mustBeMaster: mustBeMaster, loop: loop)
        self.init(
            link, timeout: answerTimeout ?? timeout, proof: .login, isPart: url.isNodeOfCluster, loop: loop)
    }

    private init(_ link: RedisLink, timeout: Duration, proof: Proof, isPart: Bool, loop: EventLoop) {
        self.isPart = isPart
        self.link = link
        self.timeout = timeout
        self.proof = proof
        deadlineTimer = PatienceTimer(
            timeout, loop: loop, hasNews: { [unowned self] in self.hasNewsOfDeadline },
            onExpiry: { [unowned self] in self.checkDeadlines() })
        link.onNewPassword = { [unowned self] in self.authenticate($0) }
        link.onLogin = { [unowned self] in self.identify($0) }
        link.onLost = { [unowned self] in self.lost($0) }
    }

    /// The address of this end, in numbers; nil without a connection, and over a Unix socket.
    package var localHost: String? { isUp ? link.context?.socket.localHost : nil }

    /// Whether the latest loss was the server's word, such as a wrong password, rather than trouble on the
    /// way.
    package var isRefused: Bool { link.isRefused }

    /// Starts to connect; `onUp` reports when it has.
    package func start() {
        link.start()
    }

    /// Ends the connection for good; pending commands fail.
    package func stop() {
        echo?.stop()
        link.stop()
    }

    /// The sentinels have a new master: the connection to any other server is left at once.
    package func follow(_ master: RedisURL.Address) {
        link.follow(master)
    }

    /// The connection is made again at once: it leads to another server than it should.
    package func renew(reason: String) {
        link.renew(reason: reason, mustBeMaster: true)
    }

    /// Sends a command. All commands of one turn of the loop leave in one write.
    ///
    /// - Parameters:
    ///   - mayWait: whether it leaves only with the next command that may not, or by `writeWhatWaits`. It keeps its
    ///     place among the commands, and its time for a reply runs from now.
    ///   - onReply: called once, on the loop; before this returns if the connection is down.
    package func send(
        _ command: RedisCommand, mayWait: Bool = false,
        onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) {
        link.loop.assertOnThread()
        guard isUp, let context = link.context else {
            onReply(.failure(.unavailable("not connected")))
            return
        }
        awaitReply()
        context.send(command, mayWait: mayWait) { [weak self] result in
            self?.replied()
            onReply(result)
            if case .failure(let failure) = result, failure.isReadOnly {
                self?.link.dropReplica(reason: failure.reason)
            }
        }
    }

    /// Commands that may wait leave in one write, at the end of this turn.
    package func writeWhatWaits() { link.context?.writeWhatWaits() }

    /// Sends commands whose answers are numbers.
    ///
    /// - Parameter onNews: called on the loop as answers come, until each command has one or the connection
    ///   is lost; before this returns if it is down.
    package func send(_ batch: RedisBatch, onNews: @escaping (RedisBatch.News) -> Void) {
        guard isUp, let context = link.context else { return onNews(.lost) }
        awaitReply()
        var missingCount = batch.count
        context.send(batch) { [weak self] news in
            missingCount -= news.count ?? missingCount
            if missingCount == 0 { self?.replied() }
            self?.batchNewsAt = .now
            onNews(news)
        }
    }

    /// Services end a connection when the token that it has logged in with runs out.
    private func authenticate(_ arguments: [String]) {
        send(RedisCommand((["AUTH"] + arguments).map { [UInt8]($0) })) { [weak self] result in
            switch result {
            case .success:
                self?.link.hasLoggedIn(with: arguments)
                self?.onNewPassword?(nil)
            case .failure(.refused(let message)): self?.onNewPassword?(message)
            case .failure(.unavailable): break
            }
        }
    }

    private func awaitReply() {
        deadlines.append(.now + timeout)
        if deadlines.count == 1 { deadlineTimer?.start() }
    }

    private static let ping = RedisCommand([[UInt8]("PING")])
    /// Of no effect, and treated as a write.
    private static let proof = RedisCommand(["EVAL", "return 1", "0"].map { [UInt8]($0) })

    /// PING first: while Redis loads its data it answers INFO, but takes no command of use.
    private func identify(_ context: RedisContext) {
        if case .login = proof { return begin(Server(information: "", refusals: link.refusals)) }
        context.send(RedisConnection.ping) { [weak self] result in
            if case .failure(.refused(let message)) = result, !message.hasPrefix("NOPERM") {
                self?.link.drop(reason: message)
            }
        }
        ask(context, Server.command) { [weak self] information, refusals in
            guard let self else { return }
            // As Redis calls it, and as Valkey does.
            let modes = ["redis_mode", "server_mode"].map { RedisConnection.value($0, in: information) }
            guard modes.contains("cluster"), !self.isPart else {
                return self.identified(context, information, refusals)
            }
            context.send(ClusterMap.command) { [weak self] result in
                switch result {
                case .success(let reply) where ClusterMap(reply, askedHost: "")?.isWhole == true:
                    self?.identified(context, information, refusals)
                case .success, .failure(.refused): self?.link.drop(reason: RedisConnection.clusterReason)
                case .failure(.unavailable): break
                }
            }
        }
    }

    private func identified(_ context: RedisContext, _ information: String, _ refusals: [RefusedCommand]) {
        let refusals = link.refusals + refusals
        guard case .writes = proof else {
            return begin(Server(information: information, refusals: refusals))
        }
        ask(context, Server.memoryCommand) { [weak self] memory, _ in
            self?.prove(context, Server(information: information + memory, refusals: refusals))
        }
    }

    /// Asks for a section of INFO, which may be refused or hidden: nothing in it is needed.
    private func ask(
        _ context: RedisContext, _ command: RedisCommand,
        onAnswer: @escaping (String, [RefusedCommand]) -> Void
    ) {
        context.send(command) { [weak self] result in
            switch result {
            case .success(let reply): onAnswer(reply.string ?? "", [])
            case .failure(.refused(let message)) where RefusedCommand.concernsOnlyItself(message):
                onAnswer("", [RefusedCommand("INFO", message)])
            case .failure(.refused(let message)): self?.link.drop(reason: "INFO: \(message)")
            case .failure(.unavailable): break
            }
        }
    }

    private func prove(_ context: RedisContext, _ server: Server) {
        link.await("answer to a script (are writes paused?)")
        context.send(RedisConnection.proof) { [weak self] result in
            // A refusal is an answer: commands that are refused have a reason of their own.
            if case .failure(.unavailable) = result { return }
            self?.begin(server)
        }
    }

    private func begin(_ server: Server) {
        link.confirm()
        echo?.start()
        isUp = true
        onUp?(server)
    }

    /// What stands behind a name in an answer to INFO.
    package static func value(_ name: String, in information: String) -> String? {
        let prefix = name + ":"
        let line = information.split(whereSeparator: \.isNewline).first { $0.hasPrefix(prefix) }
        return line.map { String($0.dropFirst(prefix.count)) }
    }

    private func lost(_ reason: String) {
        isUp = false
        echo?.stop()
        deadlines.removeAll()
        deadlineTimer?.cancel()
        onDown?(reason)
    }

    /// Replies come in the order of the commands, so the oldest deadline is the one that is met.
    private func replied() {
        echo?.heard()
        // Commands that fail because the link is lost may do so after the deadlines are forgotten.
        deadlines.takeFirst()
    }

    private var hasNewsOfDeadline: Bool {
        guard let due = oldestDeadline, due <= .now else { return false }
        return link.hasNews
    }

    private var oldestDeadline: MonotonicInstant? { deadlines.first.map { max($0, batchNewsAt + timeout) } }

    private func checkDeadlines() {
        guard let due = oldestDeadline else { return }
        let left = due - .now
        if left > .zero {
            deadlineTimer?.start(after: left)
        } else {
            link.drop(reason: "no answer within \(timeout.wholeMilliseconds) ms")
        }
    }
}

extension RedisConnection.Server {
    /// Asks a server what it is.
    static let command = RedisCommand([[UInt8]("INFO"), [UInt8]("server")])
    static let memoryCommand = RedisCommand([[UInt8]("INFO"), [UInt8]("memory")])

    /// - Parameter information: the answers to these.
    init(information: String, refusals: [RefusedCommand] = []) {
        runID = RedisConnection.value("run_id", in: information).flatMap { $0.isEmpty ? nil : $0 }
        evictingPolicy = RedisConnection.value("maxmemory_policy", in: information)
            .flatMap { $0.isEmpty || $0 == "noeviction" ? nil : $0 }
        self.refusals = refusals
    }
}
