// A node that does not run for a while, as one that is moved to another machine: it must not take its own
// pause for the silence of others.
import Foundation
import Testing

@Suite struct PauseTests {
    @Test func stoppedNodeMissesNothingAndDropsNoLink() async throws {
        try await Cluster.with(options: ["--gap-notice", "on", "--redis-silence-timeout", "4s"]) { cluster in
            let node = cluster.node
            let client = try await node.connect("room")
            for round in 0..<2 {
                try await node.child.signal(SIGSTOP)
                for number in 0..<10 {
                    #expect(try await cluster.redis.publish(room: "room", "\(round * 10 + number)") == 1)
                }
                // The time is what is tested: longer than the silence timeout, and than a request waits for
                // Redis.
                try await Task.sleep(for: .seconds(6))
                try await node.child.signal(SIGCONT)
                for number in 0..<10 { #expect(try await client.next() == .text("\(round * 10 + number)")) }
            }
            #expect(try await node.ready().status == 200)
            let metrics = try await node.metrics()
            #expect(metrics["roomcast_redis_reconnects_total"] == 0)
            #expect(metrics["roomcast_gaps_total"] == 0)
            #expect(!node.child.errorOutput.contains("redis connection lost"), "\(node.child.errorOutput)")
        }
    }
}
