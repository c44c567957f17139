// clients/js/roomcast.js in a real Chromium, against nodes that count pongs as heartbeats (`--heartbeat pong`),
// nodes that do not, and both together.
import Foundation
import Testing

@Suite struct BrowserPongTests {
    private static let lobby: [String: JSON] = [
        "rooms": ["lobby"], "userId": "ada", "heartbeatTimeoutMs": 10000,
    ]
    private static let request = [
        "--heartbeat-timeout", "10s", "--ping-interval", "2s", "--drain-time", "0s",
    ]
    private static let pong = request + ["--heartbeat", "pong"]

    /// Chromium answers the pings of a page that is hidden and frozen. It drops the connection when it wakes the page,
    /// which then resumes.
    @Test func hiddenAndFrozenPageKeepsItsConnectionWithoutABeat() async throws {
        try await ClientEdge.with(options: Self.pong) { edge in
            let page = try await edge.client(Self.lobby.merging(["durable": true]) { $1 })
            try await page.expect("it has looked which mode it is") { $0["beats"] == 1 }
            _ = try await edge.page()
            try await eventually("hidden") {
                try await page.evaluate("document.visibilityState") == "hidden"
            }
            try await Self.passTimeouts(1, edge)
            let hidden = try await page.seen()
            #expect(hidden["beats"] == 1 && hidden["counts"]["reconnects"] == 0)
            try await page.freeze(true)
            let beats = try await edge.total(#"roomcast_heartbeats_total{result="ok"}"#)
            let pongs = try await edge.total(#"roomcast_heartbeats_total{result="pong"}"#)
            try await Self.passTimeouts(2, edge)
            #expect(try await edge.total(#"roomcast_heartbeats_total{result="ok"}"#) == beats)
            #expect(try await edge.total(#"roomcast_heartbeats_total{result="pong"}"#) > pongs)
            #expect(try await edge.total("roomcast_connections") == 1)
            try await edge.cluster.redis.publishDurably(room: "lobby", number: 7, once: "frozen")
            try await page.freeze(false)
            let seen = try await page.expect("what came meanwhile") {
                $0["status"] == "open" && $0.noticeNumbers == [7]
            }
            #expect(seen["gaps"] == [])
            #expect(try await page.complaints() == [])
        }
    }

    /// A node after the other is changed, to pongs and back.
    @Test func clientLivesThroughARollingChangeOfTheMode() async throws {
        try await ClientEdge.with(options: Self.request) { edge in
            let page = try await edge.client(Self.lobby.merging(["heartbeatTimeoutMs": 6000]) { $1 })
            try await page.expect("beats go on") { $0["beats"].int ?? 0 >= 2 }
            var nodes = edge.cluster.nodes

            try await Self.replace(&nodes, edge, Self.pong)
            try await page.expect("connected again") { $0["status"] == "open" }
            try await Self.passTimeouts(1, edge, nodes[0])
            let quiet = try await page.seen()
            try await Self.passTimeouts(2, edge, nodes[0])
            let later = try await page.seen()
            let beats = try #require(quiet["beats"].int)
            #expect(try #require(later["beats"].int) <= beats + 1, "the browser's pongs are enough")
            #expect(later["counts"] == quiet["counts"])

            try await Self.replace(&nodes, edge, Self.request)
            let back = try await page.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] != later["counts"]["reconnects"]
            }
            let least = try #require(back["beats"].int) + 4
            let seen = try await page.expect("beats go on again") { $0["beats"].int ?? 0 >= least }
            #expect(seen["counts"] == back["counts"])
            for change in seen["statuses"].array ?? [] {
                #expect(change["code"] == .null || change["code"] == 1001, "\(change)")
            }
            for node in nodes { #expect(try await node.child.unexpectedExitCode() == nil) }
        }
    }

    /// A balancer sends beats to a node that counts pongs, and the connection to one that does not.
    @Test func beatOfAnotherNodeMisleadsAClientOnce() async throws {
        try await ClientEdge.with(
            options: Self.request, optionsOfNode: { $0 == 1 ? ["--heartbeat", "pong"] : [] }
        ) { edge in
            let (holder, other) = (edge.cluster.nodes[0].port, edge.cluster.nodes[1].port)
            let nginx = try await NginxServer(
                edge.cluster,
                changes: [
                    (
                        "location = /ws {",
                        """
                        location = /heartbeat { proxy_pass http://127.0.0.1:\(other); }
                        location = /ws { proxy_pass http://127.0.0.1:\(holder); proxy_read_timeout 1h; }
                        location = /unused {
                        """
                    )
                ])
            let page = try await edge.page()
            let options: [String: JSON] = [
                "url": .string("http://127.0.0.1:\(nginx.port)"), "heartbeatTimeoutMs": 6000,
                "tokens": [.string(try await edge.cluster.node.token())],
            ]
            try await page.start(Self.lobby.merging(options) { $1 })
            let back = try await page.expect("closed, and connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            let codes = (back["statuses"].array ?? []).compactMap { $0["code"].int }
            #expect(codes == [4000])
            let least = try #require(back["beats"].int) + 5
            let seen = try await page.expect("beats go on") { $0["beats"].int ?? 0 >= least }
            #expect(seen["counts"] == back["counts"])
        }
    }

    /// Waits for so many heartbeat timeouts, by the clock of a node: that of a client that answers no ping and sends no
    /// heartbeat.
    private static func passTimeouts(_ count: Int, _ edge: ClientEdge, _ node: GatewayNode? = nil)
        async throws
    {
        for _ in 0..<count {
            let silent = try await (node ?? edge.cluster.node).connect("elsewhere")
            try await silent.mute()
            #expect(try await silent.closed()?.code == 4000)
        }
    }

    /// Drains one node after the other and starts it with other options.
    private static func replace(
        _ nodes: inout [GatewayNode], _ edge: ClientEdge, _ options: [String]
    ) async throws {
        for index in nodes.indices {
            try await nodes[index].child.signal(SIGTERM)
            #expect(try await nodes[index].child.exitCode() == 0)
            nodes[index] = try await GatewayNode(
                edge.cluster.driver, id: "\(nodes[index].id)-next", redis: edge.cluster.redis,
                options: options + ["--listen", "127.0.0.1:\(nodes[index].port)"])
        }
    }
}
