// What operators and backends see and do with gateways on a Redis Cluster: nodes, rooms, top, console, POST, loadtest.
import Foundation
import Testing

/// Two nodes on three masters with a replica each.
private struct ObservedCluster: Sendable {
    let group: ClusterGroup
    let nodes: [GatewayNode]

    @TaskLocal static var shared: ObservedCluster?

    static var current: ObservedCluster {
        get throws {
            guard let shared else { throw HarnessError("the suite has no cluster") }
            return shared
        }
    }

    var driver: Driver { group.driver }

    func room(_ name: String) -> String { "\(name)-\(UUID().uuidString.prefix(8))" }

    func publisher(_ arguments: String...) throws -> [String] {
        [try Installation.binary("publisher"), arguments[0]] + group.connectionOptions
            + arguments.dropFirst()
    }

    func loadtest(_ arguments: [String]) async throws -> JSON {
        let gateways = nodes.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        let completed = try await driver.run(
            [
                try Installation.binary("loadtest"), "--gateway", gateways, "--json", "--warmup", "200ms",
            ] + group.connectionOptions + arguments)
        #expect(completed.code == 0, "\(completed.errors)\(completed.output)")
        return try #require(JSON(parsing: completed.output), "\(completed.output)\(completed.errors)")
    }
}

/// Starts it for all tests of a suite.
private struct ObservedClusterTrait: SuiteTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver)
            let environment = ["GATEWAY_ADMIN_KEY": ConsoleBrowser.key]
            let nodes = [
                try await group.startNode("node-1", environment: environment, workers: 2),
                try await group.startNode("node-2", environment: environment, workers: 1),
            ]
            try await ObservedCluster.$shared.withValue(ObservedCluster(group: group, nodes: nodes)) {
                try await function()
            }
        }
    }
}

@Suite(ObservedClusterTrait(), .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterObservationTests {
    /// One client at the first node and two at the second.
    private func visitors(_ cluster: ObservedCluster, _ room: String) async throws -> [Client] {
        var clients: [Client] = []
        for index in [0, 1, 1] {
            clients.append(try await cluster.nodes[index].connect(room.percentEncoded))
        }
        return clients
    }

    // MARK: The publisher's commands

    @Test func nodesAreListed() async throws {
        let cluster = try ObservedCluster.current
        _ = try await visitors(cluster, cluster.room("nodes"))
        try await eventually("both nodes have reported their clients") {
            let completed = try await cluster.driver.run(try cluster.publisher("nodes", "--json"))
            #expect(completed.code == 0, "\(completed.errors)")
            let nodes = JSON(parsing: completed.output)?["nodes"].array ?? []
            guard nodes.map({ $0["id"].string }) == ["node-1", "node-2"] else { return false }
            for (node, told) in zip(cluster.nodes, nodes) {
                #expect(told["address"].string == "127.0.0.1:\(node.port)" && told["ready"] == true)
            }
            return (nodes[0]["connections"].int ?? 0) >= 1 && (nodes[1]["connections"].int ?? 0) >= 2
        }
        let table = try await cluster.driver.run(try cluster.publisher("nodes"))
        let lines = table.output.split(separator: "\n")
        #expect(table.code == 0 && lines.count == 4, "\(table)")
        #expect(lines.last?.hasPrefix("2 nodes, 2 ready, ") == true)
    }

    @Test func roomsAreCountedOverBothNodes() async throws {
        let cluster = try ObservedCluster.current
        let (large, small) = (cluster.room("large é"), cluster.room("small"))
        let clients = try await visitors(cluster, large)
        _ = try await cluster.nodes[0].connect(small)
        var result: JSON = .null
        try await eventually("both nodes have reported") {
            let completed = try await cluster.driver.run(
                try cluster.publisher("rooms", "--top", "all", "--json", "--timeout", "1m"))
            #expect(completed.code == 0, "\(completed.errors)")
            result = JSON(parsing: completed.output) ?? .null
            return result["nodeCount"] == 2
        }
        let rooms = result["rooms"].array ?? []
        #expect(rooms.contains(["room": .string(large), "members": 3, "nodes": 2]), "\(result)")
        #expect(rooms.contains(["room": .string(small), "members": 1, "nodes": 1]))
        #expect(result["missing"] == [] && result["roomCount"].int == rooms.count)
        _ = clients
    }

    @Test func topShowsNodesAndRooms() async throws {
        let cluster = try ObservedCluster.current
        let room = cluster.room("top")
        let clients = try await visitors(cluster, room)
        let terminal = try await Terminal(
            cluster.driver, try cluster.publisher("top", "--interval", "100ms"), columns: 100, rows: 40)
        let picture = try await terminal.awaitPicture("both nodes and the room") { picture in
            picture.lines.contains { $0.hasPrefix("      3") && $0.hasSuffix("  \(room)") }
                && picture.lines[1].hasPrefix("2 nodes, 2 ready   ")
        }
        for node in cluster.nodes {
            #expect(picture.lines.contains { $0.hasPrefix("\(node.id)  127.0.0.1:\(node.port)") })
        }
        try await terminal.type("q")
        #expect(try await terminal.exitCode() == 0)
        _ = clients
    }

    // MARK: The console

    @Test func consoleTellsOfBothNodesAndTheirRooms() async throws {
        let cluster = try ObservedCluster.current
        let room = cluster.room("console")
        let clients = try await visitors(cluster, room)
        let body = #"{"room":"\#(room)","data":1,"durable":true}"#
        #expect(try await post(cluster.nodes[0], "/api/publish", body).status == 200)
        for node in cluster.nodes {
            try await eventually("\(node.id) tells of the room at both, and of its history") {
                let answer = try await cluster.driver.request(node.adminPort, "/console/api/cluster")
                let told = try #require(JSON(parsing: answer.body))
                let nodes = told["nodes"].array ?? []
                #expect(told["redis"].isNull, "\(answer.body)")
                let members = nodes.map { node in
                    node["topRooms"].array?.first { $0["room"].string == room }?["members"].int
                }
                return nodes.map { $0["id"].string } == ["node-1", "node-2"] && members == [1, 2]
                    && told["histories"].array?.contains { $0["room"].string == room && $0["notices"] == 1 }
                        == true
            }
        }
        _ = clients
    }

    @Test func consoleWatchesAndRevokes() async throws {
        let cluster = try ObservedCluster.current
        let (node, other) = (cluster.nodes[0], cluster.nodes[1])
        let room = cluster.room("watched")
        // With masters of their own each.
        for _ in 0..<6 {
            let token = try await other.token()
            let client = try await other.connect(room, token: token)
            let admitted = try await post(node, "/console/api/admit", "{}")
            let own = try #require(JSON(parsing: admitted.body)?["token"].string)
            let address = "ws://127.0.0.1:\(node.adminPort)/console/api/watch?token=\(own)&roomIds=\(room)"
            guard case .open(let watcher) = try await cluster.driver.handshake(address) else {
                Issue.record("the watch was refused")
                return
            }
            let beat = try await post(node, "/console/api/beat", #"{"token":"\#(own)"}"#)
            #expect(beat.status == 200)
            try await cluster.group.servers[5].publish(room: room, "1")
            for one in [client, watcher] { #expect(try await one.next() == .text("1")) }
            for (revoked, closed) in [(token, client), (own, watcher)] {
                let body = #"{"token":"\#(revoked)"}"#
                #expect(try await post(node, "/console/api/revoke", body).status == 200)
                #expect(try await closed.closed()?.code == 4003)
            }
        }
    }

    @Test func pageOfTheConsolePublishes() async throws {
        let cluster = try ObservedCluster.current
        let room = cluster.room("page")
        let clients = try await visitors(cluster, room)
        let console = try await ConsoleBrowser(cluster.nodes[0])
        try await console.expect("#state-text", "both nodes") { $0 == "Live · 2 nodes" }
        try await console.expect("#rooms", "the room") { $0.contains(room) }
        try await console.enter()
        try await console.fill("#room", room)
        try await console.fill("#data", #"{"n": 1}"#)
        try await console.click("#send-form .primary")
        try await console.expect("#send-note", "nothing about nodes") { $0.hasPrefix("Published. ") }
        for client in clients {
            #expect(try await client.next() == .text(#"{"type":"notice","data":{"n":1}}"#))
        }
        try await console.checkManners()
    }

    // MARK: POST /api/publish

    @Test func postReachesBothNodes() async throws {
        let cluster = try ObservedCluster.current
        let rooms = (0..<6).map { cluster.room("post-\($0)") }
        for (index, room) in rooms.enumerated() {
            let clients = try await visitors(cluster, room)
            let node = cluster.nodes[index % 2]
            let plain = try await post(node, "/api/publish", #"{"room":"\#(room)","data":1}"#)
            #expect(plain.status == 200)
            #expect(plain.body == #"{"rooms":[{"room":"\#(room)","nodes":null}]}"#)
            for client in clients {
                #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            }
            let body = #"{"room":"\#(room)","data":2,"durable":true,"once":"k"}"#
            let durable = try await post(node, "/api/publish", body)
            let told = try #require(JSON(parsing: durable.body))["rooms"][0]
            let id = try #require(told["id"].string, "\(durable.body)")
            #expect(told["nodes"].isNull && told["known"].isNull)
            let frame = #"{"id":"\#(id)","room":"\#(room)","type":"notice","data":2}"#
            for client in clients { #expect(try await client.next() == .text(frame)) }
            // At the other node, too, its key is known.
            let again = try await post(cluster.nodes[1 - index % 2], "/api/publish", body)
            #expect(
                again.body == #"{"rooms":[{"room":"\#(room)","nodes":null,"id":"\#(id)","known":true}]}"#)
            let owner = try await cluster.group.owner(ofKey: "room:\(room)")
            #expect(try await cluster.group.tell(owner, "XLEN", .string("room:\(room)")) == 1)
        }
    }

    // MARK: loadtest

    /// Every delivery is checked, with clients in rooms of all masters at both nodes.
    @Test(arguments: [[], ["--durable"], ["--durable", "--churn", "20"], ["--transport", "mixed"]])
    func loadIsCarriedWithoutLoss(options: [String]) async throws {
        let cluster = try ObservedCluster.current
        let report = try await cluster.loadtest(
            [
                "--clients", "48", "--rooms", "12", "--rooms-per-client", "2", "--rate", "100",
                "--duration", "1s", "--processes", "2",
            ] + options)
        #expect(report["problems"] == [] && report["handshakes"]["opened"] == 48, "\(report)")
        let (messages, checked) = (report["messages"], report["deliveries"]["checked"])
        // Nobody counts the nodes.
        #expect(messages["refused"] == 0 && messages.object?["reachedNoNode"] == .null, "\(messages)")
        let count = try #require(messages["published"].int)
        #expect(count > 0 && checked["expected"] == checked["received"])
        if !options.contains("--churn") { #expect(checked["received"].int == count * 8) }
        for fault in ["lost", "duplicated", "outOfOrder", "misrouted", "corrupt"] {
            #expect(checked[fault] == 0, "\(fault)")
        }
    }
}
