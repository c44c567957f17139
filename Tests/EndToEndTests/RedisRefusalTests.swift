// A Redis that answers, and says no: told once for the whole node, and no more harm done than must be.
import Foundation
import Testing

@Suite struct RedisRefusalTests {
    private func lines(_ node: GatewayNode, with text: String) -> Int {
        node.child.errorOutput.split(separator: "\n").count { $0.contains(text) }
    }

    /// How often Redis has answered with an error of this kind.
    private func errorCount(_ redis: RedisServer, _ code: String) async throws -> Int {
        let text = try await redis.command("INFO", "errorstats").string ?? ""
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("errorstat_\(code):count=") }
        return line.flatMap { Int($0.drop { $0 != "=" }.dropFirst()) } ?? 0
    }

    @Test func wrongPasswordIsToldOnceAndSoIsItsEnd() async throws {
        try await Cluster.with(nodes: 0, password: "right-Pa55word") { cluster in
            let node = try await GatewayNode(
                cluster.driver, id: "locked-out", redis: cluster.redis,
                environment: ["GATEWAY_REDIS_PASSWORD": "wrong-Pa55word"], awaitReady: false)
            try await eventually("all have tried several times") {
                try await errorCount(cluster.redis, "WRONGPASS") >= 12
            }
            #expect(lines(node, with: "WRONGPASS") == 1)
            try await cluster.redis.command("CONFIG", "SET", "requirepass", "wrong-Pa55word")
            try await eventually("it is let in") { try await node.ready().status == 200 }
            try await eventually("its end is told") { lines(node, with: "redis connected") == 1 }
        }
    }

    /// A Redis that loads its data for seconds takes connections, and nothing else.
    @Test func loadingIsToldOnceAndTheNodeIsNotReadyMeanwhile() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let options = [
                "--save", "", "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024",
            ]
            let redis = try await RedisServer(
                cluster.driver, options: ["--dbfilename", "slow.rdb"] + options)
            for number in 0..<300 {
                try await redis.command(
                    "SET", .string("key-\(number)"), .string(String(repeating: "x", count: 100)))
            }
            let node = try await GatewayNode(cluster.driver, id: "patient", redis: redis)
            let client = try await node.connect("room")
            try await redis.command("SAVE")
            try await redis.stop()
            // 300 keys of 20 ms: six seconds of loading.
            try await redis.startAgain()
            try await eventually("the log tells why") { lines(node, with: "LOADING") == 1 }
            #expect(try await node.ready().status == 503)
            #expect(try await node.get("/get/token?isLogin=true&userId=a").status == 503)
            try await eventually("ready again") { try await node.ready().status == 200 }
            #expect(try await errorCount(redis, "LOADING") >= 4)
            #expect(lines(node, with: "LOADING") == 1)
            #expect(lines(node, with: "redis connection restored") == 1)
            try await redis.publish(room: "room", "1")
            #expect(try await client.next() == .text("1"))
        }
    }

    /// A part of a cluster has some of the keys, and sends who asks for the others elsewhere.
    @Test func partOfAClusterIsTakenOnlyIfItIsTheWhole() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            // By default the bus has the port 10,000 above, which may be some connection's own port.
            let bus = try await cluster.driver.freePort()
            let redis = try await RedisServer(
                cluster.driver, options: ["--cluster-enabled", "yes", "--cluster-port", "\(bus)"])
            let node = try await GatewayNode(
                cluster.driver, id: "clustered", redis: redis, awaitReady: false)
            try await eventually("it says why") {
                let answer = try await node.ready()
                return answer.status == 503 && answer.body.contains("the server is part of a Redis Cluster")
            }
            #expect(lines(node, with: "the server is part of a Redis Cluster") == 1)

            // With all slots it has every key.
            try await redis.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            try await eventually("ready") { try await node.ready().status == 200 }
            let room = cluster.room()
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            try await redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try await node.heartbeat(token).status == 200)
        }
    }

    /// Paused writes (a failover that is under way, an operator) leave PING and pub/sub as they are.
    @Test func pausedWritesAreToldOnceAndSoIsTheirEnd() async throws {
        try await Cluster.with(options: ["--redis-timeout", "500ms"]) { cluster in
            let node = cluster.node
            let client = try await node.connect("room")
            try await cluster.redis.command("CLIENT", "PAUSE", "120000", "WRITE")
            try await eventually("not ready") { try await node.ready().status == 503 }
            // Each attempt of a worker asks this: some have failed by then.
            func attempts() async throws -> Int {
                let text = try await cluster.redis.command("INFO", "commandstats").string ?? ""
                let line = text.split(whereSeparator: \.isNewline).first {
                    $0.hasPrefix("cmdstat_client|setname:calls=")
                }
                return line.flatMap { Int($0.drop { $0 != "=" }.dropFirst().prefix { $0 != "," }) } ?? 0
            }
            let before = try await attempts()
            try await eventually("several attempts") { try await attempts() >= before + 8 }
            #expect(try await node.ready().status == 503)
            try await cluster.redis.command("CLIENT", "UNPAUSE")
            try await eventually("ready") { try await node.ready().status == 200 }
            try await eventually("its end is told") { lines(node, with: "redis connection restored") == 1 }
            #expect(lines(node, with: "not ready reasons=") == 1)
            #expect(lines(node, with: "redis connection lost") <= 2)
            try await cluster.redis.publish(room: "room", "1")
            #expect(try await client.next() == .text("1"))
        }
    }

    @Test func tooManyConnectionsAreToldOnce() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            try await cluster.redis.command("CONFIG", "SET", "maxclients", "1")
            let node = try await GatewayNode(
                cluster.driver, id: "too-many", redis: cluster.redis, awaitReady: false)
            try await eventually("several were turned away") {
                let text = try await cluster.redis.command("INFO", "stats").string ?? ""
                let line = text.split(whereSeparator: \.isNewline).first {
                    $0.hasPrefix("rejected_connections:")
                }
                return (line.flatMap { Int($0.drop { $0 != ":" }.dropFirst()) } ?? 0) >= 12
            }
            #expect(lines(node, with: "max number of clients reached") == 1)
            try await cluster.redis.command("CONFIG", "SET", "maxclients", "100")
            try await eventually("ready") { try await node.ready().status == 200 }
        }
    }

    /// Rules that change under a running node: the one room goes, everything else stays.
    @Test func roomThatTheRulesRefuseHarmsNoOtherRoom() async throws {
        try await Cluster.with(options: ["--gap-notice", "on"]) { cluster in
            let (good, bad, worse) = ("good-\(UUID())", "bad-\(UUID())", "bad-\(UUID())")
            let client = try await cluster.node.connect("\(good),\(bad)")
            try await cluster.redis.command(
                "ACL", "SETUSER", "default", "resetchannels", "&room:good*", "&gateway:*")
            try await eventually("the refused room is set aside") {
                let isReady = try await cluster.node.ready().status == 200
                return isReady && lines(cluster.node, with: "redis refuses a room rooms=\(bad)") == 1
            }
            #expect(try await cluster.redis.publish(room: good, "1") == 1)
            let notice = try await client.next()
            #expect(notice.isGap(of: [good]), "\(notice)")
            #expect(try await client.next() == .text("1"))

            // Who asks for it, or for another one, is turned away, and costs nobody else anything.
            let reconnects = try await cluster.node.metrics()["roomcast_redis_reconnects_total"]
            let (answers, pace) = try await Pace.during(cluster.driver, cluster.redis) {
                var answers: [Answer] = []
                for room in [bad, worse, "\(good),\(worse)"] {
                    let token = try await cluster.node.token()
                    answers.append(
                        try await cluster.node.get(
                            "/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders()))
                }
                return answers
            }
            for answer in answers {
                #expect(answer.status == 500 && answer.body == #"{"data":"WebSocket upgrade failed"}"#)
                #expect(answer.after < pace.allows(.seconds(1)), "at once")
            }
            let metrics = try await cluster.node.metrics()
            #expect(metrics["roomcast_redis_reconnects_total"] == reconnects)
            #expect(metrics[#"roomcast_handshakes_rejected_total{reason="room_refused"}"#] == 3)
            let other = try await cluster.node.connect(good)
            try await cluster.redis.publish(room: good, "2")
            #expect(try await other.next() == .text("2"))
            #expect(try await client.next() == .text("2"))

            // Set right again, it is let in at the next attempt.
            try await cluster.redis.command("ACL", "SETUSER", "default", "allchannels")
            try await eventually("messages come") {
                try await cluster.redis.publish(room: bad, "3") == 1
            }
            #expect(try await client.next() == .text("3"))
        }
    }
}

extension Event {
    fileprivate func isGap(of rooms: [String]) -> Bool {
        guard case .text(let text) = self, let notice = JSON(parsing: text) else { return false }
        return notice["type"] == "gap" && notice["data"]["rooms"].array?.compactMap(\.string) == rooms
    }
}
