// The node's Pings: what keeps proxies awake, and with `--heartbeat pong` what clients beat by.
import Foundation
import Testing

@Suite struct PingTests {
    /// nginx cuts what is silent for 10 s. One node pings every 4 s, the other one never.
    @Test func pingsKeepAnIdleClientBehindAnImpatientProxy() async throws {
        try await Cluster.with(
            nodes: 2, optionsOfNode: { ["--ping-interval", $0 == 0 ? "4s" : "off"] }
        ) { cluster in
            let nginx = try await NginxServer(
                cluster, changes: [("proxy_read_timeout 1h;", "proxy_read_timeout 10s;")])
            var clients: [String: Client] = [:]
            try await eventually("a client is on each node") {
                let (client, token) = try await nginx.connect(cluster.room())
                clients[try await cluster.redis.hash("client:\(token)")["node"] ?? ""] = client
                return clients.count == 2
            }
            let pinged = try #require(clients["node-1"])
            let silent = try #require(clients["node-2"])
            let closing = try #require(try await silent.closed())
            #expect(closing.code == 1006, "nginx says nothing")
            #expect(closing.after >= .seconds(10))
            #expect(try await silent.pings().count == 0)
            // Six intervals are twice nginx' patience.
            try await eventually("it is pinged again and again") { try await pinged.pings().count >= 6 }
            #expect(try await pinged.closed(within: .zero) == nil)
            #expect(try await pinged.ping("still there"))
        }
    }

    @Test func defaultIsAPingWithinThirtySeconds() async throws {
        try await Cluster.with(environment: ["GATEWAY_PING_INTERVAL": ""]) { cluster in
            let client = try await cluster.node.connect(cluster.room())
            try await eventually("a ping comes") { try await client.pings().count == 1 }
            let at = try #require(try await client.pings().last)
            #expect(at >= .seconds(24.9))
            #expect(try await cluster.node.metrics()["roomcast_pings_total"] == 1)
        }
    }
}

extension Client {
    /// Waits until so many pings have come.
    fileprivate func awaitPings(_ count: Int, _ meanwhile: () async throws -> Void = {}) async throws {
        try await eventually("\(count) pings") {
            if let closing = try await closed(within: .zero) { throw Hopeless("closed: \(closing)") }
            try await meanwhile()
            return try await pings().count >= count
        }
    }
}

/// Heartbeats by Pong, with a Ping every 2 s and a timeout of 8 s.
private let pongOptions = ["--heartbeat", "pong", "--ping-interval", "2s", "--heartbeat-timeout", "8s"]

@Suite(.cluster(nodes: 2, options: pongOptions))
struct PongHeartbeatTests {
    @Test func clientThatStopsAnsweringIsClosedInTime() async throws {
        let cluster = try Cluster.current
        let (times, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            let client = try await cluster.node.connect(cluster.room())
            try await client.awaitPings(3)
            try await client.mute()
            return (try await client.closed(), try await client.pings().last)
        }
        let closing = try #require(times.0)
        let silence = closing.after - (try #require(times.1))
        #expect(closing.code == 4000)
        #expect(silence >= .seconds(8))
        #expect(silence < pace.allows(.seconds(10)))
    }

    /// Beats that another node takes, for two timeouts; then it has none.
    @Test func requestsAloneKeepAClientThatAnswersNoPing() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let client = try await cluster.node.connect(cluster.room(), token: token)
        try await client.mute()
        for _ in 0..<9 {
            #expect(try await client.closed(within: .seconds(2)) == nil)
            #expect(try await cluster.nodes[1].heartbeat(token).status == 200)
        }
        #expect(try await client.ping("not a heartbeat"))
        #expect(try await client.closed()?.code == 4000)
    }

    @Test func deletedTokenIsClosedThoughItsClientAnswers() async throws {
        let cluster = try Cluster.current
        let (gone, kept) = (try await cluster.node.token(), try await cluster.node.token())
        let other = try await cluster.node.connect(cluster.room(), token: kept)
        let clock = ContinuousClock()
        let (closing, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            let revoked = try await cluster.node.connect(cluster.room(), token: gone)
            try await revoked.awaitPings(3)
            let deleted = clock.now
            try await cluster.redis.command("DEL", .string("client:\(gone)"))
            return (try await revoked.closed()?.code, clock.now - deleted)
        }
        #expect(closing.0 == 4003)
        #expect(closing.1 < pace.allows(.seconds(8)))
        #expect(try await cluster.redis.command("EXISTS", .string("client:\(gone)")) == 0)
        try await other.awaitPings(5)
        #expect(try await other.closed(within: .zero) == nil)
    }

    @Test func newerConnectionReplacesOneThatAnswers() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let older = try await cluster.nodes[0].connect(cluster.room(), token: token)
        try await older.awaitPings(1)
        let newer = try await cluster.nodes[1].connect(cluster.room(), token: token)
        #expect(try await older.closed()?.code == 4001)
        try await newer.awaitPings(5)
    }

    /// Also on refusals, and for the pages of other origins.
    @Test func answersSayHowClientsBeat() async throws {
        let cluster = try Cluster.current
        for (target, status) in [
            ("/get/token?isLogin=true&userId=ada", 200), ("/get/token", 400), ("/heartbeat", 500),
            ("/heartbeat?token=\(try await cluster.node.token())", 200),
        ] {
            let answer = try await cluster.node.get(target, headers: ["Origin": "https://a.example"])
            #expect(answer.status == status)
            #expect(answer.headers["roomcast-heartbeat"] == "pong", "\(target)")
            #expect(answer.headers["access-control-expose-headers"]?.contains("Roomcast-Heartbeat") == true)
        }
    }
}

@Suite struct PongRecordTests {
    /// Longer than two timeouts, and than a life that is the shortest for this timeout. The client gets messages,
    /// which do not take the Pings' place.
    @Test func clientThatAnswersPingsNeedsNoRequests() async throws {
        try await Cluster.with(nodes: 2, options: pongOptions + ["--token-ttl", "13s"]) { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(room, token: token)
            try await client.awaitPings(10) { try await cluster.redis.publish(room: room, "1") }
            #expect(try await cluster.node.metrics()[#"roomcast_heartbeats_total{result="pong"}"#] >= 9)
            #expect(try await cluster.nodes[1].heartbeat(token).status == 200, "the token lives as well")
        }
    }

    /// An outage longer than the timeout, and a Redis that has forgotten everything.
    @Test func clientThatAnswersOutlivesARestartOfRedis() async throws {
        try await Cluster.with(options: pongOptions) { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(room, token: token)
            let dead = try await cluster.node.connect(room)
            try await dead.mute()
            try await cluster.redis.stop()
            try await client.awaitPings(try await client.pings().count + 5)
            #expect(
                try await dead.closed(within: .zero) == nil, "nobody can say whether it has sent a heartbeat"
            )
            _ = try await cluster.redis.restart()
            try await eventually("the record is written again") {
                try await cluster.redis.command("EXISTS", .string("client:\(token)")) == 1
            }
            #expect(try await dead.closed()?.code == 4000)
            try await client.awaitPings(try await client.pings().count + 5)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
        }
    }
}
