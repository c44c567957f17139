// The cut after 30 s without heartbeat, for once with the real 30 s: here time itself is the subject.
// `after` counts from the moment the client began its handshake, so 30 s of the node cannot look shorter.
import Testing

@Suite(.cluster(nodes: 2))
struct HeartbeatCutTests {
    @Test func silentConnectionIsClosedAtThirtySecondsAndBefore32() async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(cluster.room())
        let closing = try await client.closed(within: .seconds(40))
        #expect(closing?.code == 4000)
        #expect((.seconds(30)..<(.seconds(32))).contains(closing?.after ?? .zero), "\(closing as Any)")
    }

    /// Neither messages of the client nor WebSocket pings nor pushes are heartbeats.
    @Test func onlyTheEndpointCountsAsHeartbeat() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        var closing: Closing?
        var answeredCount = 0
        while closing == nil, answeredCount < 60 {
            closing = try await client.closed(within: .seconds(2))
            // It may be closed at any moment from here on.
            guard closing == nil, let isAnswered = try? await client.ping("beat") else { continue }
            answeredCount += isAnswered ? 1 : 0
            try? await client.send("beat")
            try await cluster.redis.publish(room: room, "1")
        }
        #expect(answeredCount > 0)
        #expect(closing?.code == 4000)
        #expect((.seconds(30)..<(.seconds(32))).contains(closing?.after ?? .zero), "\(closing as Any)")
    }

    @Test func beatsThroughTheOtherNodeKeepAConnectionFor65Seconds() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.nodes[0].token()
        let client = try await cluster.nodes[0].connect(room, token: token)
        for _ in 0..<3 {
            #expect(try await client.closed(within: .seconds(22)) == nil)
            #expect(try await cluster.nodes[1].heartbeat(token).status == 200)
        }
        try await cluster.redis.publish(room: room, "1")
        #expect(try await client.next() == .text("1"))
    }

    @Test func theThirtySecondsCountFromTheLastBeatOfAnyNode() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.nodes[0].token()
        let clock = ContinuousClock()
        let client = try await cluster.nodes[0].connect(cluster.room(), token: token)
        #expect(try await client.closed(within: .seconds(12)) == nil)
        let asked = clock.now
        #expect(try await cluster.nodes[1].heartbeat(token).status == 200)
        let answered = clock.now
        let closing = try await client.closed(within: .seconds(40))
        let closed = clock.now
        #expect(closing?.code == 4000)
        // The beat was taken between the two.
        #expect(closed - asked >= .seconds(30), "\(closed - asked)")
        #expect(closed - answered < .seconds(32), "\(closed - answered)")
    }
}

/// The lifetime is a property of the token, so nodes that would issue others agree on when it was last heard
/// of.
@Suite struct TokenLifetimeTests {
    private func nodes(_ body: (Cluster) async throws -> Void) async throws {
        try await Cluster.with(
            nodes: 2, options: ["--heartbeat-timeout", "5s"],
            optionsOfNode: { ["--token-ttl", $0 == 0 ? "60s" : "30m"] }, body)
    }

    @Test func nodesWithDifferentLifetimesRenewTheTokensOwn() async throws {
        try await nodes { cluster in
            for (issuer, lifetime) in [(0, 60), (1, 1800)] {
                let token = try await cluster.nodes[issuer].token()
                for node in cluster.nodes {
                    try await cluster.redis.command("EXPIRE", .string("client:\(token)"), "20")
                    #expect(try await node.heartbeat(token).status == 200)
                    let left = try await cluster.redis.command("TTL", .string("client:\(token)")).int ?? 0
                    #expect(
                        (lifetime - 5...lifetime).contains(left), "issued by \(issuer), renewed by \(node.id)"
                    )
                }
            }
        }
    }

    @Test func nodesWithDifferentLifetimesCutAtTheSameAge() async throws {
        try await nodes { cluster in
            for (issuer, holder) in [(0, 1), (1, 0)] {
                let token = try await cluster.nodes[issuer].token()
                let client = try await cluster.nodes[holder].connect(cluster.room(), token: token)
                // Six seconds of beats at the other node, with room for a machine that is busy.
                for _ in 0..<4 {
                    #expect(try await client.closed(within: .milliseconds(1_500)) == nil)
                    #expect(try await cluster.nodes[issuer].heartbeat(token).status == 200)
                }
                let clock = ContinuousClock()
                let beat = clock.now
                #expect(try await cluster.nodes[issuer].heartbeat(token).status == 200)
                let closing = try await client.closed(within: .seconds(10))
                #expect(closing?.code == 4000)
                #expect((.seconds(5)..<(.seconds(7))).contains(clock.now - beat))
            }
        }
    }
}
