// One address, and now another server behind it, while the old one lives on as a replica: every connection of a
// node follows, and no client pays for it.
import Foundation
import Testing

@Suite struct MovedRedisTests {
    /// Whether the two servers are told apart by their own word, or only by what does not come.
    @Test(arguments: [true, false])
    func everyConnectionFollowsTheMaster(saysWhichServer: Bool) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let proxy = try await MasterProxy(cluster.driver)
            let (old, new) = (proxy.servers[0], proxy.servers[1])
            if !saysWhichServer {
                for server in proxy.servers {
                    try await server.command(
                        "ACL", "SETUSER", "gateway", "on", "nopass", "allkeys", "allchannels", "+@all",
                        "-@dangerous")
                }
            }
            let node = try await GatewayNode(
                cluster.driver, id: "follower", redis: old, options: ["--gap-notice", "on"],
                environment: ["GATEWAY_REDIS_SILENCE_TIMEOUT": "5s"],
                url: saysWhichServer ? proxy.url : "redis://gateway@127.0.0.1:\(proxy.port)")
            let room = cluster.room()
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            try await old.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))

            let (time, pace) = try await Pace.during(cluster.driver, new) {
                try await proxy.swapRoles(isLinked: saysWhichServer)
                let swapped = ContinuousClock.now
                try await eventually("the node is subscribed at the new master") {
                    try await new.command("PUBSUB", "NUMSUB", .string("room:\(room)"))[1] == 1
                }
                return ContinuousClock.now - swapped
            }
            #expect(time < pace.allows(.seconds(5)))
            try await eventually("ready again") { try await node.ready().status == 200 }
            #expect(node.child.errorOutput.contains("not ready"))
            let names = try await old.command("CLIENT", "LIST").string ?? ""
            #expect(!names.contains("roomcast-"), "no connection is left at the old one: \(names)")

            try await new.publish(room: room, "2")
            guard case .text(let gap) = try await client.next() else { throw HarnessError("no gap notice") }
            #expect(gap.contains(#""type":"gap""#))
            #expect(try await client.next() == .text("2"))
            #expect(try await node.heartbeat(token).status == 200)
            let later = try await node.connect(room)
            try await new.publish(room: room, "3")
            #expect(try await later.next() == .text("3"))
            #expect(try await client.closed(within: .zero) == nil)
        }
    }
}
