// How a node writes where the kernel or a container's profile forbids what it would like to use.
import Foundation
import Testing

@Suite struct IoUringTests {
    @Test func nodeToWhichItIsForbiddenSaysSoAndServes() async throws {
        try await Cluster.with { cluster in
            let filter = Installation.root.appending(path: "Tests/EndToEndTests/Support/without_io_uring.py")
                .path
            let node = try await GatewayNode(
                cluster.driver, id: "forbidden", redis: cluster.redis,
                wrapper: [try Installation.python(), filter])
            #expect(node.child.errorOutput.contains("io_uring is unavailable"))
            #expect(node.child.errorOutput.contains("Operation not permitted"))
            let room = cluster.room()
            var clients: [Client] = []
            for _ in 0..<3 { clients.append(try await node.connect(room)) }
            try await cluster.redis.publishSequence(room: room, count: 500, paddingBytes: 10)
            for client in clients {
                try await eventually("everything has arrived") { try await client.receivedCount() == 500 }
            }
        }
    }

    @Test func nodeThatIsToldNotToUseItDoesNotTry() async throws {
        try await Cluster.with(options: ["--io-uring", "off"]) { cluster in
            #expect(!cluster.node.child.errorOutput.contains("io_uring"))
        }
    }
}
