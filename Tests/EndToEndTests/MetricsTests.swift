// The admin port: liveness, readiness, and metrics that parse and move.
import Testing

@Suite struct MetricsTests {
    @Test func everyLineIsOfTheExpositionFormatAndEverySampleHasAType() async throws {
        try await Cluster.with { cluster in
            _ = try await cluster.node.connect(cluster.room())
            let answer = try await cluster.driver.request(cluster.node.adminPort, "/metrics")
            #expect(answer.status == 200)
            #expect(answer.headers["content-type"]?.hasPrefix("text/plain") == true)
            let metrics = try Metrics(answer.body)
            #expect(metrics.samples.count > 20)
            for sample in metrics.samples.keys {
                let name = String(sample.prefix { $0 != "{" })
                let family =
                    ["_bucket", "_sum", "_count"].compactMap { suffix in
                        name.hasSuffix(suffix) ? String(name.dropLast(suffix.count)) : nil
                    }.first { metrics.types[$0] == "histogram" } ?? name
                #expect(name.hasPrefix("roomcast_") || name.hasPrefix("process_"), "\(sample)")
                #expect(["counter", "gauge", "histogram"].contains(metrics.types[family]), "\(sample)")
                #expect(metrics.types[family] != "counter" || family.hasSuffix("_total"), "\(sample)")
            }
        }
    }

    @Test func countersAndGaugesFollowWhatHappens() async throws {
        try await Cluster.with { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            let other = try await node.connect(room)
            for n in 0..<7 { try await cluster.redis.publish(room: room, "\(n)") }
            for _ in 0..<7 { _ = try await client.next() }
            for _ in 0..<7 { _ = try await other.next() }
            _ = try await node.heartbeat(token)
            _ = try await node.heartbeat("x")
            _ = try await node.get("/ws", headers: handshakeHeaders())
            let replaced = try await node.connect(room, token: token)
            #expect(try await client.closed()?.code == 4001)

            let expected = [
                "roomcast_tokens_issued_total": 2.0, "roomcast_handshakes_total": 3, "roomcast_rooms": 1,
                #"roomcast_heartbeats_total{result="ok"}"#: 1,
                #"roomcast_heartbeats_total{result="token_error"}"#: 1,
                #"roomcast_handshakes_rejected_total{reason="missing_token"}"#: 1,
                "roomcast_messages_received_total": 7, "roomcast_received_bytes_total": 7,
                "roomcast_frames_delivered_total": 14, "roomcast_connections": 2, "roomcast_ready": 1,
                #"roomcast_closes_total{code="4001"}"#: 1, "roomcast_payloads_held_back_total": 0,
            ]
            for (name, value) in expected {
                try await eventually("\(name) is \(value)") {
                    try await node.metrics()[name] == value
                }
            }
            _ = try await replaced.close()
            _ = try await other.close()
            try await eventually("nobody is connected") {
                try await node.metrics()["roomcast_connections"] == 0
            }
        }
    }

    @Test func livenessReadinessAndUnknownPaths() async throws {
        try await Cluster.with { cluster in
            for (target, status) in [
                ("/healthz", 200), ("/readyz", 200), ("/nowhere", 404),
                ("/get/token?isLogin=true&userId=a", 404),
            ] {
                let answer = try await cluster.driver.request(cluster.node.adminPort, target)
                #expect(answer.status == status, "\(target)")
            }
        }
    }
}
