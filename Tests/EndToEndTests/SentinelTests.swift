// Behind sentinels: the node finds the master, follows it when another server becomes it, and clients stay.
import Testing

@Suite(.serialized) struct SentinelTests {
    private func subscribers(_ server: RedisServer, _ room: String) async throws -> Int? {
        try await server.command("PUBSUB", "NUMSUB", .string("room:\(room)"))[1].int
    }

    @Test(arguments: ServerUnderTest.securities)
    func nodeFollowsWhenTheMasterDies(isSecured: Bool) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let group = try await SentinelGroup(cluster.driver, isSecured: isSecured)
            let node = try await group.startNode("follower", options: ["--gap-notice", "on"])
            let room = cluster.room()
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            #expect(try await group.servers[0].publish(room: room, "1") == 1)
            #expect(try await client.next() == .text("1"))

            try await group.servers[0].stop(9)
            // The sentinels may be done before anyone asks.
            try await eventually("not ready") { node.child.errorOutput.contains("not ready") }
            try await eventually("ready again") { try await node.ready().status == 200 }
            try await group.awaitMaster(group.servers[1])
            #expect(try await group.servers[1].publish(room: room, "2") == 1)
            let next = try await client.nextBesideGaps()
            #expect(next.event == .text("2"))
            #expect(next.gapCount == 1)
            #expect(try await node.heartbeat(token).status == 200)
            try await eventually("the registration is at the new master") {
                try await group.servers[1].hash("client:\(token)")["node"] == "follower"
            }
            #expect(try await client.closed(within: .zero) == nil)
            #expect(try await node.metrics()["roomcast_gaps_total"] == 1)

            let completed = try await cluster.driver.run(
                [
                    try Installation.binary("publisher"), "--redis", group.url(before: "127.0.0.1:1"),
                    "--room", room, "--data", "3",
                ] + group.servers[0].authorityOptions)
            #expect(completed.code == 0, "\(completed.errors)")
            #expect(try await client.next() == .text(#"{"type":"notice","data":3}"#))
        }
    }

    /// The old master lives on and thinks itself one: only the sentinels' word makes the node leave.
    @Test func nodeLeavesADemotedMasterAtOnce() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let group = try await SentinelGroup(cluster.driver)
            let node = try await group.startNode("follower", options: ["--gap-notice", "on"])
            let (old, new) = (group.servers[0], group.servers[1])
            let room = cluster.room()
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            // It refuses to be demoted, however long it has.
            try await old.command("ACL", "SETUSER", "default", "-slaveof", "-replicaof")
            #expect(
                try await group.sentinels[0].command(
                    "SENTINEL", "FAILOVER", .string(SentinelGroup.masterName))
                    == "OK")
            try await eventually("the node is subscribed at the new master") {
                try await subscribers(new, room) == 1
            }
            try await eventually("ready again") { try await node.ready().status == 200 }
            #expect(try await subscribers(old, room) == 0)
            #expect(
                try await old.command("ROLE")[0] == "master",
                "it was not the demotion that made the node leave")
            let names = try await old.command("CLIENT", "LIST").string ?? ""
            #expect(!names.contains("roomcast-"), "no command connection is left there either")

            try await new.publish(room: room, "1")
            let next = try await client.nextBesideGaps()
            #expect(next.event == .text("1") && next.gapCount == 1)
            let another = try await node.token()
            #expect(try await new.hash("client:\(another)")["userId"] == "user-1")
            #expect(try await node.heartbeat(token).status == 200)
            #expect(node.child.errorOutput.contains("the master is now 127.0.0.1:\(new.port)"))
        }
    }

    /// Passwords of both kinds, a sentinel that is not there, and a server that is no master.
    @Test func nodeAndPublisherFindTheMasterWithPasswords() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let group = try await SentinelGroup(
                cluster.driver, password: "data-Pa55word", sentinelPassword: "sentinel-Pa55word")
            let url = group.url(before: "127.0.0.1:1")
            let node = try await group.startNode(
                "with-password", environment: ["GATEWAY_SENTINEL_PASSWORD": "sentinel-Pa55word"], url: url)
            let room = cluster.room()
            let client = try await node.connect(room)
            let command = [
                try Installation.binary("publisher"), "--redis", url, "--room", room, "--data", "1",
                "--timeout", "1m",
            ]
            let completed = try await cluster.driver.run(
                command,
                environment: [
                    "PUBLISHER_REDIS_PASSWORD": "data-Pa55word",
                    "PUBLISHER_SENTINEL_PASSWORD": "sentinel-Pa55word",
                ])
            #expect(completed.code == 0, "\(completed.errors)")
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            #expect(!node.child.errorOutput.contains("Pa55word"))

            let refused = try await cluster.driver.run(
                command.dropLast() + ["10s"], environment: ["PUBLISHER_REDIS_PASSWORD": "data-Pa55word"])
            #expect(refused.code == 1)
            #expect(refused.errors.contains("127.0.0.1:1: Connection refused"))
            #expect(refused.errors.contains("NOAUTH"))
            #expect(refused.errors.contains("nothing was sent"))
        }
    }
}
