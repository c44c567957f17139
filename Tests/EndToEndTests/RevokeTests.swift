// `publisher revoke`: tokens end, and with them their connections, at once and on whichever node.
import Foundation
import Testing

/// No heartbeat is due: what is closed was closed because the node was told.
@Suite(.cluster(nodes: 2))
struct RevokeTests {
    private func revoke(_ arguments: String..., environment: [String: String] = [:]) async throws
        -> Completed
    {
        let cluster = try Cluster.current
        let command =
            [try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url] + arguments
        return try await cluster.driver.run(command, environment: environment)
    }

    private func exists(_ token: String) async throws -> Bool {
        // A tombstone is no hash.
        try await Cluster.current.redis.command("TYPE", .string("client:\(token)")) == "hash"
    }

    @Test(arguments: [0, 1])
    func connectionOfARevokedTokenIsClosedAtOnce(index: Int) async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let (gone, kept) = (try await cluster.node.token(), try await cluster.node.token())
        let client = try await cluster.nodes[index].connect(room, token: gone)
        let other = try await cluster.nodes[index].connect(room, token: kept)
        let completed = try await revoke("--token=\(gone)")
        #expect(completed.code == 0, "\(completed.errors)")
        let told = "\(gone.prefix(4))…: connected to node-\(index + 1)\nrevoked 1 token, 1 connected\n"
        #expect(completed.output == told)
        #expect(try await client.closed()?.code == 4003)
        #expect(try await !exists(gone))
        for node in cluster.nodes {
            let answer = try await node.heartbeat(gone)
            #expect(answer.status == 500)
            #expect(answer.data == "token error")
            let refused = try await node.get("/ws?token=\(gone)&roomIds=a", headers: handshakeHeaders())
            #expect(refused.data == "Token error")
        }
        try await cluster.redis.publish(room: room, "1")
        #expect(try await other.next() == .text("1"))
        #expect(try await client.next() == .closed(4003))
        #expect(try await exists(kept))
    }

    @Test func tokensOfAUserEndOnAllNodes() async throws {
        let cluster = try Cluster.current
        let user = cluster.room("user é *")
        var (clients, tokens): ([Client], [String]) = ([], [])
        for index in 0..<4 {
            tokens.append(try await cluster.nodes[index % 2].token(userId: user))
            clients.append(try await cluster.nodes[index % 2].connect(cluster.room(), token: tokens[index]))
        }
        let unconnected = try await cluster.node.token(userId: user)
        let others = [try await cluster.node.token(userId: user + "x"), try await cluster.node.token()]
        let device = try #require(
            try await cluster.node.get("/get/token?isLogin=false&deviceId=\(user.percentEncoded)").data)
        let completed = try await revoke("--user", user)
        #expect(completed.code == 0, "\(completed.errors)")
        #expect(completed.output.hasSuffix("revoked 5 tokens, 4 connected\n"))
        #expect(completed.output.contains("\(unconnected.prefix(4))…: not connected\n"))
        for client in clients { #expect(try await client.closed()?.code == 4003) }
        for token in tokens + [unconnected] { #expect(try await !exists(token)) }
        for token in others + [device] { #expect(try await exists(token)) }
        let byDevice = try await revoke("--device", user, "--json")
        #expect(byDevice.code == 0)
        let result = try #require(JSON(parsing: byDevice.output))
        #expect(result["tokens"] == 1 && result["connections"] == 0 && result["ending"] == "complete")
        #expect((result["records"].int ?? 0) >= 3)
        #expect(try await !exists(device))
    }

    @Test func noneIsNoFailure() async throws {
        let token = try await Cluster.current.node.token(userId: "somebody else")
        let unknown = try await revoke("--token", String(repeating: "A", count: 24))
        #expect(unknown.code == 0)
        #expect(unknown.output.hasPrefix("no such token"))
        let nobody = try await revoke("--user", "nobody at all")
        #expect(nobody.code == 0)
        #expect(nobody.output.wholeMatch(of: /no token found in \d+ records?\n/) != nil, "\(nobody.output)")
        let quiet = try await revoke("--user", "nobody at all", "--quiet")
        #expect(quiet.code == 0 && quiet.output.isEmpty && quiet.errors.isEmpty)
        #expect(try await exists(token))
    }

    @Test func recordWhoseNodeIsGoneCountsAsNotConnected() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        try await cluster.redis.command(
            "HSET", .string("client:\(token)"), "node", "gone", "connection", "1")
        let completed = try await revoke("--token=\(token)")
        #expect(completed.output == "\(token.prefix(4))…: not connected\nrevoked 1 token, 0 connected\n")
        #expect(try await !exists(token))
    }

    @Test func wrongUsageIsOneLineAndRevokesNothing() async throws {
        let token = try await Cluster.current.node.token()
        let usages: [([String], String)] = [
            ([], "--token"), (["--token", "short"], "--token"),
            (["--token=\(token)", "--user", "a"], "--user"),
            (["--user", ""], "--user"), (["--device", "a\u{7}"], "--device"), (["--room", "a"], "--room"),
            (["--timeout", "5", "--user", "a"], "--timeout"), ([token], "unexpected argument"),
            (["--user", "a", token], "unexpected argument"),
        ]
        for (arguments, named) in usages {
            let completed = try await Cluster.current.driver.run(
                [try Installation.binary("publisher"), "revoke"] + arguments)
            #expect(completed.code == 2, "\(arguments)")
            #expect(completed.output.isEmpty)
            #expect(completed.errors.contains(named), "\(completed.errors)")
            #expect(!completed.errors.contains(token))
            #expect(completed.errors.split(separator: "\n").count == 1)
        }
        #expect(try await exists(token))
    }

    @Test func missingRedisIsTold() async throws {
        let cluster = try Cluster.current
        let port = try await cluster.driver.freePort()
        let command = [
            try Installation.binary("publisher"), "revoke", "--user", "a", "--redis",
            "redis://127.0.0.1:\(port)",
        ]
        let completed = try await cluster.driver.run(command)
        #expect(completed.code == 1)
        #expect(completed.errors.contains("\(port)") && completed.errors.contains("nothing was revoked"))
        #expect(completed.output.isEmpty)
    }

    @Test func helpGoesToStandardOutput() async throws {
        let help = try await revoke("--help")
        #expect(help.code == 0 && help.errors.isEmpty)
        for text in ["publisher revoke", "--token", "PUBLISHER_USER", "--prefix", "4003"] {
            #expect(help.output.contains(text), "\(text)")
        }
        #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    /// Where several installations share a Redis, a revocation stays in its own, also where a prefix is a
    /// glob.
    @Test func prefixKeepsInstallationsApart() async throws {
        try await Cluster.with(optionsOfNode: { _ in ["--prefix", "a*[b]:"] }) { cluster in
            let token = try await cluster.node.token(userId: "ada")
            let client = try await cluster.node.connect("room", token: token)
            let other = "ab:client:\(String(repeating: "A", count: 24))"
            try await cluster.redis.command("HSET", .string(other), "userId", "ada")
            let command = [
                try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url, "--user",
                "ada",
            ]
            let without = try await cluster.driver.run(command)
            #expect(without.output == "no token found in 0 records\n")
            let within = try await cluster.driver.run(command + ["--prefix", "a*[b]:"])
            #expect(
                within.output.hasSuffix("revoked 1 token, 1 connected\n"), "\(within.output)\(within.errors)"
            )
            #expect(try await client.closed()?.code == 4003)
            #expect(try await cluster.redis.command("EXISTS", .string(other)) == 1)
        }
    }
}
