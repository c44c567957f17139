// A node that does not run for a while, as one that is moved to another machine: it must not take its own pause for
// the silence of others.
import Foundation
import Testing

@Suite struct PauseTests {
    @Test func stoppedNodeMissesNothingAndDropsNoLink() async throws {
        try await Cluster.with(options: ["--gap-notice", "on", "--redis-silence-timeout", "1s", "--redis-timeout", "1s"]) {
            cluster in
            let node = cluster.node
            let client = try await node.connect("room")
            for round in 0..<3 {
                try await node.child.signal(SIGSTOP)
                for number in 0..<10 {
                    #expect(try await cluster.redis.publish(room: "room", "\(round * 10 + number)") == 1)
                }
                // Twice the silence timeout: the time is what is tested.
                try await Task.sleep(for: .seconds(2))
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
