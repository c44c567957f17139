// What every thread of a node is given. Any thread.

import EventLoop
import Redis
import RedisSchema
import Synchronization

/// The immutable parts of a node: settings, log, counters, state, and the mailboxes between its threads.
struct NodeContext: Sendable {
    let configuration: Configuration
    let log: Log
    let metrics: Metrics
    /// Only for a Redis Cluster: its map, which all threads learn.
    let clusterMaps = ClusterMaps()
    let state: NodeState
    let admission: Admission
    let workerMailboxes: [Mailbox<WorkerMessage>]
    /// The bytes that wait for each worker.
    let backlogs: [Backlog]
    /// One for each feed.
    let feedMailboxes: [Mailbox<FeedMessage>]
    let controlMailbox: Mailbox<ControlNotice>
    /// Distinguishes this start of the node from every other one, even of a node with the same id.
    let run: [UInt8]

    init(configuration: Configuration, log: Log, state: NodeState) {
        self.configuration = configuration
        self.log = log
        self.state = state
        admission = Admission(configuration)
        workerMailboxes = (0..<configuration.workerCount).map { _ in Mailbox() }
        backlogs = (0..<configuration.workerCount).map { _ in Backlog() }
        feedMailboxes = (0..<state.feedCount).map { _ in Mailbox() }
        metrics = Metrics(workerCount: configuration.workerCount, feedCount: state.feedCount)
        controlMailbox = Mailbox()
        var random = RandomPool()
        run = Token.mint(using: &random).bytes
    }

    /// Has every worker close a connection that waits for its peer: descriptors are the whole process's.
    ///
    /// - Parameter index: of the worker that asks, which has no such connection; nil for another loop.
    func askForRoom(besides index: Int? = nil) {
        for (other, mailbox) in workerMailboxes.enumerated() where other != index {
            mailbox.post(.news(.makeRoom))
        }
    }
}

/// The bytes of the messages that are posted to a worker and not yet taken by it.
final class Backlog: Sendable {
    private let count = Atomic<Int>(0)

    var bytes: Int { count.load(ordering: .relaxed) }

    func add(_ bytes: Int) { count.add(bytes, ordering: .relaxed) }

    func subtract(_ bytes: Int) { count.subtract(bytes, ordering: .relaxed) }
}

/// To the control loop, from a feed or a worker.
enum ControlNotice: Sendable {
    /// The worker has no connection left.
    case drained(worker: Int)
    /// A connection to Redis has come or gone.
    case readinessChanged
    /// A connection to Redis is up.
    case redisUp(RedisRole)
    /// A connection to Redis, or an attempt at one, was lost: the reason.
    case redisDown(RedisRole, String)
    /// Redis has refused a command, with its message.
    case redisRefused(command: String, String)
    /// A worker is connected to this server: the only one, or a master of a cluster.
    case redisServer(RedisConnection.Server, isOnly: Bool)
    /// Redis has refused a command, with its message, without which everything works.
    case redisLacks(command: String, String)
    /// Redis refuses to let the node publish, with its message.
    case publishRefused(String)
    /// Redis has lost records, as a worker has found out.
    case recordsLost(LossWatch.Loss)
    /// Redis refuses a worker's writes, or accepts them again.
    case redisWrites(worker: Int, isRefusing: Bool)
}
