// Redis has lost records while it was connected: live clients stay, and a revoked token does not come back.
import Foundation
import Testing

@Suite struct LostRecordTests {
    private static let options = ["--heartbeat-timeout", "6s", "--token-ttl", "60s"]

    /// Ways to lose records.
    enum Loss: String, CaseIterable, Sendable {
        case flush, eviction
    }

    private func lose(_ loss: Loss, _ redis: RedisServer) async throws {
        switch loss {
        case .flush: try await redis.command("FLUSHALL")
        case .eviction:
            // Evicts when a command comes, and Redis refuses writes until the limit is gone.
            try await redis.command("CONFIG", "SET", "maxmemory", "1")
            try await eventually("all records are evicted") {
                try await redis.command("KEYS", "client:*").array?.isEmpty == true
            }
            try await redis.command("CONFIG", "SET", "maxmemory", "0")
        }
    }

    @Test(arguments: Loss.allCases) func recordsOfLiveClientsAreWrittenAgain(loss: Loss) async throws {
        let policy = loss == .eviction ? "volatile-lru" : "noeviction"
        try await Cluster.with(
            nodes: 2, options: Self.options, redisOptions: ["--maxmemory-policy", policy]
        ) { cluster in
            let metrics = try await cluster.node.metrics()
            #expect(metrics["roomcast_redis_may_evict"] == (loss == .eviction ? 1 : 0))
            let log = cluster.node.child.errorOutput
            #expect(log.contains("redis may evict the records") == (loss == .eviction), "\(log)")

            let (holder, other) = (cluster.nodes[1], cluster.nodes[0])
            let room = cluster.room()
            let token = try await holder.token()
            let client = try await holder.connect(room, token: token)
            try await lose(loss, cluster.redis)
            // At once, and at the node that does not hold the connection.
            let answer = try await other.heartbeat(token)
            #expect(answer.status == 503 || answer.status == 200, "\(answer.body)")
            try await eventually("the record is written again") {
                let record = try await cluster.redis.hash("client:\(token)")
                return record["node"] == holder.id && record["userId"] == "user-1" && record["rooms"] == room
            }
            try await eventually("beats are taken") { try await other.heartbeat(token).status == 200 }
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(holder.child.errorOutput.contains("redis has lost records"))

            // A record that is deleted alone is a revocation, now as before.
            try await eventually("it was deleted") {
                try await cluster.redis.command("DEL", .string("client:\(token)")) == 1
            }
            #expect(try await client.closed()?.code == 4003)
        }
    }

    /// Its node has not heard of it, and takes what is missing for lost.
    @Test func revokedTokenIsNotWrittenAgain() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            let room = cluster.room()
            var clients: [Client] = []
            var tokens: [String] = []
            for _ in 0..<2 {
                let token = try await cluster.node.token()
                clients.append(try await cluster.node.connect(room, token: token))
                tokens.append(token)
                try await cluster.redis.command("HSET", .string("client:\(token)"), "node", "elsewhere")
            }
            let revoked = try await cluster.driver.run([
                try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url,
                "--token=\(tokens[0])",
            ])
            #expect(revoked.code == 0, "\(revoked.errors)")
            let key = "client:\(tokens[0])"
            #expect(try await cluster.redis.command("GET", .string(key)) == "revoked")
            let life = try await cluster.redis.command("TTL", .string(key)).int ?? 0
            #expect((50...60).contains(life), "\(life) s")
            #expect(try await cluster.node.heartbeat(tokens[0]).data == "token error")

            // As after a flush, and the other's record as well.
            try await cluster.redis.command("DEL", .string("client:\(tokens[1])"))
            try await cluster.redis.command("SET", "epoch", "abcdefgh")
            #expect(try await clients[0].closed()?.code == 4003)
            try await eventually("the other's record is written again") {
                try await cluster.redis.hash("client:\(tokens[1])")["node"] == cluster.node.id
            }
            #expect(try await cluster.redis.command("GET", .string(key)) == "revoked")
            #expect(try await cluster.node.heartbeat(tokens[0]).status != 200)
            #expect(try await cluster.node.heartbeat(tokens[1]).status == 200)
        }
    }

    /// Without any loss the node finds out when it asks for the last heartbeat.
    @Test func revocationThatTheNodeMissedIsNoSilence() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(cluster.room(), token: token)
            try await cluster.redis.command("HSET", .string("client:\(token)"), "node", "elsewhere")
            let revoked = try await cluster.driver.run([
                try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url,
                "--token=\(token)",
            ])
            #expect(revoked.code == 0, "\(revoked.errors)")
            #expect(try await client.closed()?.code == 4003)
        }
    }
}
