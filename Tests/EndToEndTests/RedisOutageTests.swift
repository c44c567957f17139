// Redis away, silent, and back without its data: no client pays for it, and no node has to be started again.
import Foundation
import Testing

@Suite struct RedisOutageTests {
    private static let options = ["--heartbeat-timeout", "20s"]

    private func expectUnavailable(_ cluster: Cluster, token: String) async throws {
        let (answers, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            var answers: [Answer] = []
            for node in cluster.nodes { answers += try await expectUnavailable(node, token: token) }
            return answers
        }
        for answer in answers {
            #expect(answer.after < pace.allows(.seconds(2.5)), "no request waits on Redis longer than 2 s")
        }
    }

    private func expectUnavailable(_ node: GatewayNode, token: String) async throws -> [Answer] {
        var answers: [Answer] = []
        for target in ["/get/token?isLogin=true&userId=ada", "/heartbeat?token=\(token)"] {
            let answer = try await node.get(target)
            #expect(answer.status == 503)
            #expect(answer.body == #"{"data":"service unavailable"}"#)
            #expect(answer.headers["retry-after"].flatMap { Int($0) } != nil)
            answers.append(answer)
        }
        let answer = try await node.get("/ws?token=\(token)&roomIds=a", headers: handshakeHeaders())
        #expect(answer.status == 500)
        #expect(answer.body == #"{"data":"WebSocket upgrade failed"}"#)
        // What needs no Redis is answered as ever.
        #expect(try await node.get("/get/token?isLogin=true").status == 400)
        return answers + [answer]
    }

    /// The heart of the matter: an outage longer than the heartbeat timeout, then a Redis that knows
    /// nothing.
    @Test func connectionsOutliveARedisThatComesBackEmpty() async throws {
        try await Cluster.with(nodes: 2, options: Self.options) { cluster in
            let room = cluster.room()
            var clients: [(Client, String, GatewayNode)] = []
            for node in cluster.nodes {
                for index in 0..<3 {
                    let token = try await node.token(userId: "user \(index)")
                    clients.append((try await node.connect("\(room),second", token: token), token, node))
                }
            }
            let other = try await cluster.nodes[0].token()
            try await cluster.redis.stop()
            let down = ContinuousClock.now
            for node in cluster.nodes {
                try await eventually("\(node.id) is not ready, and says why") {
                    let answer = try await node.ready()
                    return answer.status == 503 && answer.body.lowercased().contains("redis")
                }
                #expect(try await node.driver.request(node.adminPort, "/healthz").status == 200)
            }
            try await expectUnavailable(cluster, token: other)
            // Deadlines that cannot be checked wait: 20 s are over while Redis is away.
            let rest = Duration.seconds(22) - (ContinuousClock.now - down)
            #expect(try await clients[0].0.closed(within: max(rest, .zero)) == nil)

            _ = try await cluster.redis.restart()
            for node in cluster.nodes {
                try await eventually("ready again") { try await node.ready().status == 200 }
            }
            for (_, token, holder) in clients {
                try await eventually("the registration is written again") {
                    let record = try await cluster.redis.hash("client:\(token)")
                    return record["node"] == holder.id && record["rooms"] == "\(room),second"
                        && record["isLogin"] == "true" && record["userId"]?.hasPrefix("user ") == true
                        && record["ttl"] == "3600" && record["ip"] == "127.0.0.1"
                        && record["connectedAt"] != nil
                }
                let start = ContinuousClock.now
                #expect(try await cluster.nodes[0].heartbeat(token).status == 200)
                try await cluster.redis.expectLife(of: token, .seconds(3600), since: start)
            }
            #expect(try await cluster.redis.publish(room: room, "1") == 2)
            for (client, _, _) in clients { #expect(try await client.next() == .text("1")) }
            let late = try await cluster.nodes[1].connect(room)
            try await cluster.redis.publish(room: room, "2")
            #expect(try await late.next() == .text("2"))
            for (client, _, _) in clients { #expect(try await client.closed(within: .zero) == nil) }
            for node in cluster.nodes { #expect(try await node.child.exitCode(within: .zero) == nil) }
        }
    }

    /// Nothing but its silence says that it is another one now.
    @Test func recordsAreWrittenAgainInAServerThatHidesItsRunId() async throws {
        let user = ["--user", "gateway", "on", "nopass", "~*", "&*", "+@all", "-info"]
        try await Cluster.with(nodes: 0, redisOptions: user) { cluster in
            let node = try await GatewayNode(
                cluster.driver, id: "unsure", redis: cluster.redis,
                url: "redis://gateway@127.0.0.1:\(cluster.redis.port)")
            let room = cluster.room()
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            try await cluster.redis.stop()
            _ = try await cluster.redis.restart()
            try await eventually("the record is written again") {
                try await cluster.redis.hash("client:\(token)")["node"] == node.id
            }
            try await eventually("ready") { try await node.ready().status == 200 }
            #expect(try await node.heartbeat(token).status == 200)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
        }
    }

    /// A key deleted in a Redis that never stopped is a revocation; after the return of an empty one it must
    /// work too.
    @Test(arguments: [[], ["--heartbeat", "pong", "--ping-interval", "1s"]])
    func revocationStillWorksAfterARestart(heartbeat: [String]) async throws {
        try await Cluster.with(options: heartbeat + ["--heartbeat-timeout", "10s"]) { cluster in
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(cluster.room(), token: token)
            try await cluster.redis.stop()
            _ = try await cluster.redis.restart()
            try await eventually("the registration is written again") {
                try await cluster.redis.command("DEL", .string("client:\(token)")) == 1
            }
            #expect(try await client.closed()?.code == 4003)
        }
    }

    /// Half-dead: the connection stands, nothing comes. Only the anchor's echo can tell.
    @Test(arguments: ServerUnderTest.securities)
    func silentRedisIsNoticedAndRecoveredFrom(isSecured: Bool) async throws {
        try await Cluster.with(
            environment: ["GATEWAY_REDIS_SILENCE_TIMEOUT": ""], isSecured: isSecured
        ) { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(room, token: token)
            // Not the token of the connection: what Redis had received before it fell silent it does
            // afterwards, and a newer connection, though given up meanwhile, would replace the older.
            let other = try await cluster.node.token()
            try await cluster.redis.first.signal(SIGSTOP)
            try await expectUnavailable(cluster, token: other)
            try await eventually("not ready") {
                try await cluster.node.ready().status == 503
            }
            #expect(try await client.ping("the loop is not blocked"))
            try await cluster.redis.first.signal(SIGCONT)
            try await eventually("ready again") {
                try await cluster.node.ready().status == 200
            }
            #expect(try await cluster.node.heartbeat(token).status == 200)
            try await cluster.redis.publish(room: room, "1")
            let event = try await client.next()
            #expect(event == .text("1"))
        }
    }

    @Test func aNodeStartsWithoutRedisAndServesWhenItComes() async throws {
        try await Cluster.with { cluster in
            try await cluster.redis.stop(SIGTERM)
            let node = try await GatewayNode(
                cluster.driver, id: "early", redis: cluster.redis, awaitReady: false)
            #expect(try await node.ready().status == 503)
            #expect(try await node.get("/get/token?isLogin=true&userId=a").status == 503)
            _ = try await cluster.redis.restart()
            try await eventually("the node is ready") { try await node.ready().status == 200 }
            let client = try await node.connect("room")
            try await cluster.redis.publish(room: "room", "1")
            #expect(try await client.next() == .text("1"))
        }
    }

    /// A refused login is no crash and no busy loop: the node says so, keeps trying, and shows no password.
    @Test func nodeThatRedisRefusesIsNotReadyUntilItIsLetIn() async throws {
        try await Cluster.with(nodes: 0, password: "right-Pa55word") { cluster in
            let node = try await GatewayNode(
                cluster.driver, id: "locked-out", redis: cluster.redis,
                environment: ["GATEWAY_REDIS_PASSWORD": "wrong-Pa55word"], awaitReady: false)
            try await eventually("the log tells why") { node.child.errorOutput.contains("WRONGPASS") }
            #expect(try await node.ready().status == 503)
            #expect(try await node.get("/get/token?isLogin=true&userId=a").status == 503)
            try await cluster.redis.command("CONFIG", "SET", "requirepass", "wrong-Pa55word")
            try await eventually("it is let in") { try await node.ready().status == 200 }
            #expect(!node.child.errorOutput.contains("Pa55word"))
            #expect(node.child.errorOutput.split(separator: "\n").count < 40)
        }
    }

    /// A restart within a moment: whoever is connected keeps getting messages, on every room.
    @Test(arguments: ServerUnderTest.securities)
    func manyRoomsAreSubscribedAgain(isSecured: Bool) async throws {
        try await Cluster.with(isSecured: isSecured) { cluster in
            var clients: [(Client, String)] = []
            for index in 0..<40 {
                let room = "many-\(index)"
                clients.append((try await cluster.node.connect(room), room))
            }
            try await cluster.redis.stop(SIGTERM)
            _ = try await cluster.redis.restart()
            for (client, room) in clients {
                try await eventually("\(room) is subscribed again") {
                    try await cluster.redis.publish(room: room, "1") == 1
                }
                #expect(try await client.next() == .text("1"))
            }
        }
    }
}
