// The cut after 30 s without heartbeat, for once with the real 30 s: here time itself is the subject.
// `after` counts from the moment the client began its handshake, so 30 s of the node cannot look shorter.
import Testing

@Suite(.cluster(nodes: 2, environment: ["GATEWAY_HEARTBEAT_TIMEOUT": ""]))
struct HeartbeatCutTests {
    /// Waits for the end of a connection that is due 30 s after its last sign of life, and for 32 s at most.
    private func expectCut(_ closing: Closing?, after silence: Duration?, _ pace: Pace) {
        #expect(closing?.code == 4000)
        let silence = silence ?? closing?.after ?? .zero
        #expect(silence >= .seconds(30))
        #expect(silence < pace.allows(.seconds(32)))
    }

    @Test func silentConnectionIsClosedAtThirtySecondsAndBefore32() async throws {
        let cluster = try Cluster.current
        let (closing, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            try await cluster.node.connect(cluster.room()).closed()
        }
        expectCut(closing, after: nil, pace)
    }

    /// Neither messages of the client nor WebSocket pings nor pushes are heartbeats.
    @Test func onlyTheEndpointCountsAsHeartbeat() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let (closing, pace) = try await Pace.during(cluster.driver, cluster.redis) {
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
            return closing
        }
        expectCut(closing, after: nil, pace)
    }

    /// A beat every 10 s: a machine may be two beats late.
    @Test func beatsThroughTheOtherNodeKeepAConnectionFor65Seconds() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.nodes[0].token()
        let client = try await cluster.nodes[0].connect(room, token: token)
        for _ in 0..<7 {
            #expect(try await client.closed(within: .seconds(10)) == nil)
            #expect(try await cluster.nodes[1].heartbeat(token).status == 200)
        }
        try await cluster.redis.publish(room: room, "1")
        #expect(try await client.next() == .text("1"))
    }

    @Test func theThirtySecondsCountFromTheLastBeatOfAnyNode() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.nodes[0].token()
        let clock = ContinuousClock()
        let (times, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            let client = try await cluster.nodes[0].connect(cluster.room(), token: token)
            #expect(try await client.closed(within: .seconds(12)) == nil)
            let asked = clock.now
            #expect(try await cluster.nodes[1].heartbeat(token).status == 200)
            let answered = clock.now
            let closing = try await client.closed()
            return (asked, answered, clock.now, closing)
        }
        let (asked, answered, closed, closing) = times
        #expect(closing?.code == 4000)
        // The beat was taken between the two.
        #expect(closed - asked >= .seconds(30), "\(closed - asked)")
        #expect(closed - answered < pace.allows(.seconds(32)), "\(closed - answered)")
    }
}

/// The lifetime is a property of the token, so nodes that would issue others agree on when it was last heard
/// of.
@Suite struct TokenLifetimeTests {
    private func nodes(_ body: (Cluster) async throws -> Void) async throws {
        try await Cluster.with(
            nodes: 2, options: ["--heartbeat-timeout", "15s"],
            optionsOfNode: { ["--token-ttl", $0 == 0 ? "60s" : "30m"] }, body)
    }

    @Test func nodesWithDifferentLifetimesRenewTheTokensOwn() async throws {
        try await nodes { cluster in
            for (issuer, lifetime) in [(0, 60), (1, 1800)] {
                let token = try await cluster.nodes[issuer].token()
                for node in cluster.nodes {
                    try await cluster.redis.command("EXPIRE", .string("client:\(token)"), "20")
                    let start = ContinuousClock.now
                    #expect(try await node.heartbeat(token).status == 200)
                    try await cluster.redis.expectLife(
                        of: token, .seconds(lifetime), since: start,
                        "issued by \(issuer), renewed by \(node.id)")
                }
            }
        }
    }

    @Test func nodesWithDifferentLifetimesCutAtTheSameAge() async throws {
        try await nodes { cluster in
            let clock = ContinuousClock()
            let (beats, pace) = try await Pace.during(cluster.driver, cluster.redis) {
                try await withThrowingTaskGroup(of: Duration.self) { group in
                    for (issuer, holder) in [(0, 1), (1, 0)] {
                        group.addTask {
                            let token = try await cluster.nodes[issuer].token()
                            let client = try await cluster.nodes[holder].connect(
                                cluster.room(), token: token)
                            // For longer than the timeout, and far more often.
                            for _ in 0..<12 {
                                #expect(try await client.closed(within: .milliseconds(1_500)) == nil)
                                #expect(try await cluster.nodes[issuer].heartbeat(token).status == 200)
                            }
                            let asked = clock.now
                            #expect(try await cluster.nodes[issuer].heartbeat(token).status == 200)
                            #expect(try await client.closed()?.code == 4000)
                            return clock.now - asked
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
            }
            #expect(beats.allSatisfy { $0 >= .seconds(15) && $0 < pace.allows(.seconds(17)) }, "\(beats)")
        }
    }
}
