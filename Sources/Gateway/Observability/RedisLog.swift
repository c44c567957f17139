// What a node logs about its connections to Redis. Runs on the control loop.

import EventLoop
import Redis

/// One of a node's connections to Redis.
enum RedisRole: Hashable, Sendable, CustomStringConvertible {
    case feed(Int)
    case worker(Int)
    /// To a sentinel: a node serves without it, but would notice a switch of masters late.
    case sentinel

    var description: String {
        switch self {
        case .feed: "subscriber"
        case .worker(let index): "worker \(index)"
        case .sentinel: "sentinel"
        }
    }
}

/// Logs each trouble with Redis once for the whole node, however many connections and attempts repeat it,
/// and logs its end once every connection is back.
struct RedisLog {
    private let log: Log
    /// Connections without which the node is not ready.
    private let neededCount: Int
    private var up: Set<RedisRole> = []
    private var hasBeenUp = false
    /// Logged since all connections were up the last time.
    private var loggedReasons: Set<String> = []
    private var loggedSentinelReasons: Set<String> = []
    private var refusedAt: [String: MonotonicInstant] = [:]
    private var refusedWorkers: Set<Int> = []
    private var server: RedisConnection.Server?
    private var loggedLacks: Set<String> = []
    private var loggedPolicy: String?
    private var hasLoggedRun = false
    private var hasLoggedLineFeed = false
    private var lossLoggedAt: [LossWatch.Loss: MonotonicInstant] = [:]

    init(_ log: Log, neededCount: Int) {
        self.log = log
        self.neededCount = neededCount
    }

    /// A connection, or an attempt at one, was lost.
    mutating func down(_ role: RedisRole, _ reason: String) {
        guard role != .sentinel else {
            guard loggedSentinelReasons.insert(reason).inserted else { return }
            log.warning("sentinel connection lost", ["reason": reason])
            return
        }
        up.remove(role)
        guard loggedReasons.insert(RedisLog.kind(of: reason)).inserted else { return }
        log.warning(
            hasBeenUp ? "redis connection lost" : "redis unreachable", ["role": "\(role)", "reason": reason])
    }

    /// A connection is up.
    mutating func isUp(_ role: RedisRole) {
        guard role != .sentinel else {
            if !loggedSentinelReasons.isEmpty { log.info("sentinel connection restored") }
            loggedSentinelReasons = []
            return
        }
        guard up.insert(role).inserted, up.count == neededCount else { return }
        log.info(hasBeenUp ? "redis connection restored" : "redis connected")
        hasBeenUp = true
        loggedReasons = []
    }

    /// A worker is connected, and this is what the server says of itself.
    ///
    /// - Parameter isOnly: whether there is one server at a time; false in a cluster.
    /// - Returns: whether it is another one than before.
    mutating func connected(to server: RedisConnection.Server, isOnly: Bool = true) -> Bool {
        defer { self.server = server }
        for refused in server.refusals { lacks(refused.command, refused.message) }
        if server.runID == nil, !hasLoggedRun {
            hasLoggedRun = true
            log.info(
                "redis does not say which server it is: missing records are written again after each lost connection"
            )
        }
        if let policy = server.evictingPolicy, policy != loggedPolicy {
            log.warning(
                "redis may evict the records of connected clients",
                ["maxmemory_policy": policy, "recommended": "noeviction"])
        }
        loggedPolicy = server.evictingPolicy
        return isOnly && self.server.map { !$0.isSameRun(as: server) } ?? false
    }

    /// Redis refuses a command, with its message, without which everything works.
    mutating func lacks(_ command: String, _ message: String) {
        guard loggedLacks.insert(command).inserted else { return }
        log.debug(
            "redis refuses a command that the node can do without",
            ["command": command, "reason": RedisRefusal.text(message)])
    }

    /// The password in the file ends in a line feed, which is no part of it.
    mutating func lineFeedDropped() {
        guard !hasLoggedLineFeed else { return }
        hasLoggedLineFeed = true
        log.info("the line feed at the end of the password file is left out")
    }

    /// Redis has lost records. Each worker notices it.
    mutating func recordsLost(_ loss: LossWatch.Loss, now: MonotonicInstant = .now) {
        let last = lossLoggedAt.updateValue(now, forKey: loss)
        guard last.map({ now - $0 >= Limits.settlingTime }) ?? true else { return }
        log.warning(
            "redis has lost records: those of connected clients are written again", ["cause": loss.rawValue])
    }

    /// Redis refuses to let the node publish.
    func publishRefused(_ message: String) {
        log.warning(
            "redis refuses PUBLISH: a token's second connection is refused, as the first cannot be told",
            ["reason": RedisRefusal.text(message)])
    }

    /// Redis has refused a command, with its message. A refusal that concerns all commands is logged for the
    /// first one.
    mutating func refused(_ command: String, _ message: String, now: MonotonicInstant = .now) {
        let code = RedisRefusal.code(of: message)
        let kind = WriteHealth.concernsAll(message) ? code : "\(code) \(command)"
        let last = refusedAt.updateValue(now, forKey: kind)
        guard last.map({ now - $0 >= Limits.refusalMemory }) ?? true else { return }
        log.warning("redis refuses commands", ["command": command, "reason": RedisRefusal.text(message)])
    }

    /// Redis refuses the writes that keep a worker's records alive, or accepts them again. This logs the
    /// end; the refused command has logged the beginning.
    mutating func writes(worker: Int, isRefusing: Bool) {
        guard !isRefusing else {
            refusedWorkers.insert(worker)
            return
        }
        guard refusedWorkers.remove(worker) != nil, refusedWorkers.isEmpty else { return }
        refusedAt = [:]
        log.info("redis accepts commands again")
    }

    /// The reason without its numbers, such as the length of a silence.
    private static func kind(of reason: String) -> String {
        String(reason.unicodeScalars.filter { !("0"..."9").contains($0) })
    }
}
