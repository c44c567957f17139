// From one Redis to a Redis Cluster while clients are connected, step by step as docs/guides/redis-cluster.md has it.
import Foundation
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterMigrationTests {
    /// The one Redis, the new cluster, and what is done with both.
    private struct Move {
        let driver: Driver
        let old: RedisServer
        let group: ClusterGroup

        init(_ cluster: Cluster) async throws {
            (driver, old) = (cluster.driver, cluster.redis)
            group = try await ClusterGroup(driver, replicasOfEach: 0)
        }

        /// Copies everything, with its time to live.
        func copy(_ options: String...) async throws {
            let copied = try await driver.run(
                [
                    try Installation.system("redis-cli", package: "redis-tools"), "--cluster", "import",
                    "127.0.0.1:\(group.servers[0].port)", "--cluster-from", "127.0.0.1:\(old.port)",
                    "--cluster-copy",
                ] + options)
            #expect(copied.code == 0, "\(copied.output)")
        }

        /// Publishes `text` to a room at each of the servers; one line for each says that it has taken it.
        func publish(_ room: String, _ text: String, to urls: [String], _ options: String...) async throws {
            let published = try await driver.run(
                [try Installation.binary("publisher")] + urls.flatMap { ["--redis", $0] } + options
                    + ["--room", room, "--data", #""\#(text)""#])
            let lines = published.output.split(separator: "\n")
            try #require(published.code == 0 && lines.count == urls.count, "\(published)")
        }

        var both: [String] { [old.url, group.url()] }
    }

    /// Ends a node of the one Redis; its clients are asked to go to another.
    private func drain(_ node: GatewayNode, _ client: Client) async throws {
        try await node.child.signal(SIGTERM)
        #expect(try await client.closed()?.code == 1001)
        #expect(try await node.child.exitCode() == 0)
    }

    @Test func clientsKeepTheirTokens() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let move = try await Move(cluster)
            let (group, old) = (move.group, move.old)
            // Connected at either node, and without a connection.
            let tokens = [
                try await cluster.nodes[0].token(), try await cluster.nodes[1].token(),
                try await cluster.nodes[0].token(),
            ]
            var clients: [Client] = []
            for (node, token) in zip(cluster.nodes, tokens) {
                clients.append(try await node.connect("lobby", token: token))
            }
            func expectNotice(_ text: String, to urls: [String]) async throws {
                try await move.publish("lobby", text, to: urls)
                for client in clients {
                    #expect(try await client.next() == .text(#"{"type":"notice","data":"\#(text)"}"#))
                }
            }

            // 1. Copy what is there.
            try await move.copy()
            for token in tokens {
                let owner = try await group.owner(ofKey: "client:\(token)")
                #expect(try await owner.hash("client:\(token)")["userId"] == "user-1")
                #expect(try await owner.command("TTL", .string("client:\(token)")).int ?? -1 > 0)
            }

            // 2. Publish to both.
            try await expectNotice("both", to: move.both)

            // 3. Copy the tokens that were issued meanwhile.
            let late = try await cluster.nodes[1].token()
            try await move.copy("--cluster-replace")

            // 4. One gateway after the other: each client hears each notice once, on whichever side it is.
            var nodes: [GatewayNode] = []
            for (index, leaving) in cluster.nodes.enumerated() {
                nodes.append(try await group.startNode("new-\(index)"))
                try await drain(leaving, clients[index])
                clients[index] = try await nodes[index].connect("lobby", token: tokens[index])
                try await expectNotice("step \(index)", to: move.both)
            }
            for token in tokens + [late] {
                for node in nodes { #expect(try await node.heartbeat(token).status == 200) }
            }

            // 5. Publish to the new one only, and stop the old one.
            try await old.stop()
            try await expectNotice("new", to: [group.url()])
        }
    }

    /// Histories come along; each side has its own epoch.
    @Test func clientsOfDurableRoomsAreToldOnce() async throws {
        try await Cluster.with(nodes: 1) { cluster in
            let move = try await Move(cluster)
            let follower = try await Follower(cluster.node, ["kept"])
            try await move.publish("kept", "old", to: [move.old.url], "--durable")
            try await follower.read(upTo: "old", in: "kept")
            try await move.copy()
            try await move.publish("kept", "both", to: move.both, "--durable")
            try await follower.read(upTo: "both", in: "kept")
            #expect(follower.lossCount(of: "kept") == 0)
            let owner = try await move.group.owner(ofKey: "room:kept")
            #expect(try await owner.command("XLEN", "room:kept") == 2)

            let node = try await move.group.startNode("new")
            try await drain(cluster.node, follower.client)
            try await follower.comeBack(to: node)
            #expect(follower.lossCount(of: "kept") == 1)
            try await move.publish("kept", "new", to: [move.group.url()], "--durable")
            try await follower.read(upTo: "new", in: "kept")
            // Its position is the cluster's now.
            try await follower.close()
            try await move.publish("kept", "away", to: [move.group.url()], "--durable")
            try await follower.comeBack(to: node)
            try await follower.read(upTo: "away", in: "kept")
            #expect(follower.lossCount(of: "kept") == 1)
            #expect(follower.notices(of: "kept").suffix(2) == ["new", "away"])
        }
    }
}
