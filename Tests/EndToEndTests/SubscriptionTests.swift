// Rooms that come and go: a node is subscribed exactly to the rooms of its clients, also when these hurry.
import Testing

@Suite struct SubscriptionTests {
    private func subscribers(_ cluster: Cluster, _ room: String) async throws -> Int? {
        try await cluster.redis.command("PUBSUB", "NUMSUB", .string("room:\(room)"))[1].int
    }

    @Test func roomIsLeftAfterItsGraceAndJoinedAgain() async throws {
        try await Cluster.with(nodes: 2, options: ["--unsubscribe-grace", "500ms"]) { cluster in
            let room = cluster.room()
            for _ in 0..<2 {
                let first = try await cluster.nodes[0].connect(room)
                let second = try await cluster.nodes[0].connect(room)
                let third = try await cluster.nodes[1].connect(room)
                #expect(try await subscribers(cluster, room) == 2)
                _ = try await first.close()
                _ = try await third.close()
                try await eventually("one node is left") { try await subscribers(cluster, room) == 1 }
                try await cluster.redis.publish(room: room, "1")
                #expect(try await second.next() == .text("1"))
                _ = try await second.close()
                try await eventually("no node is left") { try await subscribers(cluster, room) == 0 }
            }
        }
    }

    /// Without grace each round leaves the room just when the next one joins it: whichever comes first in
    /// Redis, what is published after the 101 must arrive.
    @Test func joiningWhileLeavingLosesNothing() async throws {
        try await Cluster.with(options: ["--unsubscribe-grace", "0s"]) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            var previous: Client?
            for round in 0..<60 {
                let token = try await node.token()
                let leaver = previous
                async let leaving = leaver?.close()
                let handshake = try await cluster.driver.handshake(
                    "ws://127.0.0.1:\(node.port)/ws?token=\(token)&roomIds=\(room)",
                    publishing: (cluster.redis.port, "room:\(room)", "\(round)"))
                guard case .open(let client) = handshake else { throw HarnessError("refused: \(handshake)") }
                let event = try await client.next()
                #expect(event == .text("\(round)"))
                _ = try await leaving
                previous = client
            }
        }
    }

    @Test func crowdThatComesAtOnceGetsEverything() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let (hall, count) = (cluster.room("hall"), 300)
            let clients = try await withThrowingTaskGroup(of: Client.self) { group in
                for index in 0..<count {
                    group.addTask {
                        try await cluster.nodes[index % 2].connect("\(hall),corner-\(index % 50)")
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(clients.count == count)
            try await cluster.redis.publishSequence(room: hall, count: 20)
            for received in try await cluster.driver.sequences(clients, count: 20) {
                #expect(received == ReceivedSequence(count: 20, firstWrong: nil))
            }
            for node in cluster.nodes {
                #expect(try await node.metrics()["roomcast_connections"] == Double(count / 2))
                #expect(try await node.metrics()["roomcast_rooms"] == 26)
            }
        }
    }

    /// The nodes' own channels are open to everyone who may publish: nonsense there must do nothing.
    @Test func nonsenseOnANodesOwnChannelIsIgnored() async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(room, token: token)
            let channel: JSON = .string("gateway:\(cluster.node.id)")
            for text in [
                "", " ", "replaced", "replaced ", "replaced x y", "replaced \(token)", "replaced \(token) x",
            ] {
                try await cluster.redis.command("PUBLISH", channel, .string(text))
            }
            try await cluster.redis.command(
                "PUBLISH", channel, .string("replaced \(token) 18446744073709551616"))
            try await cluster.redis.command("PUBLISH", channel, .bytes([0xff, 0, 0x0a]))
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try await cluster.node.heartbeat(token).status == 200)
        }
    }

    @Test func redisIsReachedThroughAUnixSocketAsWell() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let path = cluster.driver.directory.appending(path: "redis.sock").path
            let child = try await Child(
                cluster.driver, name: "redis-unix",
                [
                    try Installation.redisServer(), "--port", "0",
                    "--unixsocket", path, "--save", "", "--dir", cluster.driver.directory.path,
                ])
            let node = try await GatewayNode(
                cluster.driver, id: "unix-1", redis: cluster.redis, url: "unix://\(path)")
            let client = try await node.connect("room")
            let command = [
                try Installation.binary("publisher"), "--redis", "unix://\(path)", "--room", "room",
                "--data",
                "1",
            ]
            #expect(try await cluster.driver.run(command).code == 0)
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            try await child.signal(15)
            #expect(try await child.exitCode() == 0)
        }
    }
}
