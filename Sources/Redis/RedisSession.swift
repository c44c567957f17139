// A connection for programs that do one thing after another. Confined to the thread that made it.

import EventLoop

/// Why a session could not begin, or has ended. None of the texts holds a password.
package enum RedisSessionError: Error, Equatable, CustomStringConvertible {
    /// No connection: the address, and what the system, the resolver or the sentinels said.
    case unreachable(String)
    /// The server answered with an error: the command and the server's text.
    case refused(String)
    /// The server has become a replica: what is published there reaches no more than its own subscribers. The
    /// address.
    case replica(String)
    /// The connection broke, or no answer came in time: what was in flight may have been carried out or not.
    case lost(String)
    /// The user does not want to wait any longer.
    case interrupted

    /// What has become of a connection.
    ///
    /// - Parameters:
    ///   - isRefused: whether it was ended by the server's word.
    ///   - wasUp: whether it stood.
    package init(_ reason: String, isRefused: Bool, wasUp: Bool, url: RedisURL) {
        self = isRefused ? .refused(reason) : wasUp ? .lost(reason) : .unreachable("\(url): \(reason)")
    }

    package var description: String {
        switch self {
        case .unreachable(let reason): "cannot reach Redis at \(reason)"
        case .refused(let answer): "Redis refused \(answer)"
        case .replica(let address):
            "Redis at \(address) is a replica: what is published there reaches its own subscribers only"
        case .lost(let reason): "lost Redis: \(reason)"
        case .interrupted: "interrupted"
        }
    }
}

/// One connection to Redis, which is not made again, and the loop that turns while the program waits.
///
/// To a cluster it is one to each master. It ends with the first of them that is lost behind commands of this session,
/// and with the first command that no master could be given: what became of the others is known, of these not.
package final class RedisSession {
    private let loop: EventLoop
    private let isInterrupted: () -> Bool
    private let url: RedisURL
    /// Until when a connection is awaited that may still come.
    private let deadline: MonotonicInstant
    private let store: RedisStore
    private var wasUp = false
    /// Why there is no connection, or was none yet.
    private var ending: RedisSessionError?
    /// Of a cluster: why a command had no outcome.
    private var unavailability: String?

    /// What the server has refused at login, and can be done without.
    package var refusals: [RefusedCommand] { store.refusals }
    /// Why there is no connection, or was none yet.
    package var failure: RedisSessionError? { ending ?? unavailability.map { .lost($0) } }

    /// Connects, logs in and selects the database. Behind sentinels, and in a cluster, it is tried again until the
    /// timeout, as a failover may be under way.
    ///
    /// - Parameters:
    ///   - timeout: the longest wait for the connection, and later for each answer.
    ///   - answerTimeout: the longest wait for an answer, if it is another.
    ///   - mustBeMaster: whether a replica is refused; one that keeps its role to itself is not.
    ///   - isInterrupted: ends every wait; looked at after each turn of the loop.
    /// - Throws: `RedisSessionError`, of the last attempt.
    package convenience init(
        to url: RedisURL, timeout: Duration, answerTimeout: Duration? = nil, mustBeMaster: Bool = false,
        loop: EventLoop,
        isInterrupted: @escaping () -> Bool = { false }
    ) throws(RedisSessionError) {
        self.init(
            starting: url, timeout: timeout, answerTimeout: answerTimeout, mustBeMaster: mustBeMaster,
            loop: loop, isInterrupted: isInterrupted)
        try awaitConnection()
    }

    /// Starts to connect, without waiting; see `init(to:…)`.
    package init(
        starting url: RedisURL, timeout: Duration, answerTimeout: Duration? = nil,
        mustBeMaster: Bool = false,
        loop: EventLoop, isInterrupted: @escaping () -> Bool = { false }
    ) {
        self.loop = loop
        self.isInterrupted = isInterrupted
        self.url = url
        deadline = .now + timeout
        store = RedisStore(
            plainTo: url, timeout: timeout, answerTimeout: answerTimeout, mustBeMaster: mustBeMaster,
            loop: loop)
        store.onUp = { [unowned self] in self.stands() }
        store.onChange = { [unowned self] in self.stands() }
        store.onDown = { [unowned self] in self.ended($0) }
        store.onMasterLost = { [unowned self] master, reason in
            self.ending = self.ending ?? .lost("\(master): \(reason)")
        }
        store.start()
    }

    /// Waits for the connection. Once.
    ///
    /// - Throws: `RedisSessionError`, of the last attempt.
    package func awaitConnection() throws(RedisSessionError) {
        let left = mayPass ? max(.milliseconds(1), deadline - .now) : nil
        loop.run(atMost: left) {
            !wasUp && !isInterrupted() && (ending == nil || (mayPass && !store.isRefused))
        }
        // Some masters of a cluster are enough to begin.
        if wasUp || (store.isUp && !isInterrupted()) {
            (wasUp, ending) = (true, nil)
            return
        }
        store.stop()
        throw isInterrupted() ? .interrupted : ending ?? .unreachable("\(url): no connection in time")
    }

    /// Whether it is tried again after a failure: a failover may be under way.
    private var mayPass: Bool { if case .server = url.route { false } else { true } }

    deinit { store.stop() }

    /// Ends the connection; nothing more is sent.
    package func close() { store.stop() }

    /// The connection stands; in a cluster when every master has had its first word.
    private func stands() {
        guard !wasUp, store.isUp, store.hasTried else { return }
        (wasUp, ending) = (true, nil)
    }

    private func ended(_ reason: String) {
        // The reasons of a cluster are those of all nodes.
        let isRefused = store.isRefused && !url.isCluster
        if wasUp, ending != nil { return store.stop() }
        ending = RedisSessionError(reason, isRefused: isRefused, wasUp: wasUp, url: url)
        // Without sentinels the first failure of a session that nobody awaits yet is its last.
        if wasUp || !mayPass { store.stop() }
    }

    /// Sends a command; `onReply` is called once, during a wait or when the connection ends.
    ///
    /// - Parameter key: in a cluster, a command without a key goes to the master that has this one, if that is up; nil
    ///   is any master.
    package func send(
        _ command: RedisCommand, near key: [UInt8]? = nil,
        onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) {
        if let lost { return onReply(.failure(.unavailable(lost))) }
        store.send(command, near: key, onReply: noticing(onReply))
    }

    /// Sends a command without a key to a master of `masters`, and one with a key where that is.
    package func send(
        _ command: RedisCommand, at master: RedisURL.Address?,
        onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) {
        if let lost { return onReply(.failure(.unavailable(lost))) }
        store.send(command, at: master, onReply: noticing(onReply))
    }

    /// Why a cluster gets nothing more, although other masters are there: what is sent again over another session must
    /// not come behind it.
    private var lost: String? { url.isCluster ? failure?.description : nil }

    /// One server says by itself that it is lost, a cluster has others.
    private func noticing(
        _ onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) -> (Result<RedisReply, RedisFailure>) -> Void {
        guard url.isCluster else { return onReply }
        return { [weak self] result in
            onReply(result)
            if let self, case .failure(.unavailable(let reason)) = result {
                self.unavailability = self.unavailability ?? reason
            }
        }
    }

    /// Sends commands whose answers are numbers; `onNews` is called during waits. In a cluster all batches go to one
    /// master as long as that is up.
    ///
    /// - Parameter key: it is the one that has this key, if that is up.
    package func send(
        _ batch: RedisBatch, near key: [UInt8]? = nil, onNews: @escaping (RedisBatch.News) -> Void
    ) {
        guard lost == nil else { return onNews(.lost) }
        store.send(batch, near: key, onNews: onNews)
    }

    /// Sends what was given, without waiting.
    package func flush() {
        loop.run { false }
    }

    /// Sends what was given, and turns the loop until something is so.
    ///
    /// - Throws: `lost` when the connection ends first, `interrupted`.
    package func wait(until isDone: () -> Bool) throws(RedisSessionError) {
        loop.run { failure == nil && !isInterrupted() && !isDone() }
        if isDone() { return }
        throw failure ?? .interrupted
    }

    /// Sends commands in one write to each server, and waits for all of their replies.
    ///
    /// - Parameters:
    ///   - master: of `masters`, for commands without a key; nil is any.
    ///   - read: called with each reply and the place of its command; from one server in that order.
    /// - Throws: `refused` for the first reply that is an error, once all are there; `lost`; `interrupted`.
    package func call(
        _ commands: [RedisCommand], at master: RedisURL.Address? = nil,
        _ read: @escaping (RedisReply, Int) -> Void
    ) throws(RedisSessionError) {
        try call(commands.map { ($0, master) }, read)
    }

    /// Sends each command to its master, and waits for all of their replies; otherwise as the other one.
    package func call(
        _ commands: [(command: RedisCommand, master: RedisURL.Address?)],
        _ read: @escaping (RedisReply, Int) -> Void
    ) throws(RedisSessionError) {
        var missingCount = commands.count
        var refusal: String?
        for (index, (command, master)) in commands.enumerated() {
            send(command, at: master) { result in
                missingCount -= 1
                switch result {
                case .success(let reply): read(reply, index)
                case .failure(.refused(let message)): refusal = refusal ?? "\(command.name): \(message)"
                case .failure(.unavailable): break
                }
            }
        }
        try wait { missingCount == 0 }
        if let failure { throw failure }
        if let refusal { throw .refused(refusal) }
    }

    // MARK: A cluster

    /// Whether it leads to a cluster, whose PUBLISH counts the receivers at one node only.
    package var isCluster: Bool { url.isCluster }

    /// The masters, each of which has a share of the keys; nil is the one server.
    package var masters: [RedisURL.Address?] { store.masters }

    /// Asks a cluster for its map.
    func renewMap(onDone: @escaping (Result<ClusterMap, RedisFailure>) -> Void) {
        store.renewMap(onDone: onDone)
    }

    /// Those of them to which commands have gone.
    package var usedMasters: [RedisURL.Address?] { store.usedMasters }

    /// The master that has a key; nil is the one server.
    package func master(of key: [UInt8]) -> RedisURL.Address? { store.master(of: key) }
}
