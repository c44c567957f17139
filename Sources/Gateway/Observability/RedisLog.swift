// What a node tells of its connections to Redis. Runs on the control loop.

import EventLoop

/// Which of a node's connections.
enum RedisRole: Hashable, Sendable, CustomStringConvertible {
    case subscriber
    case worker(Int)
    /// To a sentinel: a node serves without it, only a switch of masters would be noticed late.
    case sentinel

    var description: String {
        switch self {
        case .subscriber: "subscriber"
        case .worker(let index): "worker \(index)"
        case .sentinel: "sentinel"
        }
    }
}

/// Tells each trouble with Redis once for the whole node, however many connections and attempts repeat it, and its
/// end once, when every connection is back.
struct RedisLog {
    /// A command that was not refused for so long is news when it is.
    static let refusalMemory = Duration.seconds(60)

    private let log: Log
    /// Connections without which the node is not ready.
    private let neededCount: Int
    private var up: Set<RedisRole> = []
    private var hasBeenUp = false
    /// Told since all connections were up the last time.
    private var toldReasons: Set<String> = []
    private var toldSentinelReasons: Set<String> = []
    private var refusedAt: [String: MonotonicInstant] = [:]
    private var refusedWorkers: Set<Int> = []

    init(_ log: Log, workerCount: Int) {
        self.log = log
        neededCount = workerCount + 1
    }

    /// A connection, or an attempt at one, was lost.
    mutating func down(_ role: RedisRole, _ reason: String) {
        guard role != .sentinel else {
            guard toldSentinelReasons.insert(reason).inserted else { return }
            log.warning("no sentinel tells of switches", ["reason": reason])
            return
        }
        up.remove(role)
        guard toldReasons.insert(RedisLog.kind(of: reason)).inserted else { return }
        log.warning(
            hasBeenUp ? "redis connection lost" : "redis not reached", ["role": "\(role)", "reason": reason])
    }

    /// A connection stands.
    mutating func isUp(_ role: RedisRole) {
        guard role != .sentinel else {
            if !toldSentinelReasons.isEmpty { log.info("a sentinel tells of switches again") }
            toldSentinelReasons = []
            return
        }
        guard up.insert(role).inserted, up.count == neededCount else { return }
        log.info(hasBeenUp ? "redis connection restored" : "redis connected")
        hasBeenUp = true
        toldReasons = []
    }

    /// Redis has refused a command, with its message. What concerns all commands is told of the first.
    mutating func refused(_ command: String, _ message: String, now: MonotonicInstant = .now) {
        let code = Refusal.code(of: message)
        let kind = WriteHealth.concernsAll(message) ? code : "\(code) \(command)"
        let last = refusedAt.updateValue(now, forKey: kind)
        guard last.map({ now - $0 >= RedisLog.refusalMemory }) ?? true else { return }
        log.warning("redis refuses commands", ["command": command, "reason": Refusal.text(message)])
    }

    /// Redis refuses what keeps a worker's records alive, or takes it again. The end is told; the begin was, by the
    /// command that was refused.
    mutating func writes(worker: Int, isRefusing: Bool) {
        guard !isRefusing else {
            refusedWorkers.insert(worker)
            return
        }
        guard refusedWorkers.remove(worker) != nil, refusedWorkers.isEmpty else { return }
        refusedAt = [:]
        log.info("redis takes commands again")
    }

    /// The reason without its numbers, such as how long a silence was.
    private static func kind(of reason: String) -> String {
        String(reason.unicodeScalars.filter { !("0"..."9").contains($0) })
    }
}
