// Links to Redis that stand and bring nothing: a network that swallows packets, a server that is stopped.
import Foundation
import Testing

@Suite struct HalfDeadLinkTests {
    /// A node that reaches Redis through a proxy, and one client.
    private func with(
        silenceTimeout: String,
        _ body: (Cluster, SilentProxy, GatewayNode, Client, String) async throws -> Void
    ) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let proxy = try await SilentProxy(cluster.driver, to: cluster.redis.port)
            let node = try await GatewayNode(
                cluster.driver, id: "half-dead", redis: cluster.redis, options: ["--gap-notice", "on"],
                environment: ["GATEWAY_REDIS_SILENCE_TIMEOUT": silenceTimeout],
                url: "redis://127.0.0.1:\(proxy.port)")
            let room = cluster.room()
            try await body(cluster, proxy, node, try await node.connect(room), room)
        }
    }

    /// Silences a link, and waits until the node is not ready and gives all of the `reasons`; that takes the
    /// silence timeout at most, and what a busy machine and the asking add. Returns how long it took.
    @discardableResult
    private func expectNotReady(
        _ cluster: Cluster, _ node: GatewayNode, within timeout: Duration, because reasons: String...,
        after silencing: () async throws -> Void
    ) async throws -> Duration {
        let (silence, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            let start = ContinuousClock.now
            try await silencing()
            try await eventually("not ready because \(reasons)") {
                let answer = try await node.ready()
                return answer.status == 503 && reasons.allSatisfy { answer.body.contains($0) }
            }
            return ContinuousClock.now - start
        }
        #expect(silence < pace.allows(timeout + .seconds(1)))
        return silence
    }

    private func expectGap(_ client: Client, _ room: String, longerThan shortest: Duration) async throws {
        guard case .text(let text) = try await client.next(), let notice = JSON(parsing: text) else {
            Issue.record("no gap notice")
            return
        }
        #expect(notice["type"] == "gap")
        #expect(notice["data"]["rooms"] == [.string(room)])
        #expect((notice["data"]["ms"].double ?? 0) >= shortest.seconds * 1_000)
    }

    @Test func linksThatSwallowEverythingAreFoundAndMadeAnew() async throws {
        try await with(silenceTimeout: "5s") { cluster, proxy, node, client, room in
            let silence = try await expectNotReady(
                cluster, node, within: .seconds(5), because: "redis subscriber connection is down",
                "2 of 2 redis command connections are down"
            ) { try await proxy.swallow() }
            try await proxy.pass()
            try await eventually("ready again") { try await node.ready().status == 200 }
            // The proxy holds the dead connection open: Redis still counts it as a second subscriber.
            #expect(try await cluster.redis.publish(room: room, "1") >= 1)
            try await expectGap(client, room, longerThan: silence)
            #expect(try await client.next() == .text("1"))
            #expect(try await client.ping("still here"))
        }
    }

    /// Who comes in the gap waits for the subscription, misses nothing, and is told of nothing.
    @Test func silentSubscriberAloneIsFoundAndLateClientsMissNothing() async throws {
        try await with(silenceTimeout: "5s") { cluster, proxy, node, client, room in
            try await expectNotReady(
                cluster, node, within: .seconds(5), because: "redis subscriber connection is down"
            ) { try await proxy.swallow(containing: "roomcast-subscriber") }
            #expect(!(try await node.ready().body.contains("command")))
            let token = try await node.token()
            let early = try await node.get("/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
            #expect(early.status == 500 && early.body == #"{"data":"WebSocket upgrade failed"}"#)
            async let opening = lateClient(node, room)
            try await proxy.pass()
            let late = try await opening
            try await eventually("ready again") { try await node.ready().status == 200 }
            try await cluster.redis.publish(room: room, "1")
            try await expectGap(client, room, longerThan: .milliseconds(3_750))
            #expect(try await client.next() == .text("1"))
            #expect(try await late.next() == .text("1"))
        }
    }

    /// Tries until it is let in.
    private func lateClient(_ node: GatewayNode, _ room: String) async throws -> Client {
        let token = try await node.token()
        var client: Client?
        try await eventually("a handshake goes through") {
            guard case .open(let opened) = try await node.handshake("token=\(token)&roomIds=\(room)") else {
                return false
            }
            client = opened
            return true
        }
        return try #require(client)
    }

    @Test func silentCommandConnectionsAreFoundThoughNobodyAsksAnything() async throws {
        try await with(silenceTimeout: "5s") { cluster, proxy, node, client, room in
            try await expectNotReady(
                cluster, node, within: .seconds(5), because: "2 of 2 redis command connections are down"
            ) { try await proxy.swallow(containing: "roomcast-worker") }
            #expect(!(try await node.ready().body.contains("subscriber")))
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"), "messages come all the same")
            try await proxy.pass()
            try await eventually("ready again") { try await node.ready().status == 200 }
            #expect(try await node.heartbeat(try await node.token()).status == 200)
            #expect(try await node.metrics()["roomcast_gaps_total"] == 0)
        }
    }

    @Test func stoppedRedisIsFoundWithinTheDefaultSilenceTimeout() async throws {
        try await with(silenceTimeout: "") { cluster, _, node, client, room in
            let silence = try await expectNotReady(
                cluster, node, within: .seconds(5), because: "redis subscriber connection is down",
                "redis command connections are down"
            ) { try await cluster.redis.first.signal(SIGSTOP) }
            try await cluster.redis.first.signal(SIGCONT)
            try await eventually("ready again") { try await node.ready().status == 200 }
            try await cluster.redis.publish(room: room, "1")
            try await expectGap(client, room, longerThan: silence)
            #expect(try await client.next() == .text("1"))
        }
    }
}
