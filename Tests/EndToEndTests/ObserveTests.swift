// `publisher nodes`, `rooms` and `watch` on a cluster of three nodes.
import Foundation
import Testing

extension Cluster {
    /// The publisher's command line with this Redis.
    func publisher(_ arguments: String...) throws -> [String] {
        [try Installation.binary("publisher"), arguments[0], "--redis", redis.url] + arguments.dropFirst()
    }
}

@Suite(.cluster(nodes: 3))
struct ObserveTests {
    private func allReport(_ cluster: Cluster) async throws {
        try await eventually("all nodes have reported") {
            try await cluster.redis.command("SCARD", "roomcast:nodes") == 3
        }
    }

    @Test func nodesAreListedWithTheirRates() async throws {
        let cluster = try Cluster.current
        try await allReport(cluster)
        let room = cluster.room()
        let client = try await cluster.nodes[1].connect(room)
        let publishing = Task {
            while !Task.isCancelled { try await cluster.redis.publishSequence(room: room, count: 20) }
        }
        defer { publishing.cancel() }
        var node: JSON = .null
        try await eventually("deliveries a second are counted") {
            let completed = try await cluster.driver.run(try cluster.publisher("nodes", "--json"))
            #expect(completed.code == 0, "\(completed.errors)")
            let nodes = try #require(JSON(parsing: completed.output)?["nodes"].array)
            #expect(nodes.map { $0["id"].string } == ["node-1", "node-2", "node-3"])
            #expect(nodes[0]["deliveredPerSecond"].double != nil)
            node = nodes[1]
            return (node["deliveredPerSecond"].double ?? 0) > 1
        }
        #expect(node["address"].string == "127.0.0.1:\(cluster.nodes[1].port)")
        #expect((node["connections"].int ?? 0) >= 1 && node["ready"] == true && node["draining"] == false)
        let table = try await cluster.driver.run(try cluster.publisher("nodes"))
        #expect(table.code == 0 && table.errors.isEmpty)
        let lines = table.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 5)
        #expect(lines[0].hasPrefix("NODE    ADDRESS"))
        #expect(
            lines[2].hasPrefix("node-2  127.0.0.1:\(cluster.nodes[1].port)")
                && lines[2].contains("  ready  "))
        #expect(lines[4].hasPrefix("3 nodes, 3 ready, "))
        _ = client
    }

    @Test func membersAreCountedOverAllNodes() async throws {
        let cluster = try Cluster.current
        try await allReport(cluster)
        let (large, small) = (cluster.room("large room é"), cluster.room("small"))
        for node in cluster.nodes {
            for _ in 0..<40 { _ = try await node.connect(large.percentEncoded) }
        }
        _ = try await cluster.nodes[2].connect("\(large.percentEncoded),\(small)")
        let completed = try await cluster.driver.run(
            try cluster.publisher("rooms", "--top", "1", "--timeout", "1m"))
        #expect(completed.code == 0, "\(completed.errors)")
        let lines = completed.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 3)
        #expect(lines[1].hasPrefix("\(large) ") && lines[1].hasSuffix(" 121      3"), "\(completed.output)")
        #expect(lines[2].hasSuffix(" on 3 nodes"))
        let all = try await cluster.driver.run(
            try cluster.publisher("rooms", "--top", "all", "--json", "--timeout", "1m"))
        let result = try #require(JSON(parsing: all.output))
        let rooms = result["rooms"].array ?? []
        #expect(rooms.first == ["room": .string(large), "members": 121, "nodes": 3])
        #expect(rooms.contains(["room": .string(small), "members": 1, "nodes": 1]))
        #expect(result["roomCount"].int == rooms.count && result["missing"] == .array([]))
        #expect(result["nodeCount"] == 3)
    }

    /// A node that is stopped hears the question and does not answer; one that is listed and gone does not
    /// hear it.
    @Test func nodesThatDoNotAnswerAreNamed() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            try await eventually("both have reported") {
                try await cluster.redis.command("SCARD", "roomcast:nodes") == 2
            }
            _ = try await cluster.nodes[0].connect("a")
            try await cluster.nodes[1].child.signal(SIGSTOP)
            try await cluster.redis.command("SADD", "roomcast:nodes", "ghost")
            try await cluster.redis.command("HSET", "node:ghost", "uptime", "1")
            let completed = try await cluster.driver.run(try cluster.publisher("rooms", "--timeout", "5s"))
            try await cluster.nodes[1].child.signal(SIGCONT)
            #expect(completed.code == 1)
            #expect(completed.errors.contains("from ghost, node-2:"), "\(completed.errors)")
            #expect(completed.output.contains("1 room, 1 member on 1 node\n"), "\(completed.output)")
        }
    }

    @Test func noNodeIsSaid() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            for command in ["nodes", "rooms"] {
                let completed = try await cluster.driver.run(try cluster.publisher(command))
                #expect(completed.code == 0)
                #expect(completed.output == "no node has reported itself\n")
            }
            let port = try await cluster.driver.freePort()
            for command in [["nodes"], ["rooms"], ["watch", "--room", "a"], ["top"]] {
                let binary = try Installation.binary("publisher")
                let lost = try await cluster.driver.run(
                    [binary] + command + ["--redis", "redis://127.0.0.1:\(port)"])
                #expect(lost.code == 1 && lost.output.isEmpty, "\(command)")
                #expect(lost.errors.contains("\(port)") && lost.errors.split(separator: "\n").count == 1)
            }
        }
    }

    @Test func wrongUsageIsOneLine() async throws {
        let usages: [([String], String)] = [
            (["nodes", "--watch", "2"], "--watch"), (["nodes", "more"], "more"),
            (["rooms", "--top", "0"], "--top"),
            (["rooms", "--top", "some"], "or all"), (["watch"], "--room"),
            (["watch", "--room", "a\u{7}"], "--room"),
            (["watch", "--room", "a", "--count", "0"], "--count"),
            (["top", "--interval", "1"], "--interval"),
            (["top", "--json"], "--json"),
        ]
        for (arguments, named) in usages {
            let completed = try await Cluster.current.driver.run(
                [try Installation.binary("publisher")] + arguments)
            #expect(completed.code == 2 && completed.output.isEmpty, "\(arguments)")
            #expect(completed.errors.contains(named) && completed.errors.split(separator: "\n").count == 1)
        }
    }

    @Test(arguments: ["nodes", "rooms", "watch", "top"])
    func helpGoesToStandardOutput(command: String) async throws {
        let help = try await Cluster.current.driver.run([
            try Installation.binary("publisher"), command, "--help",
        ])
        #expect(help.code == 0 && help.errors.isEmpty)
        #expect(
            help.output.contains("Usage: publisher \(command) ") && help.output.contains("PUBLISHER_REDIS"))
        #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    // MARK: watch

    @Test func noticesAreShownAsTheyPass() async throws {
        let cluster = try Cluster.current
        let (room, other) = (cluster.room("one"), cluster.room("two"))
        let child = try await Child(
            cluster.driver, name: "watch-\(room)",
            try cluster.publisher("watch", "--room", room, "--room", other, "--count", "3"))
        try await eventually("it listens") {
            try await cluster.redis.publish(room: room, "\u{1B}]0;x\u{7}\n1") == 1
        }
        try await cluster.redis.publish(room: cluster.room(), "not this")
        try await cluster.redis.publish(room: other, #"{"é":1}"#)
        try await cluster.redis.publish(room: room, "")
        #expect(try await child.exitCode() == 0)
        let lines = child.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 3)
        for (line, end) in zip(lines, [#"8 B  \u{1b}]0;x\u{07}\n1"#, #"8 B  {"é":1}"#, "0 B  "]) {
            #expect(line.hasSuffix(end), "\(line)")
            #expect(line.firstMatch(of: #/^\d\d:\d\d:\d\d\.\d{3}  (one|two)-/#) != nil)
        }
        #expect(child.errorOutput.hasPrefix("publisher: 3 notices, 16 B in "))
        #expect(child.errorOutput.hasSuffix(" s, 0 gaps\n"))
    }

    @Test func signalEndsWithASummary() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let child = try await Child(
            cluster.driver, name: "watch-\(room)", try cluster.publisher("watch", "--room", room, "--json"))
        let payload = "{\"a\":\"\u{9B}é\"}"
        try await eventually("it listens") { try await cluster.redis.publish(room: room, payload) == 1 }
        try await eventually("it is shown") { child.output.hasSuffix("\n") }
        try await child.signal(SIGINT)
        #expect(try await child.exitCode() == 130)
        let notice = try #require(JSON(parsing: child.output))
        #expect(
            notice["room"].string == room && notice["payload"].string == payload && notice["bytes"] == 12)
        #expect(child.output.contains(#"\u009b"#) && notice["isUtf8"] == true)
        #expect(child.errorOutput.hasPrefix("publisher: 1 notice, 12 B in "))
    }

    @Test func gapIsToldWhenRedisWasAway() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let child = try await Child(
                cluster.driver, name: "watch", try cluster.publisher("watch", "--room", "a", "--count", "2"))
            try await eventually("it listens") { try await cluster.redis.publish(room: "a", "1") == 1 }
            // Redis may be killed between its answer to the publisher and the notice.
            try await eventually("it is shown") { child.output.hasSuffix("\n") }
            try await cluster.redis.stop()
            try await eventually("the loss is told") { child.errorOutput.contains("connecting again") }
            _ = try await cluster.redis.restart()
            try await eventually("it listens again") { try await cluster.redis.publish(room: "a", "2") == 1 }
            #expect(try await child.exitCode() == 0)
            let lines = child.output.split(separator: "\n").map(String.init)
            #expect(lines.count == 3 && lines[1].contains("  gap of "), "\(child.output)")
            #expect(child.errorOutput.hasSuffix(" s, 1 gap\n"))
            // Attempts while Redis was away: told once, not once each.
            #expect(child.errorOutput.split(separator: "\n").count <= 4, "\(child.errorOutput)")
        }
    }

    /// A link that is dead in silence: Redis is there and says nothing.
    @Test func silentRedisIsFoundOut() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let child = try await Child(
                cluster.driver, name: "watch",
                try cluster.publisher("watch", "--room", "a", "--timeout", "300ms"))
            try await eventually("it listens") { try await cluster.redis.publish(room: "a", "1") == 1 }
            try await cluster.redis.first.signal(SIGSTOP)
            try await eventually("it is told") { child.errorOutput.contains("ms; connecting again") }
            try await cluster.redis.first.signal(SIGCONT)
            try await eventually("the gap is told") { child.output.contains("  gap of ") }
            try await child.signal(SIGTERM)
            #expect(try await child.exitCode() == 143)
        }
    }

    /// Whoever reads may have enough: `publisher watch … | head`.
    @Test func watchEndsWhenNobodyReads() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let command = try cluster.publisher("watch", "--room", room)
        let shell = try await Child(
            cluster.driver, name: "head-\(room)",
            ["bash", "-c", #""$@" | head -n 1; exit "${PIPESTATUS[0]}""#, "bash"] + command)
        try await eventually("it ends") {
            try await cluster.redis.publish(room: room, "1")
            return try await shell.exitCode(within: .zero) != nil
        }
        #expect(try await shell.exitCode(within: .zero) == 141)
    }

    @Test func linesAreShortenedToTheTerminal() async throws {
        let cluster = try Cluster.current
        let terminal = try await Terminal(
            cluster.driver, try cluster.publisher("watch", "--room", "wide"), columns: 50, rows: 8)
        let payload = String(repeating: "日本\u{1B}[2J", count: 50)
        try await eventually("it listens") { try await cluster.redis.publish(room: "wide", payload) == 1 }
        let picture = try await terminal.awaitPicture("the line") { $0.lines[0].hasSuffix("…") }
        #expect(picture.lines[0].contains(#"\u{1b}[2J"#))
        #expect(picture.lines[1].isEmpty && picture.escapeCount == 0)
        try await terminal.type("\u{3}")
        #expect(try await terminal.exitCode() == 130)
    }

    @Test func nodesAreRefreshedInPlaceOnATerminalOnly() async throws {
        let cluster = try Cluster.current
        try await allReport(cluster)
        let command = try cluster.publisher("nodes", "--watch", "100ms")
        let terminal = try await Terminal(cluster.driver, command, columns: 60, rows: 12)
        let picture = try await terminal.awaitPicture("several refreshes") { $0.escapeCount >= 6 }
        #expect(picture.lines[0].hasPrefix("NODE ") && picture.lines[1].hasPrefix("node-1 "))
        #expect(picture.lines[5].isEmpty)
        try await terminal.type("\u{3}")
        #expect(try await terminal.exitCode() == 130)
        for environment in [["TERM": "dumb"], nil] {
            var output = ""
            if let environment {
                let dumb = try await Terminal(
                    cluster.driver, command, columns: 120, rows: 12, environment: environment)
                let shown = try await dumb.awaitPicture("two blocks") { $0.text.contains("\n\nNODE ") }
                #expect(shown.escapeCount == 0)
                output = shown.text
                try await dumb.signal(SIGTERM)
                #expect(try await dumb.exitCode() == 143)
            } else {
                let child = try await Child(cluster.driver, name: "nodes-\(cluster.room())", command)
                try await eventually("two blocks") { child.output.contains("\n\nNODE ") }
                output = child.output
                try await child.signal(SIGTERM)
                #expect(try await child.exitCode() == 143)
            }
            #expect(!output.contains("\u{1B}"))
        }
    }
}
