// Who wins when a token connects twice: the connection that Redis ordered last, once it is complete.
import Foundation
import Testing

@Suite struct TakeoverTests {
    /// The second handshake fails; the user keeps what he had.
    @Test func refusedHandshakeLeavesTheOlderConnection() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = "good-\(UUID())"
            let token = try await cluster.node.token()
            let older = try await cluster.nodes[0].connect(room, token: token)
            try await cluster.redis.command(
                "ACL", "SETUSER", "default", "resetchannels", "&room:good*", "&gateway:*")
            let answer = try await cluster.nodes[1].get(
                "/ws?token=\(token)&roomIds=bad", headers: handshakeHeaders())
            #expect(answer.status == 500)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await older.next() == .text("1"))
            #expect(try await older.closed(within: .zero) == nil)
            #expect(try await cluster.redis.hash("client:\(token)")["node"] == "node-1")
        }
    }

    /// Redis takes the handshake in when its node has given it up long since.
    @Test func lateHandshakeLeavesTheOlderConnection() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let older = try await cluster.nodes[0].connect(room, token: token)
            let before = try await cluster.redis.hash("client:\(token)")
            try await cluster.redis.first.signal(SIGSTOP)
            let answer = try await cluster.nodes[1].get(
                "/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
            #expect(answer.status == 500)
            try await cluster.redis.first.signal(SIGCONT)
            try await eventually("Redis has taken it in") {
                try await cluster.redis.hash("client:\(token)")["allotted"] != nil
            }
            for node in cluster.nodes {
                try await eventually("\(node.id) is ready") { try await node.ready().status == 200 }
            }
            try await cluster.redis.publish(room: room, "1")
            #expect(try await older.next() == .text("1"))
            #expect(try await older.closed(within: .zero) == nil)
            let after = try await cluster.redis.hash("client:\(token)")
            for name in ["node", "connection", "order", "rooms"] { #expect(after[name] == before[name]) }
            // And it gives way as ever to one that completes.
            let newer = try await cluster.nodes[1].connect(room, token: token)
            #expect(try await older.closed()?.code == 4001)
            #expect(try await newer.ping("here"))
        }
    }

    /// A node that was cut off meanwhile does not know that its client has moved; and its clock is ahead.
    @Test func newerConnectionWinsWhateverTheClocksSay() async throws {
        try await Cluster.with(nodes: 1) { cluster in
            let proxy = try await SilentProxy(cluster.driver, to: cluster.redis.port)
            let cut = try await GatewayNode(
                cluster.driver, id: "cut-off", redis: cluster.redis,
                options: ["--redis-silence-timeout", "5s"],
                url: "redis://127.0.0.1:\(proxy.port)")
            let room = cluster.room()
            let token = try await cluster.node.token()
            let older = try await cut.connect(room, token: token)
            try await proxy.swallow()
            try await eventually("it is cut off") { try await cut.ready().status == 503 }
            let newer = try await cluster.node.connect(room, token: token)
            // As if the other node's clock were behind.
            try await cluster.redis.command("HSET", .string("client:\(token)"), "connectedAt", "1000")
            try await proxy.pass()
            #expect(try await older.closed()?.code == 4001)
            try await eventually("it is back") { try await cut.ready().status == 200 }
            try await cluster.redis.publish(room: room, "1")
            #expect(try await newer.next() == .text("1"))
            #expect(try await newer.closed(within: .zero) == nil)
            #expect(try await cluster.redis.hash("client:\(token)")["node"] == "node-1")
        }
    }

    /// Handshakes of one token at two nodes at once, again and again: one survives, and it is the one of the
    /// record.
    @Test func ofManyAtOnceTheLastInRedisOrderSurvives() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            for _ in 0..<5 {
                let room = cluster.room()
                let token = try await cluster.node.token()
                let clients = try await withThrowingTaskGroup(of: (Client, String).self) { group in
                    for index in 0..<8 {
                        let node = cluster.nodes[index % 2]
                        group.addTask { (try await node.connect(room, token: token), node.id) }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                var open: [String] = []
                try await eventually("all but one are closed") {
                    open = []
                    for (client, node) in clients where try await client.closed(within: .zero) == nil {
                        open.append(node)
                    }
                    return open.count <= 1
                }
                let record = try await cluster.redis.hash("client:\(token)")
                #expect(open == [record["node"]])
                #expect((Int64(record["order"] ?? "") ?? 0) >= (Int64(record["allotted"] ?? "") ?? 0))
            }
        }
    }

    /// Each node says so in its log and in its metrics.
    @Test func twoNodesWithOneIdAreTold() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            var nodes: [GatewayNode] = []
            for _ in 0..<2 {
                nodes.append(try await GatewayNode(cluster.driver, id: "twin", redis: cluster.redis))
            }
            // Both children have one log; the metrics are each one's own.
            for node in nodes {
                try await eventually("it is told") {
                    try await node.metrics()["roomcast_node_id_shared"] == 1
                }
            }
            #expect(nodes[1].child.errorOutput.contains("node id shared with another node"))
            #expect(try await nodes[0].ready().status == 200)
        }
    }

    @Test func databaseWithoutAPrefixIsWarnedOf() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            for (id, options, count) in [("bare", [String](), 1), ("apart", ["--prefix", "a:"], 0)] {
                let node = try await GatewayNode(
                    cluster.driver, id: id, redis: cluster.redis, options: options,
                    url: cluster.redis.url + "/1")
                let lines = node.child.errorOutput.split(separator: "\n")
                #expect(lines.count { $0.contains("redis databases share their channels") } == count)
            }
        }
    }
}
