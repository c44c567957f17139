// Nodes replaced one after another under constant publishing: what clients lose is what is published while
// they are on their way, and no connection brings anything twice or out of order.
import Foundation
import Testing

@Suite struct RollingRestartTests {
    private static let options = ["--drain-time", "1s", "--drain-delay", "300ms"]
    private static let clientCount = 24

    @Test func nothingIsLostButWhileAClientIsOnItsWay() async throws {
        try await Cluster.with(nodes: 3, options: Self.options) { cluster in
            let room = cluster.room()
            var nodes = cluster.nodes
            var tokens: [JSON] = []
            for index in 0..<Self.clientCount { tokens.append(.string(try await nodes[index % 3].token())) }
            let id = try await cluster.driver.call(
                "roam_start",
                [
                    "urls": urls(nodes), "tokens": .array(tokens), "room": .string(room),
                    "port": .number(Double(cluster.redis.port)), "interval": 0.005,
                ])
            try await published(cluster.driver, id, atLeast: 50)
            for index in 0..<3 {
                try await nodes[index].child.signal(SIGTERM)
                #expect(try await nodes[index].child.exitCode() == 0)
                nodes[index] = try await GatewayNode(
                    cluster.driver, id: "node-\(index + 1)-new", redis: cluster.redis, options: Self.options)
                try await cluster.driver.call("roam_targets", ["id": id, "urls": urls(nodes)])
                try await eventually("everybody is back") {
                    try await cluster.driver.call("roam_open", ["id": id])["open"].int == Self.clientCount
                }
            }
            let count = try await cluster.driver.call("roam_open", ["id": id])["published"].int ?? 0
            // As many again as were published while clients were on their way: how long that took is no
            // matter.
            try await published(cluster.driver, id, atLeast: 2 * count)
            let ledger = try await cluster.driver.call("roam_stop", ["id": id])
            #expect(ledger["lost"].int == 0, "\(ledger)")
            #expect(ledger["duplicated"].int == 0, "\(ledger)")
            #expect(ledger["misordered"].int == 0, "\(ledger)")
            let stays = (ledger["stays"].array ?? []).compactMap(\.int)
            #expect(stays.count == Self.clientCount)
            let moves = stays.reduce(0, +) - Self.clientCount
            #expect(moves >= Self.clientCount, "every node was drained of its clients")
            #expect(ledger["codes"] == ["1001": .number(Double(moves))])
            // Since then everybody was connected.
            #expect((ledger["received"].int ?? 0) >= count * Self.clientCount, "\(ledger)")
            for node in nodes { #expect(try await node.child.unexpectedExitCode() == nil) }
        }
    }

    private func urls(_ nodes: [GatewayNode]) -> JSON {
        .array(nodes.map { .string("ws://127.0.0.1:\($0.port)/ws") })
    }

    private func published(_ driver: Driver, _ id: JSON, atLeast count: Int) async throws {
        try await eventually("\(count) messages are published") {
            try await driver.call("roam_open", ["id": id])["published"].int ?? 0 >= count
        }
    }
}
