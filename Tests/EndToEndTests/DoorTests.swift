// A node of few descriptors, and everybody who wants some of them: it serves those that it has announced to
// serve, and its operators.
import Foundation
import Testing

extension Driver {
    /// Clients as browsers are, each with a WebSocket and a kept-alive connection; how often each outcome
    /// came.
    func pages(_ port: Int, _ room: String, count: Int, atOnce: Int) async throws -> [String: Int] {
        let arguments: [String: JSON] = [
            "port": .number(Double(port)), "room": .string(room), "count": .number(Double(count)),
            "at_once": .number(Double(atOnce)),
        ]
        return (try await call("pages_connect", arguments).object ?? [:]).compactMapValues(\.int)
    }

    /// A beat of each of them: how often each status came, and how many WebSockets are open.
    func beats(atOnce: Int) async throws -> (outcomes: [String: Int], openCount: Int) {
        let reply = try await call("pages_beat", ["at_once": .number(Double(atOnce))])
        return ((reply["outcomes"].object ?? [:]).compactMapValues(\.int), reply["open"].int ?? 0)
    }

    func closePages() async throws { try await call("pages_close", [:]) }

    /// Connections that are kept after a request each, made one after the other.
    func visitors(_ port: Int, count: Int) async throws {
        try await call("visitors", ["port": .number(Double(port)), "count": .number(Double(count))])
    }

    /// Connections that say nothing.
    func strangers(_ port: Int, count: Int) async throws {
        try await call("strangers", ["port": .number(Double(port)), "count": .number(Double(count))])
    }
}

@Suite struct DoorTests {
    private static let fewDescriptors = ["bash", "-c", #"ulimit -n 1024; exec "$@""#, "bash"]

    private func smallNode(_ cluster: Cluster, workers: Int = 2, options: [String] = []) async throws
        -> GatewayNode
    {
        try await GatewayNode(
            cluster.driver, id: "small", redis: cluster.redis, options: options,
            wrapper: Self.fewDescriptors, workers: workers)
    }

    private func expectOperatorsAreServed(
        _ node: GatewayNode, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = try await node.driver.request(node.adminPort, path)
            #expect(answer.status == 200, "\(path)", sourceLocation: sourceLocation)
        }
    }

    @Test(arguments: [1, 2])
    func asManyBrowsersConnectAsAreAnnounced(workers: Int) async throws {
        try await Cluster.with { cluster in
            let node = try await smallNode(cluster, workers: workers)
            let announced = Int(try await node.metrics()["roomcast_connections_limit"])
            #expect(announced > 900)
            let outcomes = try await node.driver.pages(
                node.port, cluster.room(), count: announced, atOnce: 10)
            #expect(outcomes == ["101": announced])
            for _ in 0..<2 {
                let beats = try await node.driver.beats(atOnce: 10)
                #expect(beats.outcomes == ["200": announced])
                #expect(beats.openCount == announced)
            }
            #expect(try await node.metrics()["roomcast_connections"] == Double(announced))
            // Full of clients, with strangers at both doors.
            try await node.driver.strangers(node.port, count: 200)
            try await node.driver.strangers(node.adminPort, count: 100)
            try await expectOperatorsAreServed(node)
            #expect(try node.child.descriptorCount < 1024)
            #expect(
                try await node.metrics()["roomcast_accept_pauses_total"] == 0, "descriptors were never short"
            )
            try await node.driver.closePages()
        }
    }

    @Test func strangersKeepNobodyFromAnyDoor() async throws {
        try await Cluster.with { cluster in
            let node = try await smallNode(cluster)
            try await node.driver.strangers(node.port, count: 200)
            try await expectOperatorsAreServed(node)
            try await node.expectService(cluster)
            try await node.driver.strangers(node.adminPort, count: 100)
            try await expectOperatorsAreServed(node)
            try await node.expectService(cluster)
        }
    }

    /// Heads that never end and answers that nobody reads hold places no longer than silence does.
    @Test func halfRequestsAndUnreadAnswersKeepNobodyFromAnyDoor() async throws {
        try await Cluster.with { cluster in
            let node = try await smallNode(cluster)
            for port in [node.port, node.adminPort] {
                for index in 0..<100 {
                    let raw = try await RawConnection(cluster.driver, port: port)
                    _ = try await raw.send(index % 2 == 0 ? "GET /heal" : requestText("/nowhere"))
                }
            }
            try await expectOperatorsAreServed(node)
            try await node.expectService(cluster)
        }
    }

    /// Time of a request that waits for Redis is not the operators' time either.
    @Test func waitingConsolesKeepNoProbeFromItsAnswer() async throws {
        try await Cluster.with { cluster in
            let node = cluster.node
            try await cluster.redis.first.signal(SIGSTOP)
            for _ in 0..<60 {
                let raw = try await RawConnection(cluster.driver, port: node.adminPort)
                _ = try await raw.send(requestText("/console/api/cluster"))
            }
            let answer = try await node.driver.request(node.adminPort, "/healthz")
            #expect(answer.status == 200)
            try await cluster.redis.first.signal(SIGCONT)
        }
    }

    /// The limit is lowered under a running node, to what it has open: idle connections are what it can do
    /// without.
    @Test func descriptorsComeFromIdleConnections() async throws {
        try await Cluster.with { cluster in
            let node = cluster.node
            let pages = try await node.driver.pages(node.port, cluster.room(), count: 20, atOnce: 1)
            #expect(pages == ["101": 20])
            try await node.child.limitDescriptors(to: try node.child.descriptorCount)
            try await eventually("somebody else is served") {
                _ = try await node.connect(cluster.room())
                return true
            }
            #expect(try await node.driver.beats(atOnce: 1).openCount == 20)
            try await node.driver.closePages()
        }
    }

    /// One idle connection for all workers: whichever has it gives it up for a client of another.
    @Test func descriptorsComeFromIdleConnectionsOfOtherWorkers() async throws {
        try await Cluster.with { cluster in
            let node = cluster.node
            try await node.driver.visitors(node.port, count: 1)
            try await node.child.limitDescriptors(to: try node.child.descriptorCount)
            // A few are served from what the harness has given back; each of the others takes the place of
            // the one before it.
            try await node.driver.visitors(node.port, count: 40)
            // Who has just been let in is not closed for somebody who does not exist.
            for _ in 0..<10 { try await expectOperatorsAreServed(node) }
            try await node.driver.closePages()
        }
    }

    /// Some hundred connections that ask thousands of times and read nothing: their answers wait in 16 KiB
    /// each.
    @Test(.enabled(if: !Installation.isSanitized))
    func unreadAnswersCostLittle() async throws {
        try await Cluster.with { cluster in
            let node = cluster.node
            let count = 200
            // What the allocator keeps of an earlier crowd is no cost of this one.
            try await node.expectService(cluster)
            let before = try node.child.residentBytes
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        _ = try await node.driver.flood(
                            node.port, [requestText("/nowhere")], repeats: 8_000, stall: .seconds(1))
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("all of them are there") {
                try await node.metrics()["roomcast_http_connections"] >= Double(count)
            }
            // Until it has answered what it would, and stands.
            var (last, now) = (Duration.zero, try node.child.cpuTime)
            try await eventually("nothing moves any more") {
                try await Task.sleep(for: .milliseconds(500))
                (last, now) = (now, try node.child.cpuTime)
                return now - last < .milliseconds(100)
            }
            let each = (try node.child.residentBytes - before) / count
            #expect(each < 64 << 10, "\(each) bytes a connection")
        }
    }
}

/// How many workers a node starts when nobody says how many.
@Suite struct WorkerCountTests {
    private func workers(_ cluster: Cluster, id: String, _ wrapper: [String]) async throws -> Int? {
        let node = try await GatewayNode(
            cluster.driver, id: id, redis: cluster.redis, wrapper: wrapper, workers: nil)
        let line = node.child.errorOutput.firstMatch(of: /workers=(\d+)/)
        try await node.child.signal(SIGTERM)
        _ = try await node.child.exitCode()
        return line.flatMap { Int($0.output.1) }
    }

    @Test func coresOfTheProcessCountAndNotThoseOfTheMachine() async throws {
        try await Cluster.with { cluster in
            let taskset = try Installation.system("taskset", package: "util-linux")
            #expect(try await workers(cluster, id: "pinned", [taskset, "-c", "0"]) == 1)
            let all = try #require(try await workers(cluster, id: "free", []))
            #expect((1...ProcessInfo.processInfo.processorCount).contains(all))
        }
    }
}
