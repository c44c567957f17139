// What happens to a Redis Cluster: its servers die, freeze, are cut off and come back, masters change, slots move,
// servers come and go. Each returns when all servers that are up know.
import Foundation
import Testing

extension ClusterGroup {
    /// How far a slot has moved.
    enum MoveStep: Sendable, Equatable {
        /// The old owner asks clients away for keys that it does not have, and the new one takes them if asked so.
        case opened
        /// These keys are at the new owner now.
        case moved(keys: [String])
        /// The new owner has the slot, and no other server knows.
        case taken
    }

    // MARK: Death and sleep

    /// Ends a server at once, with all that it has not saved.
    func kill(_ server: RedisServer) async throws {
        let slot = try await view(server).own.firstSlot
        let process = try member(server).process
        try await process.signal(SIGKILL)
        guard try await process.exitCode() != nil else { throw HarnessError("\(process.name) did not end") }
        update(server) { ($0.isUp, $0.slot) = (false, slot) }
    }

    /// Starts a killed server in its place; it is a replica if its own has become the master.
    func start(_ server: RedisServer) async throws {
        let process = try await server.restart()
        update(server) { ($0.process, $0.isUp) = (process, true) }
    }

    /// It answers nothing, and its connections stay.
    func freeze(_ server: RedisServer) async throws {
        let slot = try await view(server).own.firstSlot
        update(server) { ($0.isUp, $0.slot) = (false, slot) }
        try await member(server).process.signal(SIGSTOP)
    }

    func thaw(_ server: RedisServer) async throws {
        try await member(server).process.signal(SIGCONT)
        update(server) { $0.isUp = true }
    }

    /// The server answers everything and goes on as before, but what is published elsewhere no longer reaches it.
    func deafen(_ server: RedisServer) async throws { try await dropPackets(4, at: server) }
    func undeafen(_ server: RedisServer) async throws { try await dropPackets(-1, at: server) }

    /// - Parameter type: of the cluster's bus; 4 is PUBLISH, -1 none.
    private func dropPackets(_ type: Int, at server: RedisServer) async throws {
        try await tell(server, "DEBUG", "DROP-CLUSTER-PACKET-FILTER", .string("\(type)"))
    }

    // MARK: Masters

    /// A replica becomes the master in place of its own, which lives and follows it then.
    func failOver(to replica: RedisServer, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        var asked: ContinuousClock.Instant?
        try await eventually("the replica is the master", sourceLocation: sourceLocation) {
            if try await isMaster(replica) { return true }
            // The server gives up by itself after five seconds.
            if asked.map({ ContinuousClock.now - $0 > .seconds(6) }) ?? true {
                asked = .now
                try await tell(replica, "CLUSTER", "FAILOVER")
            }
            return false
        }
        try await agreement(sourceLocation: sourceLocation)
    }

    /// Waits until a replica has taken the place of a master that was killed or frozen; returns it. Before, no replica
    /// does for many seconds.
    @discardableResult
    func promotion(inPlaceOf master: RedisServer, sourceLocation: SourceLocation = #_sourceLocation)
        async throws -> RedisServer
    {
        let member = try member(master)
        guard let slot = member.slot else { throw HarnessError("the server at \(master.port) had no slots") }
        try await whileDeathIsNoticedSoon {
            try await eventually("another server is the master", sourceLocation: sourceLocation) {
                try await view(upServers[0]).nodes[member.id]?.ranges.isEmpty == true
            }
        }
        try await agreement(sourceLocation: sourceLocation)
        return try await owner(ofSlot: slot)
    }

    // MARK: Slots

    /// Moves a slot with its keys to another master, as redis-cli does.
    /// - Parameters:
    ///   - keysAtOnce: how many keys leave in one step.
    ///   - onStep: is called behind each step, and the next one waits for it.
    func move(
        slot: Int, to target: RedisServer, keysAtOnce: Int = 100,
        onStep: (MoveStep) async throws -> Void = { _ in }
    ) async throws {
        let source = try await owner(ofSlot: slot)
        guard source !== target else { return }
        let name = JSON.string("\(slot)")
        let targetId = JSON.string(try member(target).id)
        try await tell(target, "CLUSTER", "SETSLOT", name, "IMPORTING", .string(member(source).id))
        try await tell(source, "CLUSTER", "SETSLOT", name, "MIGRATING", targetId)
        try await onStep(.opened)
        while true {
            let keys = try await tell(source, "CLUSTER", "GETKEYSINSLOT", name, .string("\(keysAtOnce)"))
            guard let keys = keys.array, !keys.isEmpty else { break }
            try await migrate(keys, from: source, to: target)
            try await onStep(.moved(keys: keys.compactMap(\.string)))
        }
        // The target first: if it were last, nobody would own the slot for a moment.
        try await tell(target, "CLUSTER", "SETSLOT", name, "NODE", targetId)
        try await onStep(.taken)
        for master in try await [source] + masters() where master !== target {
            let reply = try await master.command(
                ["CLUSTER", "SETSLOT", name, "NODE", targetId], user: nil, password: password)
            // It may have heard of it by itself, and has become a replica of the target if that was its last slot.
            let isReplica = reply["error"].string?.contains("only with masters") == true
            guard reply == "OK" || isReplica else {
                throw HarnessError("SETSLOT at \(master.port): \(reply)")
            }
        }
    }

    /// Moves many slots, and waits until all servers know.
    func move(slots: some Sequence<Int>, to target: RedisServer) async throws {
        for slot in slots { try await move(slot: slot, to: target) }
        try await agreement()
    }

    private func migrate(_ keys: [JSON], from source: RedisServer, to target: RedisServer) async throws {
        let place: [JSON] = ["127.0.0.1", .string("\(target.servedPort)"), "", "0", "60000"]
        let authority: [JSON] = target.password.map { ["AUTH", .string($0)] } ?? []
        let reply = try await source.command(
            ["MIGRATE"] + place + authority + ["KEYS"] + keys, user: nil, password: source.password)
        // A key may have ended since.
        guard reply == "OK" || reply == "NOKEY" else { throw HarnessError("MIGRATE: \(reply)") }
    }

    // MARK: Members

    /// A fresh server: a master without slots, or a replica.
    @discardableResult
    func add(replicaOf master: RedisServer? = nil) async throws -> RedisServer {
        let others = upServers
        let server = try await startServer()
        for other in others { try await meet(server, at: other) }
        try await agreement()
        if let master {
            try await replicate(server, master)
            try await agreement()
        }
        return server
    }

    /// Takes a server without slots out of the cluster, as `redis-cli --cluster del-node` does. It runs on, alone, and
    /// answers; its replicas follow another master.
    func remove(_ server: RedisServer) async throws {
        let id = try member(server).id
        guard try await view(server).own.ranges.isEmpty else {
            throw HarnessError("the server at \(server.port) has slots")
        }
        for replica in try await replicas(of: server) {
            guard let master = try await masters().first(where: { $0 !== server }) else { continue }
            try await replicate(replica, master)
        }
        members.withLock { $0.removeAll { $0.id == id } }
        for other in upServers { try await tell(other, "CLUSTER", "FORGET", .string(id)) }
        try await tell(server, "CLUSTER", "RESET", "SOFT")
        try await agreement()
    }

    private func update(_ server: RedisServer, _ change: (inout Member) -> Void) {
        members.withLock { members in
            for index in members.indices where members[index].server === server { change(&members[index]) }
        }
    }
}
