// docs/api says what the gateways do: valid documents, and every answer and frame in them is given by a real
// node.
import Foundation
import Testing

@Suite struct ApiDescriptionTests {
    @Test func openApiAndAsyncApiDescribeTheGateway() async throws {
        try await Cluster.with(nodes: 1, options: ["--gap-notice", "on"]) { cluster in
            let driver = cluster.driver
            let keyed = ["GATEWAY_ADMIN_KEY": "the-key-of-the-operator"]
            let guarded = try await GatewayNode(
                driver, id: "guarded", redis: cluster.redis,
                options: [
                    "--issue-key", "the-key-of-the-backend", "--maximum-connections-per-address", "1",
                    "--token-rate-per-address", "1",
                ], environment: keyed)
            let cutOff = try await GatewayNode(
                driver, id: "cut-off", redis: cluster.redis, environment: keyed,
                url: "redis://127.0.0.1:1", awaitReady: false)
            let full = try await GatewayNode(
                driver, id: "full", redis: cluster.redis, options: ["--maximum-connections", "1"])
            let script = Installation.root.appending(path: "Tests/EndToEndTests/Support/api_description.py")
                .path
            let directory = Installation.root.appending(path: "docs/api").path
            let ports = [
                cluster.node.port, guarded.port, cutOff.port, full.port, cluster.redis.port,
                cluster.node.adminPort, guarded.adminPort, cutOff.adminPort,
            ]
            let ended = try await driver.run(
                [try Installation.python(), "-B", script, directory] + ports.map(String.init),
                within: .patience)
            #expect(ended.code == 0, "\(ended.errors)")
            #expect((JSON(parsing: ended.output)?["seen"].int ?? 0) >= 35)
        }
    }
}
