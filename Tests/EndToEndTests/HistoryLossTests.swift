// What can happen to Redis' histories beyond restarts: a failover that loses data, an operator who deletes, a clock
// that goes back. Whatever is missing is told, and what is not missing is not.
import Foundation
import Testing

@Suite struct HistoryLossTests {
    private func texts(_ range: Range<Int>) -> [String] { range.map { "n\($0)" } }

    /// Returns the ids.
    @discardableResult
    private func publish(_ redis: RedisServer, _ room: String, _ range: Range<Int>) async throws -> [String]
    {
        var ids: [String] = []
        for text in texts(range) { ids.append(try await redis.publishDurably(room: room, text)) }
        return ids
    }

    private func delete(_ redis: RedisServer, _ room: String, _ ids: String...) async throws {
        let command: [JSON] = ids.isEmpty ? ["DEL"] : ["XDEL"]
        let arguments = command + [.string("room:\(room)")] + ids.map(JSON.string)
        let deleted = try await redis.command(arguments, user: nil, password: nil)
        #expect(deleted.int == max(1, ids.count))
    }

    /// The milliseconds of Redis' clock.
    private func milliseconds(_ redis: RedisServer) async throws -> Int {
        let time = try await redis.command("TIME")
        let (seconds, microseconds) = (time[0].string.flatMap(Int.init), time[1].string.flatMap(Int.init))
        return try #require(seconds) * 1_000 + #require(microseconds) / 1_000
    }

    private func parts(_ id: String) throws -> (milliseconds: Int, number: Int) {
        let parts = id.split(separator: "-").compactMap { Int($0) }
        try #require(parts.count == 2)
        return (parts[0], parts[1])
    }

    /// A position like another one, at this notice.
    private func position(_ other: String?, at id: String) throws -> String {
        try #require(other).prefix(9) + id
    }

    private func readLoss(_ follower: Follower, _ room: String, count: Int = 1) async throws {
        while follower.lossCount(of: room) < count {
            guard try await follower.read() else { throw HarnessError("closed before the loss was told") }
        }
    }

    /// A replica that has not heard the last notices takes the place of its dead master. Nodes have handed on
    /// what is lost, so everyone is told: whoever has it, whoever has it not, and members of other rooms.
    @Test func failoverToAReplicaThatLagsIsToldToEveryone() async throws {
        try await Cluster.with(nodes: 2, redisOptions: ["--repl-diskless-sync-delay", "0"]) { cluster in
            let master = cluster.redis
            let replica = try await RedisServer(
                cluster.driver,
                options: ["--replicaof", "127.0.0.1", "\(master.port)", "--dbfilename", "replica.rdb"])
            let (room, quiet) = (cluster.room(), cluster.room("quiet"))
            var followers: [Follower] = []
            for node in cluster.nodes { followers.append(try await Follower(node, [room, quiet])) }
            let behind = try await Follower(cluster.nodes[1], [room])
            let ahead = try await Follower(cluster.nodes[0], [room])
            let bystander = try await Follower(cluster.nodes[1], [quiet])
            var ids = try await publish(master, room, 0..<5)
            try await behind.read(upTo: "n4", in: room)
            try await behind.close()
            try await eventually("the replica has all of it") {
                try await replica.command("XLEN", .string("room:\(room)")) == 5
            }
            // From here on nothing reaches it.
            try await replica.command("REPLICAOF", "NO", "ONE")
            ids += try await publish(master, room, 5..<9)
            for follower in followers + [ahead] { try await follower.read(upTo: "n8", in: room) }
            try await ahead.close()
            try await master.stop()
            #expect(try await replica.command("CONFIG", "SET", "port", .string("\(master.port)")) == "OK")

            for follower in followers { try await readLoss(follower, room) }
            for node in cluster.nodes {
                try await eventually("ready") { try await node.ready().status == 200 }
            }
            try await ahead.comeBack(to: cluster.nodes[1])
            try await behind.comeBack(to: cluster.nodes[0])
            #expect(ahead.lossCount(of: room) == 1 && behind.lossCount(of: room) == 1)
            try await readLoss(bystander, quiet)

            ids += try await publish(master, room, 9..<12)
            #expect(Set(ids).count == 12, "no id is given out again")
            for follower in followers + [ahead, behind] { try await follower.read(upTo: "n11", in: room) }
            for follower in followers + [ahead] {
                #expect(follower.notices(of: room) == texts(0..<12))
                #expect(follower.lossCount(of: room) == 1)
            }
            #expect(behind.notices(of: room) == texts(0..<5) + texts(9..<12))
            var rollbacks = 0.0
            for node in cluster.nodes {
                rollbacks +=
                    try await node.metrics().samples[#"roomcast_rooms_lost_total{why="rollback"}"#] ?? 0
            }
            #expect(rollbacks >= 1)
        }
    }

    /// Redis does not say what is missing between two entries. A node that has the notice in memory still
    /// gives it to clients that come back.
    @Test func noticeThatIsTakenBackIsNoLossButForWhoStandsOnIt() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let (with, without) = (cluster.nodes[0], cluster.nodes[1])
            let (redis, room) = (cluster.redis, cluster.room())
            let connected = try await Follower(with, [room])
            let ids = try await publish(redis, room, 0..<6)
            try await connected.read(upTo: "n5", in: room)
            try await delete(redis, room, ids[2], ids[3])
            for (node, position, expected) in [
                (with, ids[1], texts(2..<6)), (without, ids[1], texts(4..<6)), (with, ids[3], texts(4..<6)),
            ] {
                let follower = try await Follower(
                    node, [room],
                    positions: [room: try self.position(connected.positions[room], at: position)])
                try await follower.read(upTo: "n5", in: room)
                #expect(follower.notices(of: room) == expected)
                #expect(follower.lossCount(of: room) == 0)
            }
            let standing = try await Follower(
                without, [room], positions: [room: try position(connected.positions[room], at: ids[3])])
            #expect(standing.lossCount(of: room) == 1)
            try await publish(redis, room, 6..<7)
            for follower in [connected, standing] { try await follower.read(upTo: "n6", in: room) }
            #expect(connected.notices(of: room) == texts(0..<7) && connected.lossCount(of: room) == 0)
            #expect(standing.notices(of: room) == texts(6..<7))
        }
    }

    /// The next notice gets its number: to a node that looks as if a notice were missing.
    @Test func newestNoticeThatIsTakenBackIsTold() async throws {
        try await Cluster.with { cluster in
            let (redis, room) = (cluster.redis, cluster.room())
            let connected = try await Follower(cluster.node, [room])
            let newest = try #require(try await publish(redis, room, 0..<3).last)
            try await connected.read(upTo: "n2", in: room)
            try await delete(redis, room, newest)
            try await eventually("another millisecond") {
                try await milliseconds(redis) > (try parts(newest).milliseconds)
            }
            let next = try #require(try await publish(redis, room, 3..<4).first)
            #expect(try parts(next).number == parts(newest).number)
            try await readLoss(connected, room)
            try await publish(redis, room, 4..<6)
            try await connected.read(upTo: "n5", in: room)
            #expect(connected.lossCount(of: room) == 1)
            // The loss may stand for the one that the number was given to.
            let notices = connected.notices(of: room)
            #expect(notices.filter { $0 != "n3" } == texts(0..<3) + texts(4..<6))
            let metrics = try await cluster.node.metrics()
            #expect(metrics.samples[#"roomcast_rooms_lost_total{why="deleted"}"#] == 1)
        }
    }

    /// Whoever is connected misses nothing, and is told nothing; whoever comes back is told.
    @Test func historyThatIsDeletedIsALossForWhoIsAwayOnly() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let (redis, room) = (cluster.redis, cluster.room())
            var connected: [Follower] = []
            for node in cluster.nodes { connected.append(try await Follower(node, [room])) }
            let away = try await Follower(cluster.nodes[0], [room])
            let newest = try #require(try await publish(redis, room, 0..<3).last)
            for follower in connected + [away] { try await follower.read(upTo: "n2", in: room) }
            try await away.close()
            try await delete(redis, room)
            try await eventually("another millisecond") {
                try await milliseconds(redis) > (try parts(newest).milliseconds)
            }
            let first = try #require(try await publish(redis, room, 3..<6).first)
            #expect(try parts(first).number == 1)
            for follower in connected { try await follower.read(upTo: "n5", in: room) }
            try await away.comeBack(to: cluster.nodes[1])
            #expect(away.lossCount(of: room) == 1)
            try await publish(redis, room, 6..<8)
            for follower in connected + [away] { try await follower.read(upTo: "n7", in: room) }
            for follower in connected {
                #expect(follower.notices(of: room) == texts(0..<8))
                #expect(follower.lossCount(of: room) == 0)
            }
            #expect(away.notices(of: room) == texts(0..<3) + texts(6..<8))
        }
    }

    /// Ids go on from the last one. A history that begins in a past that a client has left behind is a loss.
    @Test func clockThatGoesBackKeepsTheOrderOfIds() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let (redis, room, empty) = (cluster.redis, cluster.room(), cluster.room("empty"))
            // As if the clock had been ahead when this was published.
            let ahead = try await milliseconds(redis) + 3_600_000
            let frame = #"{"id":"\#(ahead)-1","room":"\#(room)","type":"notice","data":"n0"}"#
            try await redis.command(
                "XADD", .string("room:\(room)"), .string("\(ahead)-1"), "d", .string(frame))
            let connected = try await Follower(cluster.nodes[0], [room])
            let away = try await Follower(cluster.nodes[1], [room])
            try await away.close()
            let ids = try await publish(redis, room, 1..<6)
            #expect(ids == (2...6).map { "\(ahead)-\($0)" })
            try await connected.read(upTo: "n5", in: room)
            try await away.comeBack(to: cluster.nodes[0])
            try await away.read(upTo: "n5", in: room)
            for follower in [connected, away] {
                #expect(follower.notices(of: room) == texts(1..<6) && follower.lossCount(of: room) == 0)
            }

            try await publish(redis, empty, 0..<1)
            let behind = try await Follower(
                cluster.nodes[1], [empty],
                positions: [empty: try position(connected.positions[room], at: "\(ahead)-0")])
            #expect(behind.lossCount(of: empty) == 1)
            try await publish(redis, empty, 1..<3)
            try await behind.read(upTo: "n2", in: empty)
            #expect(behind.notices(of: empty) == texts(1..<3))
        }
    }
}
