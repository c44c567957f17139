// Servers that send a node from one to the other and back, for every key.
import Testing

@Suite struct LyingClusterTests {
    /// A request ends with 503 after a few attempts; the node is otherwise as it was.
    @Test(arguments: ["MOVED", "ASK"])
    func redirectionsEnd(kind: String) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let ports = try await cluster.driver.call("liars_open", ["kind": .string(kind)]).array ?? []
            func asked() async throws -> Int {
                try await cluster.driver.call("liars_asked", ["ports": .array(ports)]).int ?? -1
            }
            let node = try await GatewayNode(
                cluster.driver, id: "lied-to", redis: cluster.redis,
                url: "cluster://127.0.0.1:\(try #require(ports.first?.int))", awaitReady: false)
            try await eventually("the node has found the cluster") { try await asked() > 0 }
            for _ in 0..<5 {
                let before = try await asked()
                let answer = try await node.heartbeat("AAAAAAAAAAAAAAAAAAAAAAAA")
                #expect(answer.status == 503)
                // What the node writes on its own account meanwhile, its report and its checks, is bounded the same
                // way.
                let count = try await asked() - before
                #expect((1...100).contains(count), "\(count)")
            }
            #expect(try await node.get("/nowhere").status == 404)
            try await node.child.signal(15)
            #expect(try await node.child.exitCode() == 0)
        }
    }
}
