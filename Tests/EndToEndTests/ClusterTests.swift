// Gateways on a Redis Cluster: every token is found wherever it is, clients stay while masters die, change places and
// hand slots over, and the feed leaves a node that brings nothing.
import Foundation
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterTests {
    /// Two nodes on three masters with a replica each.
    private func with(
        options: [String] = [], nodes: Int = 2,
        _ make: (Driver) async throws -> ClusterGroup = { try await ClusterGroup($0) },
        _ body: (ClusterGroup, [GatewayNode]) async throws -> Void
    ) async throws {
        try await Driver.with { driver in
            let group = try await make(driver)
            var started: [GatewayNode] = []
            for index in 0..<nodes {
                // One with a thread for all, and one with a thread for each.
                started.append(
                    try await group.startNode(
                        "node-\(index + 1)", options: ["--gap-notice", "on"] + options,
                        workers: 2 - index % 2))
            }
            try await body(group, started)
        }
    }

    /// Tokens with records at every master.
    private func tokens(_ group: ClusterGroup, _ node: GatewayNode, count: Int = 60) async throws -> [String]
    {
        var tokens: [String] = []
        for _ in 0..<count { tokens.append(try await node.token()) }
        return tokens
    }

    private func records(_ group: ClusterGroup, at server: RedisServer) async throws -> Set<String> {
        let keys = try await group.tell(server, "KEYS", "client:*").array ?? []
        return Set(keys.compactMap { $0.string.map { String($0.dropFirst("client:".count)) } })
    }

    private func publish(_ group: ClusterGroup, _ server: RedisServer, _ room: String, _ text: String)
        async throws
    {
        try await group.tell(server, "PUBLISH", .string("room:\(room)"), .string(text))
    }

    /// Where a node listens.
    private func feedServer(_ group: ClusterGroup, _ node: String) async throws -> RedisServer? {
        try await group.subscribed(to: "gateway:\(node)").first
    }

    @Test func everyTokenIsFoundByEveryNode() async throws {
        try await with { group, nodes in
            let tokens = try await tokens(group, nodes[0])
            for master in try await group.masters() {
                #expect(
                    try await !records(group, at: master).isDisjoint(with: tokens), "no master is left out")
            }
            for token in tokens { #expect(try await nodes[1].heartbeat(token).status == 200) }
            let clients = [
                try await nodes[0].connect("lobby", token: tokens[0]),
                try await nodes[1].connect("lobby", token: tokens[1]),
            ]
            for (index, server) in group.servers.enumerated() {
                try await publish(group, server, "lobby", "\(index)")
                for client in clients { #expect(try await client.next() == .text("\(index)")) }
            }
            // The connection before is closed, at the other node.
            let later = try await nodes[1].connect("lobby", token: tokens[0])
            #expect(try await clients[0].closed()?.code == 4001)
            // A record that was deleted is a revocation.
            let owner = try await group.owner(ofKey: "client:\(tokens[0])")
            try await group.tell(owner, "DEL", .string("client:\(tokens[0])"))
            #expect(try await nodes[0].heartbeat(tokens[0]).body.contains("token error"))
            #expect(try await later.closed(within: .zero) == nil)
        }
    }

    /// Records that the promoted server never had are written again; tokens elsewhere do not notice anything.
    @Test func deathOfAMasterConcernsItsOwnTokensOnly() async throws {
        try await with { group, nodes in
            let feeds = [try await feedServer(group, "node-1"), try await feedServer(group, "node-2")]
            let victim = try #require(
                try await group.masters().first { master in feeds.allSatisfy { $0 !== master } },
                "two feeds are at two servers at most")
            let replica = try #require(try await group.replicas(of: victim).first)
            // From now on it hears nothing of its master.
            try await group.tell(replica, "CONFIG", "SET", "masterauth", "wrong")
            try await group.tell(victim, "CLIENT", "KILL", "TYPE", "REPLICA")
            let tokens = try await tokens(group, nodes[0], count: 24)
            var clients: [Client] = []
            for (index, token) in tokens.enumerated() {
                clients.append(try await nodes[index % 2].connect("lobby", token: token))
            }
            let own = try await records(group, at: victim).intersection(tokens)
            #expect(!own.isEmpty)
            try await group.kill(victim)
            for token in tokens where !own.contains(token) {
                #expect(try await nodes[0].heartbeat(token).status == 200)
            }
            let promoted = try await group.promotion(inPlaceOf: victim)
            #expect(promoted === replica)
            for token in own {
                for node in nodes {
                    try await eventually("the token is known again") {
                        let status = try await node.heartbeat(token).status
                        #expect(status == 200 || status == 503, "never unknown")
                        return status == 200
                    }
                }
            }
            #expect(try await records(group, at: promoted).intersection(tokens) == own)
            for client in clients { #expect(try await client.closed(within: .zero) == nil) }
            try await eventually("all slots can be reached") {
                try await nodes[0].metrics()["roomcast_redis_reachable_slots"] == 16_384
            }
        }
    }

    @Test func deathOfTheFeedsServerIsOneGap() async throws {
        try await with(nodes: 1) { group, nodes in
            let client = try await nodes[0].connect("lobby")
            let server = try #require(try await feedServer(group, "node-1"))
            try await group.kill(server)
            try await eventually("the feed is at another server") {
                try await feedServer(group, "node-1").map { $0 !== server } ?? false
            }
            try await eventually("ready") { try await nodes[0].ready().status == 200 }
            try await publish(group, group.upServers[0], "lobby", "1")
            let next = try await client.nextBesideGaps()
            #expect(next.event == .text("1") && next.gapCount == 1)
            #expect(try await nodes[0].metrics()["roomcast_gaps_total"] == 1)
            #expect(try await client.closed(within: .zero) == nil)
        }
    }

    /// One that has just been started takes PUBLISH, refuses keys for two seconds, and is not linked to the others yet.
    @Test(arguments: ["--data", "--file", "POST"])
    func noticesWaitForAMasterThatHasJustBeenStarted(way: String) async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver)
            let server = try await group.owner(ofKey: "room:lobby")
            let node = try await group.startNode(
                "node-1", environment: ["GATEWAY_ADMIN_KEY": ConsoleBrowser.key])
            try await eventually("the feed is at another server") {
                guard let place = try await feedServer(group, "node-1") else { return false }
                if place === server { try await group.tell(place, "CLIENT", "KILL", "TYPE", "PUBSUB") }
                return place !== server
            }
            let client = try await node.connect("lobby")
            let path = driver.directory.appending(path: "line")
            let line = #"{"room":"lobby","data":1}"#
            try Data((line + "\n").utf8).write(to: path)
            try await group.kill(server)
            try await group.start(server)
            let begin = ContinuousClock.now
            if way == "POST" {
                #expect(try await post(node, "/api/publish", line).status == 200)
            } else {
                let what = way == "--data" ? ["--room", "lobby", "--data", "1"] : ["--file", path.path]
                let completed = try await driver.run(
                    [try Installation.binary("publisher")] + group.connectionOptions + what)
                #expect(completed.code == 0, "\(completed)")
            }
            let state = try await group.tell(server, "CLUSTER", "INFO").string ?? ""
            guard state.contains("cluster_state:ok") else {
                // A server that is starved takes longer than notices wait.
                #expect(ContinuousClock.now - begin >= .seconds(3), "it was published before")
                return
            }
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
        }
    }

    /// Some nodes may hear it, which is better than none.
    @Test func aClusterThatIsDownTakesNoticesAllTheSame() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0, isCoverageRequired: true)
            let node = try await group.startNode("node-1")
            let client = try await node.connect("lobby")
            let server = try await group.owner(ofKey: "room:lobby")
            let other = (try await group.slot(ofKey: "room:lobby") + 1) % ClusterGroup.slotCount
            try #require(try await group.owner(ofSlot: other) === server)
            try await group.tell(server, "CLUSTER", "DELSLOTS", .string("\(other)"))
            let completed = try await driver.run(
                [try Installation.binary("publisher")] + group.connectionOptions
                    + ["--room", "lobby", "--data", "1"])
            #expect(completed.code == 0, "\(completed)")
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            let state = try await group.tell(server, "CLUSTER", "INFO").string ?? ""
            #expect(state.contains("cluster_state:fail"))
        }
    }

    @Test func manyRoomsGoToTheNextServer() async throws {
        try await with(nodes: 1) { group, nodes in
            // 20,000 rooms.
            let clientCount = Installation.isSanitized ? 1_000 : 10_000
            let crowd = try await Crowd(nodes[0], clientCount: clientCount)
            try await crowd.publish(at: group.upServers[0])
            #expect(try await crowd.read() == ["first second": clientCount])
            let server = try #require(try await feedServer(group, "node-1"))
            try await group.kill(server)
            try await eventually("the feed is at another server") {
                try await feedServer(group, "node-1").map { $0 !== server } ?? false
            }
            try await eventually("ready") { try await nodes[0].ready().status == 200 }
            try await crowd.publish(at: group.upServers[0])
            #expect(try await crowd.read() == ["gap first second": clientCount])
            #expect(try await nodes[0].metrics()["roomcast_gaps_total"] == 1)
        }
    }

    /// Masters change places one after another while notices and heartbeats go on.
    @Test func manualFailoverLosesNothing() async throws {
        try await with { group, nodes in
            let tokens = try await tokens(group, nodes[0], count: 12)
            let clients = [
                try await nodes[0].connect("lobby", token: tokens[0]), try await nodes[1].connect("lobby"),
            ]
            let replicas = Array(group.servers[3...])
            let changes = Task {
                for replica in replicas { try await group.failOver(to: replica) }
            }
            var count = 0
            var isOver = false
            while !isOver {
                for server in group.servers {
                    try await publish(group, server, "lobby", "\(count)")
                    count += 1
                }
                for token in tokens { #expect(try await nodes[count % 2].heartbeat(token).status == 200) }
                isOver = try await group.isMaster(replicas[2])
            }
            try await changes.value
            for client in clients {
                // What is published at different servers comes in any order.
                var received: Set<Event> = []
                for _ in 0..<count { received.insert(try await client.next()) }
                #expect(received == Set((0..<count).map { .text("\($0)") }))
            }
            for node in nodes { #expect(try await node.metrics()["roomcast_gaps_total"] == 0) }
        }
    }

    /// Keys move one by one, and are asked for where they are.
    @Test func tokensAreFoundWhileTheirSlotsMove() async throws {
        try await with { group, nodes in
            let tokens = try await tokens(group, nodes[0], count: 20)
            let client = try await nodes[0].connect("lobby", token: tokens[0])
            let masters = try await group.masters()
            func check() async throws {
                for node in nodes {
                    for token in tokens { #expect(try await node.heartbeat(token).status == 200) }
                    #expect(try await node.token().isEmpty == false)
                }
            }
            for token in tokens[..<6] {
                let slot = try await group.slot(ofKey: "client:\(token)")
                let owner = try await group.owner(ofSlot: slot)
                let target = try #require(masters.first { $0 !== owner })
                try await group.move(slot: slot, to: target, keysAtOnce: 1) { _ in try await check() }
            }
            try await check()
            #expect(try await client.closed(within: .zero) == nil)
            for kind in ["ask", "moved"] {
                var count = 0.0
                for node in nodes {
                    count +=
                        try await node.metrics()["roomcast_redis_redirections_total{kind=\"\(kind)\"}"]
                }
                #expect(count > 0, "\(kind) was followed")
            }
        }
    }

    /// It answers everything and brings nothing, and no connection is lost.
    @Test func feedLeavesAServerThatBringsNothing() async throws {
        try await with(options: ["--redis-silence-timeout", "2s"], nodes: 1) { group, nodes in
            let client = try await nodes[0].connect("lobby")
            let server = try #require(try await feedServer(group, "node-1"))
            let other = try #require(try await group.masters().first { $0 !== server })
            try await group.deafen(server)
            try await eventually("the feed is at another server") {
                try await group.subscribed(to: "gateway:node-1").contains { $0 !== server }
            }
            try await eventually("ready") { try await nodes[0].ready().status == 200 }
            try await eventually("notices come") {
                try await publish(group, other, "lobby", "1")
                return try await client.receivedCount() > 1
            }
            let next = try await client.nextBesideGaps()
            #expect(next.event == .text("1") && next.gapCount == 1)
        }
    }

    @Test func feedLeavesAServerThatWasTakenOut() async throws {
        try await with(options: ["--redis-silence-timeout", "2s"], nodes: 1) { group, nodes in
            let client = try await nodes[0].connect("lobby")
            let server = try #require(try await feedServer(group, "node-1"))
            if try await group.isMaster(server) {
                let replica = try #require(try await group.replicas(of: server).first)
                try await group.failOver(to: replica)
            }
            try await group.remove(server)
            try await eventually("the feed is at a server of the cluster") {
                try await feedServer(group, "node-1").map { $0 !== server } ?? false
            }
            try await eventually("ready") { try await nodes[0].ready().status == 200 }
            try await publish(group, group.upServers[0], "lobby", "1")
            let next = try await client.nextBesideGaps()
            #expect(next.event == .text("1") && next.gapCount == 1)
        }
    }

    /// All servers but one hang: that one is in a minority and serves no key. When they go on, all is as before.
    @Test func minorityServesNothingAndRecovers() async throws {
        try await with(nodes: 1, { try await ClusterGroup($0, replicasOfEach: 0) }) { group, nodes in
            let tokens = try await tokens(group, nodes[0], count: 12)
            let client = try await nodes[0].connect("lobby", token: tokens[0])
            try await group.whileDeathIsNoticedSoon {
                for server in group.servers[1...] { try await group.freeze(server) }
                try await eventually("the server knows that it is in a minority") {
                    try await group.tell(group.servers[0], "CLUSTER", "INFO").string?
                        .contains("cluster_state:fail") == true
                }
                try await eventually("not ready") { try await nodes[0].ready().status == 503 }
                for token in tokens { #expect(try await nodes[0].heartbeat(token).status == 503) }
                for server in group.servers[1...] { try await group.thaw(server) }
                try await group.agreement()
            }
            try await eventually("ready") { try await nodes[0].ready().status == 200 }
            for token in tokens {
                try await eventually("the token is known") {
                    let status = try await nodes[0].heartbeat(token).status
                    #expect(status == 200 || status == 503)
                    return status == 200
                }
            }
            #expect(try await client.closed(within: .zero) == nil)
        }
    }

    @Test(arguments: [
        (["--redis", "cluster://127.0.0.1:7000/1"], "no other database"),
        (["--redis", "cluster://127.0.0.1:7000", "--prefix", "{a}:"], "no brace"),
    ])
    func whatAClusterCannotDoIsRefused(options: [String], words: String) async throws {
        try await Driver.with { driver in
            let completed = try await driver.run([try Installation.binary("gateway")] + options)
            #expect(completed.code == 2 && completed.errors.contains(words), "\(completed.errors)")
        }
    }
}
