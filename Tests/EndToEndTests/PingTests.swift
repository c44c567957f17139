// The node's Pings: what keeps proxies awake.
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
