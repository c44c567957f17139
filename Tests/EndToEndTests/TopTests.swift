// `publisher top` on a real pseudo-terminal, its screen rendered by PyPI `pyte`.
import Foundation
import Testing

@Suite(.cluster(nodes: 3))
struct TopTests {
    private func open(
        columns: Int = 100, rows: Int = 30, environment: [String: String] = [:]
    ) async throws -> Terminal {
        let cluster = try Cluster.current
        try await eventually("all nodes have reported") {
            try await cluster.redis.command("SCARD", "roomcast:nodes") == 3
        }
        return try await Terminal(
            cluster.driver, try cluster.publisher("top", "--interval", "100ms"), columns: columns,
            rows: rows,
            environment: environment)
    }

    private func hasNodes(_ picture: Terminal.Picture) -> Bool {
        picture.lines.contains { $0.hasPrefix("node-1 ") }
    }

    @Test func clusterIsShownAndQQuits() async throws {
        let cluster = try Cluster.current
        let room = cluster.room("top")
        var clients: [Client] = []
        for node in cluster.nodes { clients.append(try await node.connect(room)) }
        let terminal = try await open()
        let picture = try await terminal.awaitPicture("the room and bars") { picture in
            picture.lines.contains { $0.hasSuffix("  \(room)") && $0.hasPrefix("      3") }
                && picture.lines.contains { $0.hasPrefix("connections ") && $0.contains("█") }
        }
        #expect(
            picture.isAlternate && !picture.hasCursor && !picture.hasSameSettings && picture.styleCount > 0)
        #expect(picture.lines[0].hasPrefix("roomcast ") && picture.lines[1].hasPrefix("3 nodes, 3 ready   "))
        for id in 1...3 { #expect(picture.lines.contains { $0.hasPrefix("node-\(id)  127.0.0.1:") }) }
        #expect(picture.lines[29] == "q quits")
        try await eventually("deliveries are shown") {
            try await cluster.redis.publishSequence(room: room, count: 100)
            let lines = try await terminal.picture().lines
            return lines.contains {
                $0.hasPrefix("deliveries/s ") && $0.contains("█") && !$0.hasSuffix(" 0")
            }
        }
        try await terminal.type("xyz")
        try await terminal.type("q")
        #expect(try await terminal.exitCode() == 0)
        try await terminal.awaitPicture("the terminal as it was") { $0.isGivenBack }
        _ = clients
    }

    @Test(arguments: [(SIGTERM, 143), (SIGINT, 130), (SIGHUP, 129), (SIGQUIT, 131)])
    func terminalIsGivenBackAtASignal(number: Int32, code: Int) async throws {
        let terminal = try await open()
        try await terminal.awaitPicture("the nodes", hasNodes)
        #expect(try await !terminal.picture().isGivenBack)
        try await terminal.signal(number)
        #expect(try await terminal.exitCode() == code)
        try await terminal.awaitPicture("the terminal as it was") { $0.isGivenBack }
    }

    @Test func ctrlCEndsAndCtrlZAndBackslashDoNothing() async throws {
        let terminal = try await open()
        try await terminal.awaitPicture("the nodes", hasNodes)
        try await terminal.type("\u{1A}\u{1C}")
        let before = try await terminal.picture().byteCount
        try await terminal.awaitPicture("it goes on") { $0.byteCount > before + 500 }
        try await terminal.type("\u{3}")
        #expect(try await terminal.exitCode() == 130)
        try await terminal.awaitPicture("the terminal as it was") { $0.isGivenBack }
    }

    @Test func smallTerminalShowsTheMostImportant() async throws {
        let terminal = try await open(columns: 40, rows: 10)
        let picture = try await terminal.awaitPicture("the nodes", hasNodes)
        #expect(picture.lines[0].hasPrefix("roomcast   "))
        #expect(picture.lines[1] == "3 nodes, 3 ready")
        #expect(picture.lines[2].hasPrefix("connections ") && picture.lines[3].hasPrefix("deliveries/s "))
        #expect(picture.lines[4] == "NODE    STATE  CONNECTIONS  DELIVERIES/S")
        #expect(picture.lines[9] == "q quits")
        try await terminal.type("q")
        #expect(try await terminal.exitCode() == 0)
    }

    /// The interval is an hour: what is drawn after a change of size is drawn because of it.
    @Test func pictureFollowsTheSizeOfTheTerminal() async throws {
        let cluster = try Cluster.current
        try await eventually("all nodes have reported") {
            try await cluster.redis.command("SCARD", "roomcast:nodes") == 3
        }
        let terminal = try await Terminal(
            cluster.driver, try cluster.publisher("top", "--interval", "1h"), columns: 60, rows: 14)
        try await terminal.awaitPicture("the first picture") { $0.lines[13] == "q quits" }
        for (columns, rows) in [(100, 30), (40, 10), (80, 24)] {
            try await terminal.resize(columns: columns, rows: rows)
            let picture = try await terminal.awaitPicture("\(columns)x\(rows)") { picture in
                picture.lines.count == rows && picture.lines[rows - 1] == "q quits"
                    && picture.lines.filter { $0 == "q quits" }.count == 1
                    && picture.lines[0].count == columns
            }
            #expect(picture.lines.contains { $0.hasPrefix("node-1 ") })
        }
        try await terminal.type("q")
        #expect(try await terminal.exitCode() == 0)
    }

    @Test func redisMayGoAndComeBack() async throws {
        try await Cluster.with(nodes: 1) { cluster in
            try await eventually("it has reported") {
                try await cluster.redis.command("SCARD", "roomcast:nodes") == 1
            }
            let terminal = try await Terminal(
                cluster.driver, try cluster.publisher("top", "--interval", "100ms"), columns: 90, rows: 20)
            try await terminal.awaitPicture("the node", hasNodes)
            try await cluster.redis.stop()
            let away = try await terminal.awaitPicture("the loss") {
                $0.lines[19].contains("cannot reach Redis")
            }
            #expect(hasNodes(away))
            let second = try await cluster.redis.restart()
            try await terminal.awaitPicture("it is back") { $0.lines[19] == "q quits" && hasNodes($0) }
            try await second.signal(SIGKILL)
            try await terminal.awaitPicture("the second loss") { $0.lines[19].contains("Redis") }
            try await terminal.type("q")
            #expect(try await terminal.exitCode() == 0)
            try await terminal.awaitPicture("the terminal as it was") { $0.isGivenBack }
        }
    }

    /// Redis says nothing while it is asked: keys are heard all the same.
    @Test func keysAreHeardWhileRedisIsSilent() async throws {
        try await Cluster.with(nodes: 1) { cluster in
            try await eventually("it has reported") {
                try await cluster.redis.command("SCARD", "roomcast:nodes") == 1
            }
            let terminal = try await Terminal(
                cluster.driver, try cluster.publisher("top", "--interval", "100ms", "--timeout", "5m"),
                rows: 12)
            try await terminal.awaitPicture("the node", hasNodes)
            try await cluster.redis.first.signal(SIGSTOP)
            // A look every 20 ms: 25 alike are five intervals without a picture.
            var (count, alikeCount) = (-1, 0)
            try await eventually("it waits for Redis") {
                let last = count
                count = try await terminal.picture().byteCount
                alikeCount = count == last ? alikeCount + 1 : 0
                return alikeCount >= 25
            }
            try await terminal.type("q")
            // Before Redis' time is over.
            #expect(try await terminal.exitCode(within: .seconds(200)) == 0)
            try await terminal.awaitPicture("the terminal as it was") { $0.isGivenBack }
            try await cluster.redis.first.signal(SIGCONT)
        }
    }

    @Test func coloursAreLeftOutWhereTheyAreNotWanted() async throws {
        let terminal = try await open(environment: ["NO_COLOR": "1"])
        let picture = try await terminal.awaitPicture("the nodes", hasNodes)
        #expect(picture.styleCount == 0 && picture.isAlternate)
        try await terminal.type("q")
        #expect(try await terminal.exitCode() == 0)
    }

    @Test func plainLinesWhereThereIsNoScreen() async throws {
        let cluster = try Cluster.current
        let dumb = try await open(columns: 160, environment: ["TERM": "dumb"])
        let picture = try await dumb.awaitPicture("two lines") { $0.lines[1].contains("3 nodes, 3 ready, ") }
        #expect(picture.escapeCount == 0 && picture.isGivenBack)
        try await dumb.signal(SIGTERM)
        #expect(try await dumb.exitCode() == 143)
        let child = try await Child(
            cluster.driver, name: "top-\(cluster.room())",
            try cluster.publisher("top", "--interval", "100ms"))
        try await eventually("two lines") { child.output.split(separator: "\n").count >= 2 }
        try await child.signal(SIGINT)
        #expect(try await child.exitCode() == 130)
        let line = child.output.split(separator: "\n").first ?? ""
        let form = #/^\d\d:\d\d:\d\d  3 nodes, 3 ready, \d+ of \d+ connections, /#
        #expect(line.firstMatch(of: form) != nil, "\(line)")
        #expect(!child.output.contains("\u{1B}"))
    }
}
