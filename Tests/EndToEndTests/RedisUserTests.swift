// The users of deploy/redis.conf, on a server started by deploy/redis-start: each can do its work and no
// more.
import Foundation
import Testing

@Suite struct RedisUserTests {
    private static let passwords = [
        "gateway": "gateway-Pa55word", "publisher": "publisher-Pa55word", "operator": "operator-Pa55word",
        "revoker": "revoker-Pa55word", "observer": "observer-Pa55word",
    ]

    /// A cluster that provides the driver only, and the deployed Redis.
    private func withRedis(_ body: (Cluster, RedisServer) async throws -> Void) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            try await body(cluster, try await RedisServer(cluster.driver, passwords: Self.passwords))
        }
    }

    private func url(_ redis: RedisServer, user: String, password: String? = nil) -> String {
        "redis://\(user):\(password ?? Self.passwords[user] ?? "")@127.0.0.1:\(redis.port)"
    }

    /// In the words of Redis 7.0, of later ones and Valkey, or of Redis 6.
    private func isRefusedInAScript(_ reply: JSON) -> Bool {
        let words = ["The user executing the script can't", "ACL failure in script", "-NOPERM"]
        return words.contains { reply["error"].string?.contains($0) == true }
    }

    private func startNode(
        _ cluster: Cluster, _ redis: RedisServer, id: String, password: String? = nil,
        heartbeatTimeout: String = "20s"
    ) async throws -> GatewayNode {
        let url = url(redis, user: "gateway", password: password)
        return try await GatewayNode(
            cluster.driver, id: id, redis: redis,
            options: ["--heartbeat-timeout", heartbeatTimeout, "--unsubscribe-grace", "0s"],
            environment: ["GATEWAY_REDIS_PASSWORD": ""], url: url, awaitReady: password == nil)
    }

    /// What Redis has refused since its start.
    private func denials(_ redis: RedisServer) async throws -> [JSON] {
        try #require(try await redis.command("ACL", "LOG").array)
    }

    @Test func gatewayUserDoesEverythingThatANodeNeeds() async throws {
        try await withRedis { cluster, redis in
            let nodes = [
                try await startNode(cluster, redis, id: "one"),
                try await startNode(cluster, redis, id: "two"),
            ]
            let room = cluster.room()
            let token = try await nodes[0].token()
            #expect(try await nodes[1].heartbeat(token).status == 200)
            let older = try await nodes[0].connect(room, token: token)
            let newer = try await nodes[1].connect(room, token: token)
            #expect(try await older.closed()?.code == 4001)
            try await eventually("the older's node has left the room") {
                try await redis.command("PUBSUB", "NUMSUB", .string("room:\(room)")) == [
                    .string("room:\(room)"), 1,
                ]
            }
            try await redis.publish(room: room, "1")
            #expect(try await newer.next() == .text("1"))
            #expect(try await denials(redis) == [])

            try await redis.stop()
            for node in nodes {
                try await eventually("\(node.id) is not ready") { try await node.ready().status == 503 }
            }
            _ = try await redis.restart()
            for node in nodes {
                try await eventually("\(node.id) is ready again") { try await node.ready().status == 200 }
            }
            try await eventually("the record is written again") {
                try await redis.hash("client:\(token)")["node"] == "two"
            }
            try await eventually("both nodes have reported again") {
                let counts = [
                    try await redis.hash("node:one")["connections"],
                    try await redis.hash("node:two")["connections"],
                ]
                return counts == ["0", "1"]
            }
            #expect(try await nodes[0].heartbeat(token).status == 200)
            try await redis.publish(room: room, "2")
            #expect(try await newer.next() == .text("2"))
            try await redis.command("DEL", .string("client:\(token)"))
            #expect(try await newer.closed()?.code == 4003)
            #expect(try await denials(redis) == [])
            for node in nodes { #expect(try await node.child.exitCode(within: .zero) == nil) }
            try await nodes[0].child.signal(SIGTERM)
            #expect(try await nodes[0].child.exitCode() == 0)
            #expect(try await redis.command("SMEMBERS", "roomcast:nodes") == ["two"])
            #expect(try await redis.command("EXISTS", "node:one") == 0)
            #expect(try await denials(redis) == [])
        }
    }

    /// What it may do with its reports it may not do with tokens, nor with any other key.
    @Test func gatewayUserIsRefusedEverythingElse() async throws {
        try await withRedis { _, redis in
            let refused: [[JSON]] = [
                ["HGETALL", "client:a"], ["SADD", "client:a", "1"], ["SMEMBERS", "client:a"],
                ["HGETALL", "other"],
                ["GET", "node:a"], ["SET", "roomcast:nodes", "1"], ["SMEMBERS", "nodes2"], ["KEYS", "*"],
                ["SCAN", "0"],
                ["SUBSCRIBE", "other"], ["PUBLISH", "roomcast:nodes", "1"], ["CONFIG", "GET", "*"],
                ["FLUSHALL"], ["SET", "room:a", "1"], ["DEL", "room:a"], ["GET", "client:a"],
                ["XADD", "client:a", "*", "a", "1"], ["SET", "epoch2", "1"],
                ["XTRIM", "room:a", "MAXLEN", "0"],
                ["FUNCTION", "FLUSH"], ["FUNCTION", "DELETE", "roomcast1"],
            ]
            for command in refused {
                let reply = try await redis.command(
                    command, user: "gateway", password: Self.passwords["gateway"])
                #expect(reply["error"].string?.hasPrefix("NOPERM") == true, "\(command): \(reply)")
            }
        }
    }

    @Test func publisherUserPublishesAndIsRefusedEverythingElse() async throws {
        try await withRedis { cluster, redis in
            let node = try await startNode(cluster, redis, id: "one")
            let room = cluster.room()
            let client = try await node.connect(room)
            let completed = try await cluster.driver.run([
                try Installation.binary("publisher"), "--redis", url(redis, user: "publisher"), "--room",
                room,
                "--data", "1",
            ])
            #expect(completed.code == 0, "\(completed.errors)")
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            let refused: [[JSON]] = [
                ["GET", "client:a"], ["SET", "client:a", "1"], ["HGETALL", "client:a"], ["DEL", "client:a"],
                ["KEYS", "*"], ["SCAN", "0"], ["SUBSCRIBE", "room:a"], ["SET", "room:a", "1"],
                ["GET", "room:a"], ["DEL", "room:a"], ["XRANGE", "room:a", "-", "+"],
                ["XADD", "client:a", "*", "a", "1"], ["XADD", "once:a", "*", "a", "1"],
                ["FCALL", "roomcast_publish", "1", "client:a", "{}"], ["FUNCTION", "FLUSH"],
                ["FUNCTION", "LOAD", "#!lua name=x"], ["EVAL", "return 1", "1", "client:a"],
                ["XTRIM", "room:a", "MAXLEN", "0"], ["XDEL", "room:a", "1-1"],
                ["PSUBSCRIBE", "*"], ["PUBSUB", "CHANNELS"], ["PUBLISH", "gateway:one", "replaced a 1"],
                ["PUBLISH", "other", "1"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["FLUSHALL"],
                ["SHUTDOWN"],
                ["CLIENT", "LIST"], ["INFO"], ["MONITOR"],
            ]
            for command in refused {
                let reply = try await redis.command(
                    command, user: "publisher", password: Self.passwords["publisher"])
                #expect(reply["error"].string?.hasPrefix("NOPERM") == true, "\(command): \(reply)")
            }
        }
    }

    /// By the function that an operator has loaded, and by the source without it.
    @Test func publisherUserPublishesDurably() async throws {
        try await withRedis { cluster, redis in
            let publisher = try Installation.binary("publisher")
            let room = cluster.room()
            let command = [
                publisher, "--redis", url(redis, user: "publisher"), "--durable", "--once", "k", "--room",
                room,
                "--replicas", "1", "--timeout", "100ms", "--data", "1",
            ]
            for (run, words) in [": 0 nodes, id ", ": already published, id "].enumerated() {
                let completed = try await cluster.driver.run(command)
                #expect(completed.output.hasPrefix(room + words), "\(completed.errors)")
                #expect(completed.errors.contains("only 0 of 1 replicas have it"))
                let library = try await cluster.driver.run([publisher, "library"])
                if run == 0 { try await redis.command("FUNCTION", "LOAD", .string(library.output)) }
            }
            #expect(try await redis.command("XLEN", .string("room:\(room)")) == 1)
            // It asks for the right to load the library, and does without it.
            #expect(
                try await denials(redis).allSatisfy {
                    "\($0)".contains("function|load") || "\($0)".contains("fcall_ro")
                })
            // A script or a function may do no more than its user.
            for call in ["'SET', KEYS[1], '1'", "'DEL', KEYS[1]", "'XTRIM', KEYS[1], 'MAXLEN', '0'"] {
                let reply = try await redis.command(
                    ["EVAL", .string("return redis.call(\(call))"), "1", .string("room:\(room)")],
                    user: "publisher",
                    password: Self.passwords["publisher"])
                #expect(isRefusedInAScript(reply), "\(call): \(reply)")
            }
        }
    }

    /// What a function does in one step stands as one in the file, which Redis replays as its user `default`.
    @Test func durableNoticesOutliveAKilledRedis() async throws {
        try await withRedis { cluster, redis in
            let publisher = try Installation.binary("publisher")
            let library = try await cluster.driver.run([publisher, "library"])
            try await redis.command("FUNCTION", "LOAD", .string(library.output))
            let command = [
                publisher, "--redis", url(redis, user: "publisher"), "--durable", "--once", "k", "--room",
                "a",
                "--data", "1",
            ]
            let first = try await cluster.driver.run(command)
            #expect(first.code == 0, "\(first.errors)")
            let entries = try await redis.command("XRANGE", "room:a", "-", "+")
            #expect(entries.array?.count == 1)
            // While the disk is busy with an fsync, Redis answers before it writes.
            try await eventually("the file is written") {
                try await redis.command("INFO", "persistence").string?.contains("\naof_buffer_length:0\r")
                    == true
            }
            try await redis.stop()
            _ = try await redis.restart()
            #expect(try await redis.command("XRANGE", "room:a", "-", "+") == entries)
            let again = try await cluster.driver.run(command)
            #expect(again.output == first.output.replacing(": 0 nodes,", with: ": already published,"))
            let denied = try await denials(redis)
            #expect(denied == [], "\(denied)")
            // And yet nobody is let in as `default`.
            for password in [nil, "", "default"] {
                let reply = try await redis.command(["PING"], user: "default", password: password)
                #expect(
                    reply["error"].string?.contains("WRONGPASS") == true
                        || reply["error"].string?.hasPrefix("NOAUTH") == true, "\(reply)")
            }
        }
    }

    @Test func revokerUserRevokesAndIsRefusedEverythingElse() async throws {
        try await withRedis { cluster, redis in
            let node = try await startNode(cluster, redis, id: "one")
            let room = cluster.room()
            for index in 0..<2 {
                let token = try await node.token(userId: "ada")
                let client = try await node.connect(room, token: token)
                let whom = index == 0 ? ["--token=\(token)"] : ["--user", "ada"]
                let command = [
                    try Installation.binary("publisher"), "revoke", "--redis", url(redis, user: "revoker"),
                ]
                let completed = try await cluster.driver.run(command + whom)
                #expect(completed.code == 0, "\(completed.errors)")
                #expect(completed.output.hasSuffix("revoked 1 token, 1 connected\n"))
                #expect(try await client.closed()?.code == 4003)
            }
            #expect(try await denials(redis) == [])
            let refused: [[JSON]] = [
                ["PUBLISH", .string("room:\(room)"), "1"], ["PUBLISH", "other", "1"],
                ["HSET", "client:a", "userId", "b"],
                ["HGETALL", "client:a"], ["HGET", "other", "userId"], ["DEL", "other"], ["KEYS", "*"],
                ["FLUSHALL"],
                ["EXPIRE", "client:a", "9"], ["SUBSCRIBE", "gateway:one"], ["SCRIPT", "LOAD", "return 1"],
                ["PUBSUB", "CHANNELS"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["SHUTDOWN"], ["MONITOR"],
            ]
            for command in refused {
                let reply = try await redis.command(
                    command, user: "revoker", password: Self.passwords["revoker"])
                #expect(reply["error"].string?.hasPrefix("NOPERM") == true, "\(command): \(reply)")
            }
            // A script may not do more than its user.
            for call in [
                "'HGETALL', 'client:a'", "'GET', 'other'", "'PUBLISH', 'room:\(room)', '1'", "'FLUSHALL'",
            ] {
                let reply = try await redis.command(
                    ["EVAL", .string("return redis.call(\(call))"), "0"], user: "revoker",
                    password: Self.passwords["revoker"])
                #expect(isRefusedInAScript(reply), "\(call): \(reply)")
            }
        }
    }

    @Test func observerUserLooksAndIsRefusedEverythingElse() async throws {
        try await withRedis { cluster, redis in
            let node = try await startNode(cluster, redis, id: "one", heartbeatTimeout: "60s")
            let room = cluster.room()
            let token = try await node.token()
            let client = try await node.connect(room, token: token)
            try await eventually("it has reported") {
                try await redis.command("SCARD", "roomcast:nodes") == 1
            }
            func publisher(_ arguments: String...) throws -> [String] {
                [try Installation.binary("publisher")] + arguments + [
                    "--redis", url(redis, user: "observer"),
                ]
            }
            let nodes = try await cluster.driver.run(try publisher("nodes"))
            #expect(nodes.code == 0 && nodes.output.contains("\none  "), "\(nodes.errors)")
            try await redis.command("XADD", .string("room:\(room)"), "5-1", "d", "{}")
            let rooms = try await cluster.driver.run(try publisher("rooms"))
            #expect(rooms.code == 0 && rooms.output.contains("\n\(room) "), "\(rooms.errors)")
            #expect(rooms.output.contains("HISTORY") && rooms.errors.isEmpty, "\(rooms.errors)")
            let watch = try await Child(
                cluster.driver, name: "watch", try publisher("watch", "--room", room, "--count", "1"))
            try await eventually("node and observer listen") {
                try await redis.publish(room: room, "1") == 2
            }
            #expect(try await watch.exitCode() == 0)
            let top = try await Child(cluster.driver, name: "top", try publisher("top"))
            try await eventually("a line") { top.output.contains("1 node, 1 ready") }
            try await top.signal(SIGTERM)
            #expect(try await denials(redis) == [])
            let refused: [[JSON]] = [
                ["HGETALL", .string("client:\(token)")], ["HGETALL", "other"], ["SMEMBERS", "other"],
                ["KEYS", "*"],
                ["SCAN", "0"], ["DEL", "roomcast:nodes"], ["HSET", "node:one", "uptime", "1"],
                ["SADD", "roomcast:nodes", "x"],
                ["PUBLISH", .string("room:\(room)"), "1"], ["PUBLISH", "other", "1"],
                ["SUBSCRIBE", "gateway:one"],
                ["PSUBSCRIBE", "*"], ["PSUBSCRIBE", "gateway:*"], ["SUBSCRIBE", "other"],
                ["PUBSUB", "CHANNELS"],
                ["EVAL", "return 1", "0"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["SHUTDOWN"],
                ["MONITOR"],
                ["INFO"], ["EXPIRE", "node:one", "1"],
            ]
            for command in refused {
                let reply = try await redis.command(
                    command, user: "observer", password: Self.passwords["observer"])
                #expect(reply["error"].string?.hasPrefix("NOPERM") == true, "\(command): \(reply)")
            }
            _ = client
        }
    }

    /// Without a password in the environment nobody is observer, with whatever password.
    @Test func nobodyIsObserverWithoutAPassword() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            var passwords = Self.passwords
            passwords["observer"] = nil
            let redis = try await RedisServer(cluster.driver, passwords: passwords)
            for password in ["observer", Self.passwords["observer"]] {
                let reply = try await redis.command(["PING"], user: "observer", password: password)
                #expect(reply["error"].string?.hasPrefix("NOAUTH") == true, "\(reply)")
            }
        }
    }

    /// Who sends notices is not who ends tokens: the publisher's user cannot even see them.
    @Test func publisherUserCannotRevoke() async throws {
        try await withRedis { cluster, redis in
            let node = try await startNode(cluster, redis, id: "one")
            let token = try await node.token(userId: "ada")
            for whom in [["--token=\(token)"], ["--user", "ada"]] {
                let command =
                    [
                        try Installation.binary("publisher"), "revoke", "--redis",
                        url(redis, user: "publisher"),
                    ] + whom
                let completed = try await cluster.driver.run(command)
                #expect(completed.code == 1)
                #expect(completed.errors.contains("NOPERM"))
            }
            #expect(try await node.heartbeat(token).status == 200)
        }
    }

    /// Who may log in and not publish is told so; nothing is said of a password.
    @Test func publisherOfTheWrongUserIsOneClearError() async throws {
        try await withRedis { cluster, redis in
            let made = try await redis.command(
                "ACL", "SETUSER", "reader", "on", ">reader-Pa55word", "allchannels", "+ping")
            #expect(made == "OK")
            for (user, password, options, expected) in [
                ("reader", "reader-Pa55word", [String](), "NOPERM"),
                ("publisher", nil, ["--prefix", "elsewhere:"], "NOPERM"),
                ("publisher", "wrong-Pa55word", [], "WRONGPASS"),
                ("nobody", "any-Pa55word", [], "WRONGPASS"),
            ] {
                let completed = try await cluster.driver.run(
                    [
                        try Installation.binary("publisher"), "--redis",
                        url(redis, user: user, password: password), "--room", "a", "--data", "1",
                    ] + options)
                #expect(completed.code == 1, "\(user)")
                #expect(completed.errors.contains(expected), "\(user): \(completed.errors)")
                #expect(completed.output.isEmpty)
                #expect(!completed.errors.contains("Pa55word"))
            }
        }
    }

    /// However often its three connections try: one line for all of them.
    @Test func nodeOfTheWrongPasswordSaysSoOnce() async throws {
        try await withRedis { cluster, redis in
            let node = try await startNode(cluster, redis, id: "locked-out", password: "wrong-Pa55word")
            try await eventually("each connection has been refused several times") {
                let log = try await redis.command("ACL", "LOG").array ?? []
                let counts = log.compactMap { $0.array?[1].int }
                return counts.reduce(0, +) >= 12
            }
            let lines = node.child.errorOutput.split(separator: "\n").filter { $0.contains("WRONGPASS") }
            #expect(lines.count == 1)
            #expect(try await node.ready().status == 503)
            #expect(!node.child.errorOutput.contains("Pa55word"))
        }
    }
}
