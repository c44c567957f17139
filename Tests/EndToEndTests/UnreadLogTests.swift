import Foundation
import Testing

@Suite struct UnreadLogTests {
    /// More than a pipe holds, of lines of some 150 bytes.
    private static let closedClientCount = 700

    @Test func nodeWhoseLogNobodyReadsDeliversAllTheSame() async throws {
        try await Cluster.with { cluster in
            let pause = cluster.driver.directory.appending(path: "pause")
            let script = Installation.root.appending(path: "Tests/EndToEndTests/Support/unread_log.py").path
            let node = try await GatewayNode(
                cluster.driver, id: "unread", redis: cluster.redis, options: ["--log-level", "debug"],
                wrapper: [try Installation.python(), "-B", script, pause.path])
            let room = cluster.room()
            let client = try await node.connect(room)
            try Data().write(to: pause)
            // Each is a line, of the thread that holds it.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for start in 0..<20 {
                    group.addTask {
                        for _ in stride(from: start, to: Self.closedClientCount, by: 20) {
                            _ = try await node.connect(room).close()
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try await node.ready().status == 200)
            #expect(!node.child.errorOutput.contains("draining"))
            // It also ends in time, whoever reads.
            try await node.child.signal(SIGTERM)
            #expect(try await node.child.exitCode() == 0)
        }
    }
}
