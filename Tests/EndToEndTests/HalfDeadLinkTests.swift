// Links to Redis that stand and bring nothing: a network that swallows packets, a server that is stopped.
import Foundation
import Testing

@Suite struct HalfDeadLinkTests {
    /// A node that reaches Redis through a proxy, and one client.
    private func with(
        _ options: [String], _ body: (Cluster, SilentProxy, GatewayNode, Client, String) async throws -> Void
    ) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let proxy = try await SilentProxy(cluster.driver, to: cluster.redis.port)
            let node = try await GatewayNode(
                cluster.driver, id: "half-dead", redis: cluster.redis, options: ["--gap-notice", "on"] + options,
                url: "redis://127.0.0.1:\(proxy.port)")
            let room = cluster.room()
            try await body(cluster, proxy, node, try await node.connect(room), room)
        }
    }

    /// Waits until the node is not ready and says why; that takes the silence timeout at most, and what a busy machine
    /// and the asking add.
    private func expectNotReady(
        _ node: GatewayNode, within timeout: Duration, because reason: String
    ) async throws {
        let start = ContinuousClock.now
        try await eventually("not ready because \(reason)", within: timeout + .seconds(10)) {
            let answer = try await node.ready()
            return answer.status == 503 && answer.body.contains(reason)
        }
        #expect(ContinuousClock.now - start < timeout + .seconds(1))
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
        try await with(["--redis-silence-timeout", "2s"]) { cluster, proxy, node, client, room in
            let start = ContinuousClock.now
            try await proxy.swallow()
            try await expectNotReady(node, within: .seconds(2), because: "redis subscriber connection is down")
            try await expectNotReady(node, within: .seconds(2), because: "2 of 2 redis command connections are down")
            let silence = ContinuousClock.now - start
            try await proxy.pass()
            try await eventually("ready again", within: .seconds(20)) { try await node.ready().status == 200 }
            // The proxy holds the dead connection open: Redis still counts it as a second subscriber.
            #expect(try await cluster.redis.publish(room: room, "1") >= 1)
            try await expectGap(client, room, longerThan: silence)
            #expect(try await client.next() == .text("1"))
            #expect(try await client.ping("still here"))
        }
    }

    /// Who comes in the gap waits for the subscription, misses nothing, and is told of nothing.
    @Test func silentSubscriberAloneIsFoundAndLateClientsMissNothing() async throws {
        try await with(["--redis-silence-timeout", "1s"]) { cluster, proxy, node, client, room in
            try await proxy.swallow(containing: "roomcast-subscriber")
            try await expectNotReady(node, within: .seconds(1), because: "redis subscriber connection is down")
            #expect(!(try await node.ready().body.contains("command")))
            let token = try await node.token()
            let early = try await node.get("/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
            #expect(early.status == 500 && early.body == #"{"data":"WebSocket upgrade failed"}"#)
            async let opening = lateClient(node, room)
            try await proxy.pass()
            let late = try await opening
            try await eventually("ready again", within: .seconds(20)) { try await node.ready().status == 200 }
            try await cluster.redis.publish(room: room, "1")
            try await expectGap(client, room, longerThan: .milliseconds(750))
            #expect(try await client.next() == .text("1"))
            #expect(try await late.next() == .text("1"))
        }
    }

    /// Tries until it is let in.
    private func lateClient(_ node: GatewayNode, _ room: String) async throws -> Client {
        let token = try await node.token()
        var client: Client?
        try await eventually("a handshake goes through", within: .seconds(20)) {
            guard case .open(let opened) = try await node.handshake("token=\(token)&roomIds=\(room)") else {
                return false
            }
            client = opened
            return true
        }
        return try #require(client)
    }

    @Test func silentCommandConnectionsAreFoundThoughNobodyAsksAnything() async throws {
        try await with(["--redis-silence-timeout", "1s"]) { cluster, proxy, node, client, room in
            try await proxy.swallow(containing: "roomcast-worker")
            try await expectNotReady(node, within: .seconds(1), because: "2 of 2 redis command connections are down")
            #expect(!(try await node.ready().body.contains("subscriber")))
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"), "messages come all the same")
            try await proxy.pass()
            try await eventually("ready again", within: .seconds(20)) { try await node.ready().status == 200 }
            #expect(try await node.heartbeat(try await node.token()).status == 200)
            #expect(try await node.metrics()["roomcast_gaps_total"] == 0)
        }
    }

    @Test func stoppedRedisIsFoundWithinTheDefaultSilenceTimeout() async throws {
        try await with([]) { cluster, _, node, client, room in
            let start = ContinuousClock.now
            try await cluster.redis.first.signal(SIGSTOP)
            try await expectNotReady(node, within: .seconds(5), because: "redis subscriber connection is down")
            try await expectNotReady(node, within: .seconds(5), because: "redis command connections are down")
            let silence = ContinuousClock.now - start
            #expect(silence < .seconds(6))
            try await cluster.redis.first.signal(SIGCONT)
            try await eventually("ready again", within: .seconds(20)) { try await node.ready().status == 200 }
            try await cluster.redis.publish(room: room, "1")
            try await expectGap(client, room, longerThan: silence)
            #expect(try await client.next() == .text("1"))
        }
    }
}
