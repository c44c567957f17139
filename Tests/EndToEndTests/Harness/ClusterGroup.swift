// A Redis Cluster of real servers on this machine, made and asked with plain commands; `ClusterChanges` is what
// happens to it. Its servers forget everything when they are killed, unless the options say otherwise, but for their
// place in the cluster.
import Foundation
import Synchronization
import Testing

final class ClusterGroup: Sendable {
    /// What CLUSTER SLOTS names as the place of a server.
    enum Endpoint: Sendable {
        case address
        /// `localhost`.
        case hostName
        /// Nothing: the client is to take the host that it asked.
        case unknown
    }

    /// A server of the cluster. Its id stays the same, also when it is started again.
    struct Member: Sendable {
        let server: RedisServer
        let id: String
        var process: Child
        /// It runs, and is not frozen.
        var isUp = true
        /// One of those that it owned when it was last killed or frozen.
        var slot: Int?
    }

    static let slotCount = 16_384
    /// In milliseconds: for how long a server may be silent before the others take it for dead. Redis' default, which
    /// no server exceeds because a busy machine lets it wait.
    private static let nodeTimeout = "15000"
    private static let shortNodeTimeout = "1000"

    let driver: Driver
    let password: String?
    private let certificates: Certificates?
    private let options: [String]
    let members = Mutex<[Member]>([])

    /// - Parameters:
    ///   - masterCount: how many masters share the slots evenly; `servers` begins with them.
    ///   - replicasOfEach: how many replicas each has; behind the masters `servers` has a replica of each, then a
    ///     second one of each.
    ///   - isCoverageRequired: whether a slot without a master makes the whole cluster fail, as Redis has it by
    ///     default.
    ///   - password: of the user `default` of all servers.
    ///   - isSecured: whether clients and the servers among themselves talk in TLS; a test's own commands never do.
    ///   - options: more options of each server.
    init(
        _ driver: Driver, masters masterCount: Int = 3, replicasOfEach: Int = 1,
        isCoverageRequired: Bool = false,
        password: String? = nil, isSecured: Bool = false, endpoint: Endpoint = .address,
        options: [String] = []
    ) async throws {
        self.driver = driver
        self.password = password
        certificates = isSecured ? try await Certificates(driver) : nil
        var all = [
            "--cluster-enabled", "yes", "--cluster-node-timeout", Self.nodeTimeout,
            "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0",
            "--cluster-require-full-coverage",
            isCoverageRequired ? "yes" : "no",
            // A copy of its master that a replica loads is not there when it is started again.
            "--rdb-del-sync-files", "yes", "--enable-debug-command", "local",
        ]
        if let password { all += ["--masterauth", password] }
        if isSecured { all += ["--tls-cluster", "yes"] }
        switch endpoint {
        case .address: break
        case .hostName:
            all += [
                "--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname",
            ]
        case .unknown: all += ["--cluster-preferred-endpoint-type", "unknown-endpoint"]
        }
        self.options = all + options
        for index in 0..<masterCount * (1 + replicasOfEach) {
            let server = try await startServer()
            if index < masterCount {
                let (first, next) = (
                    Self.slotCount * index / masterCount, Self.slotCount * (index + 1) / masterCount
                )
                try await tell(
                    server, "CLUSTER", "ADDSLOTSRANGE", .string("\(first)"), .string("\(next - 1)"))
            }
            // Of their own each: servers that meet with the same one change theirs until none has another's.
            try await tell(server, "CLUSTER", "SET-CONFIG-EPOCH", .string("\(index + 1)"))
            for other in servers.dropLast() { try await meet(server, at: other) }
        }
        try await eventually("all servers know each other") { try await areAcquainted() }
        for index in masterCount..<servers.count {
            try await replicate(servers[index], servers[index % masterCount])
            // Once more: otherwise they hear of it by its pings, of which it sends one a second. Later this would do
            // harm, as it replaces a link and what is on its way there.
            for other in servers where other !== servers[index] { try await meet(other, at: servers[index]) }
        }
        try await agreement()
    }

    var servers: [RedisServer] { members.withLock { $0.map(\.server) } }
    /// Those that run and are not frozen.
    var upServers: [RedisServer] { members.withLock { $0.filter(\.isUp).map(\.server) } }

    // MARK: Programs under test

    /// - Parameter seeds: the servers that it names; nil names all that are up.
    func url(seeds: [RedisServer]? = nil, user: String? = nil) -> String {
        let hosts = (seeds ?? upServers).map { "127.0.0.1:\($0.servedPort)" }.joined(separator: ",")
        return "cluster\(certificates == nil ? "" : "s")://\(user.map { "\($0)@" } ?? "")\(hosts)"
    }

    /// With which a program connects; a password is for its environment.
    var connectionOptions: [String] { ["--redis", url()] + servers[0].authorityOptions }

    func startNode(
        _ id: String, options: [String] = [], environment: [String: String] = [:], url: String? = nil,
        workers: Int? = 2, awaitReady: Bool = true
    ) async throws -> GatewayNode {
        try await GatewayNode(
            driver, id: id, redis: servers[0], options: options, environment: environment,
            url: url ?? self.url(), workers: workers, awaitReady: awaitReady)
    }

    // MARK: Questions

    func view(_ server: RedisServer) async throws -> ClusterView {
        try ClusterView(parsing: try await tell(server, "CLUSTER", "NODES").string ?? "")
    }

    func isMaster(_ server: RedisServer) async throws -> Bool { try await view(server).own.isMaster }

    /// The masters that have slots.
    func masters() async throws -> [RedisServer] {
        var masters: [RedisServer] = []
        for server in upServers {
            let own = try await view(server).own
            if own.isMaster && !own.ranges.isEmpty { masters.append(server) }
        }
        return masters
    }

    /// The replicas that follow a server, by their own word.
    func replicas(of master: RedisServer) async throws -> [RedisServer] {
        let id = try member(master).id
        var replicas: [RedisServer] = []
        for server in upServers where try await view(server).own.masterId == id { replicas.append(server) }
        return replicas
    }

    /// The server that says that it owns a slot; of several the one with the latest word.
    /// - Throws: `HarnessError` while none does.
    func owner(ofSlot slot: Int) async throws -> RedisServer {
        var owner: (server: RedisServer, epoch: Int)?
        for server in upServers {
            let own = try await view(server).own
            guard own.isMaster, own.owns(slot), owner.map({ $0.epoch < own.epoch }) ?? true else { continue }
            owner = (server, own.epoch)
        }
        guard let owner else { throw HarnessError("slot \(slot) has no owner") }
        return owner.server
    }

    func owner(ofKey key: String) async throws -> RedisServer { try await owner(ofSlot: slot(ofKey: key)) }

    func slot(ofKey key: String) async throws -> Int {
        guard let slot = try await tell(upServers[0], "CLUSTER", "KEYSLOT", .string(key)).int else {
            throw HarnessError("\(key) has no slot")
        }
        return slot
    }

    /// The servers at which somebody has subscribed to a channel.
    func subscribed(to channel: String) async throws -> [RedisServer] {
        var found: [RedisServer] = []
        for server in upServers {
            let count = try await tell(server, "PUBSUB", "NUMSUB", .string(channel))[1].int ?? 0
            if count > 0 { found.append(server) }
        }
        return found
    }

    /// Waits until all servers that are up say the same, reach each other, and each replica is in step.
    func agreement(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await eventually("the servers of the cluster agree", sourceLocation: sourceLocation) {
            guard try await areAcquainted() else { return false }
            var agreed: [String: [String]]?
            for server in upServers {
                let view = try await view(server)
                guard agreed == nil || agreed == view.agreed else { return false }
                agreed = view.agreed
                guard try await tell(server, "CLUSTER", "INFO").string?.contains("cluster_state:ok") == true
                else { return false }
                if view.own.isMaster { continue }
                guard try await tell(server, "ROLE")[3] == "connected" else { return false }
            }
            return true
        }
    }

    /// Whether each server that is up knows all of them and no other, and is linked with those that are up.
    private func areAcquainted() async throws -> Bool {
        let members = members.withLock { $0 }
        for member in members where member.isUp {
            let nodes = try await view(member.server).nodes
            guard Set(nodes.keys) == Set(members.map(\.id)) else { return false }
            for other in members where other.isUp {
                guard let node = nodes[other.id], node.isLinked,
                    node.flags.isDisjoint(with: ["fail", "fail?", "handshake", "noaddr"])
                else { return false }
            }
        }
        return true
    }

    /// How many PUBLISHes a server has carried out.
    func publishCount(_ server: RedisServer) async throws -> Int {
        let text = try await tell(server, "INFO", "commandstats").string ?? ""
        return text.firstMatch(of: #/cmdstat_publish:calls=(\d+)/#).flatMap { Int($0.1) } ?? 0
    }

    // MARK: Death

    /// While `body` runs, the servers that are up take one for dead that is silent for a second.
    func whileDeathIsNoticedSoon(_ body: () async throws -> Void) async throws {
        try await setNodeTimeout(Self.shortNodeTimeout)
        try await body()
        try await setNodeTimeout(Self.nodeTimeout)
    }

    private func setNodeTimeout(_ milliseconds: String) async throws {
        for server in upServers {
            try await tell(server, "CONFIG", "SET", "cluster-node-timeout", .string(milliseconds))
        }
    }

    // MARK: Commands

    /// A command to a server.
    /// - Throws: `HarnessError` with its refusal.
    @discardableResult
    func tell(_ server: RedisServer, _ arguments: JSON...) async throws -> JSON {
        let reply = try await server.command(arguments, user: nil, password: password)
        if let refusal = reply["error"].string {
            let words = arguments.compactMap(\.string).joined(separator: " ")
            throw HarnessError("\(words) at \(server.port): \(refusal)")
        }
        return reply
    }

    func member(_ server: RedisServer) throws -> Member {
        guard let member = members.withLock({ $0.first { $0.server === server } }) else {
            throw HarnessError("the server at \(server.port) is not in the cluster")
        }
        return member
    }

    /// Starts one that knows no other.
    func startServer() async throws -> RedisServer {
        let busPort = try await driver.freePort()
        let directory = driver.directory.appending(path: "cluster-\(busPort)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let server = try await RedisServer(
            driver, password: password,
            options: options + ["--cluster-port", "\(busPort)", "--dir", directory.path],
            certificates: certificates)
        guard let id = try await tell(server, "CLUSTER", "MYID").string else {
            throw HarnessError("the server at \(server.port) has no id")
        }
        members.withLock { $0.append(Member(server: server, id: id, process: server.first)) }
        return server
    }

    /// `other` is told of a server. The rest would hear of it from there, but only after seconds.
    func meet(_ server: RedisServer, at other: RedisServer) async throws {
        guard let busPort = try await tell(server, "CONFIG", "GET", "cluster-port")[1].string else {
            throw HarnessError("the server at \(server.port) has no port of the cluster's bus")
        }
        try await tell(
            other, "CLUSTER", "MEET", "127.0.0.1", .string("\(server.servedPort)"), .string(busPort))
    }

    func replicate(_ server: RedisServer, _ master: RedisServer) async throws {
        try await tell(server, "CLUSTER", "REPLICATE", .string(member(master).id))
    }
}
