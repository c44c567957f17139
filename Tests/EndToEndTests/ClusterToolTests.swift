// The publisher's commands on a Redis Cluster of real servers.
import Foundation
import Testing

@Suite(
    .serialized,
    .enabled(if: ServerUnderTest.hasFunctions, "a port of its own for the bus came with Redis 7"))
struct ClusterToolTests {
    private func with(
        replicasOfEach: Int = 1, password: String? = nil, isSecured: Bool = false,
        _ body: (ClusterGroup) async throws -> Void
    ) async throws {
        try await Driver.with { driver in
            try await body(
                try await ClusterGroup(
                    driver, replicasOfEach: replicasOfEach, password: password, isSecured: isSecured))
        }
    }

    private func publisher(
        _ group: ClusterGroup, _ arguments: String..., environment: [String: String] = [:]
    ) async throws -> Completed {
        let isCommand = ["revoke", "nodes", "rooms"].contains(arguments[0])
        return try await group.driver.run(
            [try Installation.binary("publisher")] + arguments.prefix(isCommand ? 1 : 0)
                + group.connectionOptions + arguments.dropFirst(isCommand ? 1 : 0),
            environment: environment)
    }

    /// `publisher watch` at one server, once it listens.
    private func watch(
        _ group: ClusterGroup, at server: RedisServer, _ room: String, options: [String] = []
    ) async throws -> Child {
        let child = try await Child(
            group.driver, name: "watch-\(room)-\(server.port)",
            [
                try Installation.binary("publisher"), "watch", "--redis", group.url(seeds: [server]),
                "--room", room, "--json",
            ] + server.authorityOptions + options)
        try await eventually("it listens") {
            try await group.tell(server, "PUBSUB", "NUMSUB", .string("room:\(room)"))[1].int == 1
        }
        return child
    }

    /// What a watch has seen: `n` of each notice.
    private func numbers(_ child: Child) -> [Int] { child.output.split(separator: "\n").compactMap(number) }

    /// Not by parsing JSON in JSON: some are a hundred thousand.
    private func number(_ line: Substring) -> Int? {
        guard let name = line.range(of: #"\"n\":"#) else { return nil }
        return Int(line[name.upperBound...].prefix(while: \.isNumber))
    }

    private func file(_ group: ClusterGroup, _ name: String, _ lines: some Sequence<String>) throws -> String
    {
        let file = group.driver.directory.appending(path: name)
        try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: file)
        return file.path
    }

    // MARK: Publishing

    @Test func noticeReachesEveryServerAndTheNodesAreNotCounted() async throws {
        try await with { group in
            let watches = try await [
                watch(group, at: group.servers[0], "a", options: ["--count", "2"]),
                watch(group, at: group.servers[5], "a", options: ["--count", "2"]),
            ]
            let text = try await publisher(
                group, "--room", "a", "--room", "b", "--room", "c", "--data", #"{"n":1}"#)
            #expect(text.code == 0 && text.output == "a: published\nb: published\nc: published\n", "\(text)")
            let json = try await publisher(group, "--room", "a", "--data", #"{"n":2}"#, "--json")
            #expect(json.code == 0 && json.output == #"{"room":"a","nodes":null}"# + "\n", "\(json)")
            for watch in watches {
                #expect(try await watch.exitCode() == 0)
                #expect(numbers(watch) == [1, 2])
            }
        }
    }

    @Test func prefixWithABraceIsWrongUsage() async throws {
        try await with(replicasOfEach: 0) { group in
            let completed = try await publisher(
                group, "--room", "a", "--data", "1", "--prefix", "{x}:")
            #expect(completed.code == 2 && completed.output.isEmpty)
            #expect(completed.errors.hasPrefix("publisher: --prefix: expected no brace with a URL"))
        }
    }

    @Test func everyServerThatIsAwayIsNamed() async throws {
        try await Driver.with { driver in
            let ports = [try await driver.freePort(), try await driver.freePort()]
            let hosts = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
            let binary = try Installation.binary("publisher")
            for command in [
                ["nodes"], ["rooms"], ["top"], ["revoke", "--user", "u"], ["--room", "a", "--data", "1"],
            ] {
                let completed = try await driver.run(
                    [binary] + command + ["--redis", "cluster://\(hosts)", "--timeout", "2s"])
                #expect(completed.code == 1 && completed.output.isEmpty, "\(command)")
                #expect(
                    ports.allSatisfy { completed.errors.contains("127.0.0.1:\($0): Connection refused") })
                let lines = completed.errors.split(separator: "\n")
                #expect(
                    lines.first?.hasPrefix("publisher: cannot reach Redis at cluster://\(hosts): ") == true,
                    "\(completed.errors)")
            }
        }
    }

    @Test func securedClusterWithAPassword() async throws {
        try await with(replicasOfEach: 0, password: "hunter2", isSecured: true) { group in
            let environment = ["PUBLISHER_REDIS_PASSWORD": "hunter2"]
            for room in ["a", "b", "c", "d"] {
                let completed = try await publisher(
                    group, "--durable", "--room", room, "--data", "1", environment: environment)
                #expect(completed.code == 0, "\(completed.errors)")
            }
            let wrong = try await publisher(
                group, "--room", "a", "--data", "1", environment: ["PUBLISHER_REDIS_PASSWORD": "no"])
            #expect(wrong.code == 1 && wrong.errors.contains("WRONGPASS"), "\(wrong.errors)")
        }
    }

    @Test func linesOfAFileKeepTheirOrder() async throws {
        try await with { group in
            let rooms = ["a", "b", "c"]
            var watches: [Child] = []
            for (room, server) in zip(rooms, group.servers[3...]) {
                watches.append(try await watch(group, at: server, room, options: ["--count", "2000"]))
            }
            let path = try file(
                group, "lines",
                (0..<6_000).map { #"{"room":"\#(rooms[$0 % 3])","data":{"n":\#($0)}}"# })
            let completed = try await publisher(group, "--file", path, "--json")
            let result = try #require(JSON(parsing: completed.output))
            #expect(completed.code == 0 && result["sent"] == 6_000 && result["receivers"] == .null)
            for (index, watch) in watches.enumerated() {
                #expect(try await watch.exitCode() == 0)
                #expect(numbers(watch) == Array(stride(from: index, to: 6_000, by: 3)))
            }
            // What is published at two servers comes in any order, if only now and then.
            var counts: [Int] = []
            for server in group.servers { counts.append(try await group.publishCount(server)) }
            #expect(counts.sorted() == [0, 0, 0, 0, 0, 6_000])
        }
    }

    /// Which master a call publishes at is its own business: its number of PUBLISH says so.
    private func publishingMaster(_ group: ClusterGroup, moreThan count: Int) async throws -> RedisServer {
        var found: RedisServer?
        try await eventually("a master is published at") {
            for server in group.upServers where try await group.publishCount(server) > count {
                found = server
            }
            return found != nil
        }
        return try #require(found)
    }

    @Test func fileOverTheKillOfItsMasterSaysWhereToGoOn() async throws {
        try await with { group in
            let count = 100_000
            let path = try file(group, "file", (0..<count).map { #"{"room":"a","data":{"n":\#($0)}}"# })
            var watches: [Child] = []
            for server in group.servers[..<2] { watches.append(try await watch(group, at: server, "a")) }
            let call = try await Child(
                group.driver, name: "publisher",
                [try Installation.binary("publisher")] + group.connectionOptions
                    + ["--file", path, "--rate", "10000", "--quiet"])
            let master = try await publishingMaster(group, moreThan: 5_000)
            try await group.kill(master)
            #expect(try await call.exitCode() == 1)
            let errors = call.errorOutput
            #expect(errors.contains("publisher: lost Redis: 127.0.0.1:\(master.port): "), "\(errors)")
            let match = try #require(
                errors.firstMatch(
                    of: #/failed: nothing after line (\d+) of .* was sent; go on with --from-line (\d+)/#))
            let (last, next) = (try #require(Int(match.1)), try #require(Int(match.2)))
            #expect(last > 5_000 && last < count && next == last + 1)
            let rest = try await publisher(group, "--file", path, "--from-line", "\(next)", "--json")
            #expect(rest.code == 0, "\(rest.errors)")
            let watch = try #require(zip(watches, group.servers).first { $0.1 !== master }).0
            try await eventually("everything is heard") {
                watch.output.split(separator: "\n").last.flatMap(number) == count - 1
            }
            let heard = numbers(watch)
            #expect(heard == heard.sorted() && Set(heard).count == heard.count)
            // One that was not at the killed server misses the last of what that took, and nothing in between. Line
            // numbers begin with 1.
            let missing = Set(0..<count).subtracting(heard).sorted()
            #expect(missing == Array(last - missing.count..<last), "\(missing.count) are missing")
        }
    }

    @Test func durableNoticesHaveTheirIdsAndTheNodesAreNotCounted() async throws {
        try await with(replicasOfEach: 0) { group in
            let rooms = (0..<6).map { "room-\($0)" }
            for room in rooms {
                let text = try await publisher(
                    group, "--durable", "--once", "k", "--room", room, "--data", "1")
                #expect(
                    text.code == 0
                        && text.output.wholeMatch(of: #/room-\d: published, id \d+-1\n/#) != nil, "\(text)")
                let again = try await publisher(
                    group, "--durable", "--once", "k", "--room", room, "--data", "1", "--json")
                let result = try #require(JSON(parsing: again.output))
                #expect(result["nodes"] == .null && result["known"] == true && result["id"].string != nil)
                let owner = try await group.owner(ofKey: "room:\(room)")
                #expect(try await group.tell(owner, "XLEN", .string("room:\(room)")) == 1)
            }
        }
    }

    /// What no replica had when its master was killed is sent again to the one that takes its place.
    @Test func durableFileOverTheKillOfAMasterIsStoredOnceAndInOrder() async throws {
        try await with(replicasOfEach: 2) { group in
            let rooms = (0..<12).map { "room-\($0)" }
            let count = 6_000
            let path = try file(
                group, "file",
                (0..<count).map { #"{"room":"\#(rooms[$0 % rooms.count])","data":{"n":\#($0)}}"# })
            let call = try await Child(
                group.driver, name: "publisher",
                [try Installation.binary("publisher")] + group.connectionOptions
                    + [
                        "--durable", "--replicas", "1", "--history-limit", "100000", "--file", path,
                        "--rate",
                        "1500", "--timeout", "4m", "--json",
                    ])
            let owner = try await group.owner(ofKey: "room:\(rooms[0])")
            try await eventually("it publishes") {
                try await group.tell(owner, "XLEN", .string("room:\(rooms[0])")).int ?? 0 > 50
            }
            try await group.kill(owner)
            try await group.promotion(inPlaceOf: owner)
            #expect(try await call.exitCode() == 0, "\(call.errorOutput)")
            let result = try #require(JSON(parsing: call.output))
            #expect(result["sent"].int == count && result["errors"] == 0, "\(result)")
            for (index, room) in rooms.enumerated() {
                let master = try await group.owner(ofKey: "room:\(room)")
                let entries = try await group.tell(master, "XRANGE", .string("room:\(room)"), "-", "+")
                let found = (entries.array ?? []).compactMap {
                    JSON(parsing: $0[1][1].string ?? "")?["data"]["n"].int
                }
                #expect(found == Array(stride(from: index, to: count, by: rooms.count)))
            }
        }
    }

    // MARK: Revocation

    private func token(_ number: Int) -> String {
        let text = "\(number)"
        return "T" + String(repeating: "0", count: 23 - text.count) + text
    }

    private func key(_ token: String) -> String { "client:\(token)" }

    /// As a gateway writes it.
    private func makeRecord(
        _ group: ClusterGroup, _ token: String, user: String, node: String? = nil
    ) async throws {
        let owner = try await group.owner(ofKey: key(token))
        let fields: [JSON] =
            ["userId", .string(user), "isLogin", "true", "issuedAt", "1795969278590", "ttl", "60"]
            + (node.map { ["node", .string($0)] } ?? [])
        let reply = try await owner.command(
            ["HSET", .string(key(token))] + fields, user: nil, password: group.password)
        #expect(reply.int != nil)
    }

    private func type(_ group: ClusterGroup, _ token: String) async throws -> JSON {
        try await group.tell(group.owner(ofKey: key(token)), "TYPE", .string(key(token)))
    }

    @Test func tokensOfAUserEndAtEveryMasterAndTheirNodesAreTold() async throws {
        try await with(replicasOfEach: 0) { group in
            // One node runs, whatever is subscribed where; the other does not.
            let report = try await group.owner(ofKey: "node:n1")
            try await group.tell(report, "HSET", "node:n1", "uptime", "1")
            for number in 0..<60 {
                try await makeRecord(
                    group, token(number), user: number % 2 == 0 ? "u" : "other",
                    node: number % 3 == 0 ? nil : number % 3 == 1 ? "n1" : "n2")
            }
            async let told = group.driver.call(
                "redis_collect",
                [
                    "port": .number(Double(group.servers[2].port)), "subscribe": "gateway:n1",
                    "publish": "unused", "text": "", "prefix": "revoked ", "count": 10,
                    "timeout": .number(Duration.patience.seconds),
                ])
            try await eventually("the subscription") {
                try await group.tell(group.servers[2], "PUBSUB", "NUMSUB", "gateway:n1")[1].int == 1
            }
            let completed = try await publisher(group, "revoke", "--user", "u")
            #expect(completed.code == 0, "\(completed.errors)")
            #expect(completed.output.hasSuffix("revoked 30 tokens, 10 connected\n"), "\(completed.output)")
            #expect(completed.output.contains("T000…: connected to n1\n"))
            for number in 0..<60 {
                #expect(try await type(group, token(number)) == (number % 2 == 0 ? "string" : "hash"))
            }
            let expected = Set(stride(from: 4, to: 60, by: 6).map { "revoked \(token($0))" })
            #expect(Set(try await told.array?.compactMap(\.string) ?? []) == expected)
            let json = try await publisher(group, "revoke", "--user", "u", "--json")
            let result = try #require(JSON(parsing: json.output))
            #expect(result["ending"] == "complete" && result["tokens"] == 0 && result["records"] == 30)
        }
    }

    @Test func oneTokenEndsWhereverItIs() async throws {
        try await with(replicasOfEach: 0) { group in
            try await group.tell(group.owner(ofKey: "node:n1"), "HSET", "node:n1", "uptime", "1")
            for number in 0..<9 {
                try await makeRecord(group, token(number), user: "u", node: number % 2 == 0 ? "n1" : "n2")
                let completed = try await publisher(group, "revoke", "--token", token(number))
                #expect(completed.code == 0, "\(completed.errors)")
                let (text, count) = number % 2 == 0 ? ("connected to n1", 1) : ("not connected", 0)
                #expect(completed.output == "T000…: \(text)\nrevoked 1 token, \(count) connected\n")
                #expect(try await type(group, token(number)) == "string")
            }
            let unknown = try await publisher(group, "revoke", "--token", token(99))
            #expect(unknown.code == 0 && unknown.output.hasPrefix("no such token"))
        }
    }

    @Test func slotThatMovesHidesNoToken() async throws {
        try await with(replicasOfEach: 0) { group in
            for (number, step) in ["opened", "moved", "taken"].enumerated() {
                let token = token(number)
                try await makeRecord(group, token, user: "u")
                let slot = try await group.slot(ofKey: key(token))
                let source = try await group.owner(ofSlot: slot)
                let target = try #require(group.servers.first { $0 !== source })
                try await group.move(slot: slot, to: target) { reached in
                    let name =
                        switch reached {
                        case .opened: "opened"
                        case .moved: "moved"
                        case .taken: "taken"
                        }
                    guard name == step else { return }
                    let completed = try await publisher(group, "revoke", "--user", "u")
                    #expect(completed.code == 0, "\(step): \(completed.errors)")
                    #expect(completed.output.contains("revoked 1 token, "), "\(step): \(completed.output)")
                }
                try await group.agreement()
                #expect(try await type(group, token) == "string", "\(step)")
            }
        }
    }

    /// A record goes from a master that the walk has not come to, to one where it has been.
    @Test func walkBeginsAgainWhenSlotsHaveMoved() async throws {
        try await with(replicasOfEach: 0) { group in
            for server in group.servers {
                try await group.tell(server, "DEBUG", "POPULATE", "300000", .string("filler-\(server.port)"))
            }
            let tokens = (0..<30).map(token)
            var hidden: String?
            for token in tokens {
                try await makeRecord(group, token, user: "u")
                if try await group.owner(ofKey: key(token)) === group.servers[2] { hidden = token }
            }
            let call = try await Child(
                group.driver, name: "revoke",
                [try Installation.binary("publisher"), "revoke", "--user", "u", "--json"]
                    + group.connectionOptions)
            try await eventually("the walk has left the first master") {
                try await group.tell(group.servers[1], "INFO", "commandstats").string?
                    .contains("cmdstat_scan:") == true
            }
            try await group.move(
                slot: group.slot(ofKey: key(#require(hidden))), to: group.servers[0], keysAtOnce: 1_000)
            #expect(try await call.exitCode() == 0, "\(call.errorOutput)")
            #expect(JSON(parsing: call.output)?["tokens"] == 30, "\(call.output)")
            for token in tokens { #expect(try await type(group, token) == "string") }
        }
    }

    // MARK: Watching

    @Test func watchGoesToAnotherServerWhenItsOwnIsKilled() async throws {
        try await with { group in
            let child = try await watch(group, at: group.servers[0], "a")
            try await group.kill(group.servers[0])
            var number = 0
            try await eventually("notices are seen again") {
                number += 1
                let reply = try await group.tell(
                    group.servers[1], "PUBLISH", "room:a", .string(#"{"data":{"n":\#(number)}}"#))
                return reply.int != nil && !numbers(child).isEmpty
            }
            try await child.signal(SIGINT)
            #expect(try await child.exitCode() == 130)
            #expect(child.output.contains(#""gap":"#) && child.errorOutput.hasSuffix(" 1 gap\n"))
        }
    }
}
