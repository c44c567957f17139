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
package final class RedisSession {
    private let loop: EventLoop
    private let isInterrupted: () -> Bool
    private let url: RedisURL
    /// Until when a connection is awaited that may still come.
    private let deadline: MonotonicInstant
    private let connection: RedisConnection
    private var wasUp = false
    /// What the server has refused at login, and can be done without.
    package private(set) var refusals: [RefusedCommand] = []
    /// Why there is no connection, or was none yet.
    package private(set) var failure: RedisSessionError?

    /// Connects, logs in and selects the database. Behind sentinels it is tried again until the timeout, as
    /// a failover may be under way.
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
        connection = RedisConnection(
            plainTo: url, timeout: timeout, answerTimeout: answerTimeout, mustBeMaster: mustBeMaster,
            loop: loop)
        connection.onUp = { [unowned self] server in
            self.refusals = server.refusals
            self.wasUp = true
            self.failure = nil
        }
        connection.onDown = { [unowned self] in self.ended($0) }
        connection.start()
    }

    /// Waits for the connection. Once.
    ///
    /// - Throws: `RedisSessionError`, of the last attempt.
    package func awaitConnection() throws(RedisSessionError) {
        let left = mayPass ? max(.milliseconds(1), deadline - .now) : nil
        loop.run(atMost: left) {
            !wasUp && !isInterrupted() && (failure == nil || (mayPass && !connection.isRefused))
        }
        if wasUp { return }
        connection.stop()
        throw isInterrupted() ? .interrupted : failure ?? .unreachable("\(url): no connection in time")
    }

    /// Whether it is tried again after a failure: a failover may be under way.
    private var mayPass: Bool { if case .master = url.route { true } else { false } }

    deinit { connection.stop() }

    /// Ends the connection; nothing more is sent.
    package func close() { connection.stop() }

    private func ended(_ reason: String) {
        failure = RedisSessionError(reason, isRefused: connection.isRefused, wasUp: wasUp, url: url)
        // Without sentinels the first failure of a session that nobody awaits yet is its last.
        if wasUp || !mayPass { connection.stop() }
    }

    /// Sends a command; `onReply` is called once, during a wait or when the connection ends.
    package func send(_ command: RedisCommand, onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void)
    {
        connection.send(command, onReply: onReply)
    }

    /// Sends commands whose answers are numbers; `onNews` is called during waits.
    package func send(_ batch: RedisBatch, onNews: @escaping (RedisBatch.News) -> Void) {
        connection.send(batch, onNews: onNews)
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

    /// Sends commands in one write, and waits for all of their replies.
    ///
    /// - Parameter read: called with each reply and the place of its command, in that order.
    /// - Throws: `refused` for the first reply that is an error, once all are there; `lost`; `interrupted`.
    package func call(
        _ commands: [RedisCommand], _ read: @escaping (RedisReply, Int) -> Void
    ) throws(RedisSessionError) {
        var missingCount = commands.count
        var refusal: String?
        for (index, command) in commands.enumerated() {
            connection.send(command) { result in
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
}
