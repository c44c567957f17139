// What nodes tell of themselves in Redis: `node:<id>`, the index `nodes`, and their rooms on request.
import Foundation
import Testing

@Suite struct NodeReportTests {
    private func ids(_ cluster: Cluster) async throws -> Set<String> {
        Set((try await cluster.redis.command("SMEMBERS", "roomcast:nodes").array ?? []).compactMap(\.string))
    }

    @Test func nodesAreListedWithWhatTheyDo() async throws {
        try await Cluster.with(nodes: 2, options: ["--maximum-connections", "77"]) { cluster in
            let room = cluster.room("räume")
            let clients = [
                try await cluster.nodes[0].connect(room.percentEncoded),
                try await cluster.nodes[0].connect(room.percentEncoded),
                try await cluster.nodes[1].connect(room.percentEncoded),
            ]
            try await cluster.redis.publish(room: room, "1")
            for client in clients { #expect(try await client.next() == .text("1")) }
            try await eventually("both nodes tell it") {
                let counts = [
                    try await cluster.redis.hash("node:node-1")["delivered"],
                    try await cluster.redis.hash("node:node-2")["delivered"],
                ]
                return counts == ["2", "1"]
            }
            #expect(try await ids(cluster) == ["node-1", "node-2"])
            let report = try await cluster.redis.hash("node:node-1")
            #expect(report["address"] == "127.0.0.1:\(cluster.nodes[0].port)")
            #expect(report["connections"] == "2")
            #expect(report["connectionsLimit"] == "77")
            #expect(report["handshakes"] == "2")
            #expect(report["tokensIssued"] == "2")
            #expect(report["received"] == "1")
            #expect(report["rooms"] == "1")
            #expect(report["ready"] == "1")
            #expect(report["draining"] == "0")
            #expect(report["workers"] == "2")
            #expect(report["publishToFlush"]?.split(separator: ",").count == 16)
            let metrics = try await cluster.nodes[0].metrics()
            #expect(Double(report["writtenBytes"] ?? "") == metrics["roomcast_written_bytes_total"])
            // The two clients may be on one worker or on two.
            let members = report.filter { $0.key.hasPrefix("rooms:") }.values.flatMap {
                $0.split(separator: "\n")
            }
            .compactMap { $0.split(separator: "\t").last.flatMap { Int($0) } }
            #expect(members.reduce(0, +) == 2)
            let uptime = Int(report["uptime"] ?? "") ?? -1
            try await eventually("time goes on") {
                Int(try await cluster.redis.hash("node:node-1")["uptime"] ?? "") ?? -1 > uptime
            }
        }
    }

    /// Bound to every address, beside its Redis on one machine: others find it by the machine's name.
    @Test func addressOfANodeThatIsBoundToEveryAddressCanBeUsed() async throws {
        try await Cluster.with { cluster in
            let node = try await Child(
                cluster.driver, name: "everywhere",
                [
                    try Installation.binary("gateway"), "--listen", "0.0.0.0:0", "--admin-listen", "off",
                    "--node-id",
                    "everywhere", "--redis", cluster.redis.url,
                ])
            var name = [CChar](repeating: 0, count: 256)
            try #require(gethostname(&name, name.count - 1) == 0)
            let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            try await eventually("it has reported") {
                guard let port = loggedPort(after: "listening on ", in: node) else { return false }
                return try await cluster.redis.hash("node:everywhere")["address"] == "\(host):\(port)"
            }
        }
    }

    @Test func nodeThatEndsLeavesTheListAndOneThatIsKilledIsForgotten() async throws {
        try await Cluster.with(nodes: 2, options: ["--drain-time", "0s"]) { cluster in
            try await eventually("both are there") { try await ids(cluster) == ["node-1", "node-2"] }
            let nodes = cluster.nodes
            try await nodes[0].child.signal(SIGTERM)
            #expect(try await nodes[0].child.exitCode() == 0)
            #expect(try await ids(cluster) == ["node-2"])
            #expect(try await cluster.redis.command("EXISTS", "node:node-1") == 0)
            try await nodes[1].child.signal(SIGKILL)
            #expect(try await nodes[1].child.exitCode() == -Int(SIGKILL))
            try await eventually("its report is over") {
                try await cluster.redis.command("EXISTS", "node:node-2") == 0
            }
        }
    }

    @Test func allRoomsComeOnRequest() async throws {
        try await Cluster.with(options: ["--prefix", "p:"]) { cluster in
            let names = (0..<6).map { cluster.room("room \($0)") }
            for name in names { _ = try await cluster.node.connect(name.percentEncoded) }
            _ = try await cluster.node.connect(names[0].percentEncoded)
            let messages = try await cluster.driver.call(
                "redis_collect",
                [
                    "port": .number(Double(cluster.redis.port)), "subscribe": "p:gateway:reply:r1",
                    "publish": "p:gateway:node-1", "text": "rooms r1", "prefix": "end ", "count": 2,
                    "timeout": .number(Duration.patience.seconds),
                ])
            let texts = (messages.array ?? []).compactMap(\.string)
            let lines = texts.filter { $0.hasPrefix("rooms ") }.flatMap {
                $0.split(separator: "\n").dropFirst()
            }
            var members: [String: Int] = [:]
            for line in lines {
                let parts = line.split(separator: "\t")
                members[String(parts[0]), default: 0] += Int(parts[1]) ?? 0
            }
            #expect(members == Dictionary(uniqueKeysWithValues: names.map { ($0, $0 == names[0] ? 2 : 1) }))
            let ends = texts.filter { $0.hasPrefix("end ") }.map {
                $0.split(separator: " ").map(String.init)
            }
            #expect(Set(ends.map { $0[1] }) == ["0", "1"])
            #expect(ends.allSatisfy { $0[2] == "2" })
            #expect(ends.compactMap { Int($0[3]) }.reduce(0, +) == lines.count)
        }
    }
}
