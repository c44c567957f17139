// The connection to Redis of console and publishing: opened when someone opens the console or publishes over HTTP,
// and closed when no one does
// any more, so that a node has only the connections that it needs. Confined to the control loop.

import EventLoop
import Redis

/// Sends commands over a connection, or one to each master of a cluster, that exists only while it is used.
final class ConsoleLink {
    typealias Outcome = Result<RedisReply, RedisFailure>

    private let configuration: Configuration
    private let state: NodeState
    private let loop: EventLoop
    private var connection: RedisStore?
    /// Commands that wait for the connection.
    private var waiting: [(RedisCommand, key: [UInt8]?, (Outcome) -> Void)] = []
    private var hasTried = false
    /// Of servers, when this connection was made.
    private var changeCount = 0
    private var idleTimer: Timer?

    init(node: NodeContext, loop: EventLoop) {
        configuration = node.configuration
        state = node.state
        self.loop = loop
        idleTimer = Timer(on: loop) { [unowned self] in self.disconnect() }
    }

    /// Sends a command, or fails if Redis is unreachable.
    ///
    /// - Parameters:
    ///   - key: in a cluster, a command without a key goes to the master that has this one, if that is up; nil is any
    ///     master.
    ///   - onReply: called once, on the loop, within the timeout of requests.
    func send(_ command: RedisCommand, near key: [UInt8]? = nil, onReply: @escaping (Outcome) -> Void) {
        idleTimer?.start(after: Limits.consoleIdleTime)
        // A server that was demoted would take what is published, and deliver it to no one. In a cluster it delivers
        // it.
        if hasTried, !isCluster, changeCount != state.serverChangeCount { disconnect() }
        let connection = connection ?? connect()
        if hasTried {
            connection.send(command, near: key, onReply: onReply)
        } else {
            waiting.append((command, key, onReply))
        }
    }

    /// The node's own address on the connection to Redis; nil without a connection.
    var localHost: String? { connection?.localHost }

    /// Whether PUBLISH counts the nodes at one of several servers only.
    var isCluster: Bool { configuration.redis.isCluster }

    private func connect() -> RedisStore {
        let connection = RedisStore(
            url: configuration.redis, clientName: "roomcast-console-\(configuration.nodeId)",
            timeout: configuration.redisTimeout, silenceTimeout: configuration.redisSilenceTimeout,
            proof: .server, mustBeMaster: true, loop: loop)
        self.connection = connection
        changeCount = state.serverChangeCount
        connection.onUp = { [unowned self] in self.tried() }
        connection.onDown = { [unowned self] _ in self.tried() }
        connection.start()
        return connection
    }

    /// From now on the connection itself decides whether it takes commands.
    private func tried() {
        hasTried = true
        let commands = waiting
        waiting = []
        for (command, key, onReply) in commands { connection?.send(command, near: key, onReply: onReply) }
    }

    private func disconnect() {
        // Commands that were sent have had their outcome long before.
        connection?.stop()
        connection = nil
        hasTried = false
        let commands = waiting
        waiting = []
        for (_, _, onReply) in commands { onReply(.failure(.unavailable("no connection"))) }
    }
}
