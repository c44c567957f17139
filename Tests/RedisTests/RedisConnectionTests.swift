import EventLoop
import Glibc
import TestSupport
import Testing

@testable import Redis

/// A connection under test, and what it has reported.
private final class Rig {
    let connection: RedisConnection
    let scenario: Scenario
    var servers: [RedisConnection.Server] = []
    var reasons: [String] = []
    var replies: [String] = []

    init(_ url: RedisURL, timeout: Duration = .seconds(5), silenceTimeout: Duration = .seconds(30)) throws {
        scenario = try Scenario()
        connection = RedisConnection(
            url: url, clientName: "rig", timeout: timeout, silenceTimeout: silenceTimeout,
            loop: scenario.loop)
        connection.onUp = { [unowned self] in self.servers.append($0) }
        connection.onDown = { [unowned self] in self.reasons.append($0) }
    }

    deinit { connection.stop() }

    /// Sends a command whose outcome is added to `replies` as text.
    func send(_ arguments: String..., mayWait: Bool = false) {
        let command = RedisCommand(arguments.map { [UInt8]($0) })
        connection.send(command, mayWait: mayWait) { [unowned self] result in
            self.replies.append(result.words)
        }
    }

    func start() {
        scenario.step("the connection is up", until: { [unowned self] in self.servers.count == 1 }) {
            [unowned self] in self.connection.start()
        }
    }

    /// Waits until there are so many replies.
    func await(_ count: Int, _ action: @escaping () throws -> Void = {}) {
        scenario.step("\(count) replies", until: { [unowned self] in self.replies.count >= count }, action)
    }
}

@Suite(.serialized) struct RedisConnectionTests {
    @Test func repliesComeInTheOrderOfTheCommands() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.await(1_000) {
            for number in 0..<500 { rig.send("ECHO", "\(number)") }
            // Sent by a reply: behind all that were sent before.
            rig.connection.send(RedisCommand([[UInt8]("PING")])) { _ in
                for number in 500..<1_000 { rig.send("ECHO", "\(number)") }
            }
        }
        try rig.scenario.run()
        #expect(rig.replies == (0..<1_000).map(String.init))
        #expect(rig.reasons.isEmpty)
        #expect(rig.connection.isUp)
    }

    @Test(arguments: [true, false])
    func commandThatMayWaitLeavesInItsPlaceWhenAsked(byAnother: Bool) throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.scenario.then { rig.send("INCR", "n", mayWait: true) }
        rig.scenario.then { rig.send("INCR", "n", mayWait: true) }
        rig.await(byAnother ? 3 : 2) {
            let number = try server.command("GET", "n")
            #expect(number == .array([]))
            if byAnother { rig.send("INCR", "n") } else { rig.connection.writeWhatWaits() }
        }
        rig.await(byAnother ? 4 : 3) { rig.send("INCR", "n") }
        try rig.scenario.run()
        #expect(rig.replies == (byAnother ? ["1", "2", "3", "4"] : ["1", "2", "3"]))
    }

    /// One that waits has its outcome as soon as any other.
    @Test(arguments: ["timeout", "loss", "stop"])
    func commandThatWaitsFailsWithTheConnection(cause: String) throws {
        let server = try RedisServer()
        let rig = try Rig(server.url, timeout: .milliseconds(200))
        rig.start()
        rig.scenario.then { rig.send("INCR", "n", mayWait: true) }
        rig.await(1) {
            if cause == "loss" { try server.command("CLIENT", "KILL", "TYPE", "normal") }
            if cause == "stop" { rig.connection.stop() }
        }
        try rig.scenario.run()
        #expect(rig.replies == ["unavailable: connection lost"])
        #expect(try server.command("GET", "n") == .array([]))
    }

    @Test func serverTellsItsRunAndLearnsTheName() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.await(1) { rig.send("CLIENT", "GETNAME") }
        try rig.scenario.run()
        #expect(rig.replies == ["rig"])
        let runID = try server.information("server", "run_id")
        #expect(rig.servers.first?.runID == runID)
        #expect(runID?.count == 40)
    }

    @Test func argumentsAndRepliesAreAnyBytes() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        let value = (0...255).map { UInt8($0) } + Array("\r\n$5\r\n".utf8)
        var received: [UInt8]?
        rig.start()
        rig.scenario.step("the value", until: { received != nil }) {
            rig.connection.send(RedisCommand([[UInt8]("SET"), [], value])) { _ in }
            rig.connection.send(RedisCommand([[UInt8]("GET"), []])) { result in
                if case .success(let reply) = result { received = reply.bytes.map { Array($0) } }
            }
        }
        try rig.scenario.run()
        #expect(received == value)
    }

    @Test func refusedCommandTellsTheServersWordsAndTheNextWorks() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.await(3) {
            rig.send("GET")
            rig.send("HSET", "h", "f", "v")
            rig.send("GET", "h")
        }
        try rig.scenario.run()
        #expect(
            rig.replies == [
                "refused: ERR wrong number of arguments for 'get' command", "1",
                "refused: WRONGTYPE Operation against a key holding the wrong kind of value",
            ])
        #expect(rig.connection.isUp)
    }

    @Test func commandsFailAtOnceWhileTheConnectionIsDown() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.send("PING")
        #expect(rig.replies == ["unavailable: not connected"])
        rig.start()
        try rig.scenario.run()
        rig.connection.stop()
        rig.send("PING")
        #expect(rig.replies == ["unavailable: not connected", "unavailable: not connected"])
    }

    @Test func frozenServerIsGivenUpAfterTheTimeoutAndFoundAgain() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url, timeout: .milliseconds(200))
        var sentAt = MonotonicInstant.now
        var waited = Duration.zero
        rig.start()
        rig.await(3) {
            server.freeze()
            sentAt = .now
            for _ in 0..<3 { rig.send("PING") }
        }
        rig.scenario.step("the loss is told", until: { !rig.reasons.isEmpty }) {
            waited = .now - sentAt
            server.thaw()
        }
        rig.scenario.step("the connection is back", until: { rig.servers.count == 2 })
        rig.await(4) { rig.send("PING") }
        defer { server.thaw() }
        try rig.scenario.run()
        let lost = Array(repeating: "unavailable: connection lost", count: 3)
        #expect(rig.replies == lost + ["PONG"])
        #expect(rig.reasons.first == "no answer within 200 ms")
        // A timer counts from the begin of the turn in which it starts.
        #expect(waited >= .milliseconds(150))
        #expect(rig.servers[0] == rig.servers[1], "it is the same run of the server")
    }

    @Test func allPendingCommandsFailOnceWhenTheServerDies() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.await(1) { rig.send("PING") }
        let isLost = { rig.replies.count >= 51 && !rig.reasons.isEmpty }
        rig.scenario.step("all outcomes and the loss", until: isLost) {
            server.freeze()
            for _ in 0..<49 { rig.send("PING") }
            // A failure's handler may send again: that fails too, at once.
            rig.connection.send(RedisCommand([[UInt8]("PING")])) { _ in rig.send("PING") }
            server.stop()
        }
        try rig.scenario.run()
        #expect(rig.replies.count == 51)
        #expect(rig.replies.dropFirst().allSatisfy { $0.hasPrefix("unavailable: ") })
        #expect(!rig.connection.isUp)
        #expect(rig.servers.count == 1)
    }

    @Test func restartedServerIsFoundAndHasAnotherRun() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.scenario.step("several attempts have failed", until: { rig.reasons.count >= 3 }) {
            server.stop()
        }
        rig.scenario.step("the connection is back", until: { rig.servers.count == 2 }) {
            #expect(!rig.connection.isUp)
            try server.start()
        }
        rig.await(1) { rig.send("PING") }
        try rig.scenario.run()
        #expect(rig.servers[0] != rig.servers[1])
        #expect(rig.reasons.dropFirst().contains("Connection refused"))
        #expect(rig.replies == ["PONG"])
    }

    @Test func killedConnectionComesBack() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.scenario.step("the connection is back", until: { rig.servers.count == 2 }) {
            try server.command("CLIENT", "KILL", "TYPE", "normal")
        }
        try rig.scenario.run()
        #expect(rig.reasons == ["Server closed the connection"])
        #expect(rig.servers[0] == rig.servers[1])
    }

    @Test func stoppedConnectionStaysAway() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.await(2) {
            rig.send("PING")
            rig.send("PING")
            rig.connection.stop()
        }
        rig.scenario.step(
            "the server sees nobody",
            until: {
                try server.information("clients", "connected_clients") == "1"
            })
        try rig.scenario.run()
        #expect(rig.replies.allSatisfy { $0.hasPrefix("unavailable: ") })
        #expect(rig.servers.count == 1)
        #expect(rig.reasons.isEmpty, "what was wanted is no loss")
    }

    @Test func silentServerIsFoundThoughNothingIsAsked() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url, silenceTimeout: .seconds(2))
        rig.start()
        rig.scenario.step("the loss is told", until: { !rig.reasons.isEmpty }) { server.freeze() }
        rig.scenario.step("the connection is back", until: { rig.servers.count == 2 }) { server.thaw() }
        defer { server.thaw() }
        try rig.scenario.run()
        #expect(rig.reasons.first?.hasPrefix("no answer for ") == true)
    }

    @Test func idleConnectionIsKeptByItsPings() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url, silenceTimeout: .seconds(2))
        rig.start()
        // Ten are two and a half timeouts.
        rig.scenario.step(
            "ten pings",
            until: {
                let statistics = try server.information("commandstats", "cmdstat_ping") ?? ""
                let calls = statistics.dropFirst("calls=".count).prefix { $0 != "," }
                return (Int(calls) ?? 0) >= 12
            })
        try rig.scenario.run()
        #expect(rig.reasons.isEmpty)
    }

    /// A master that was demoted keeps its connections; the first write tells.
    @Test func demotedServerIsLeftUntilItIsAMasterAgain() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url)
        rig.start()
        rig.await(1) {
            try server.command("REPLICAOF", "127.0.0.1", "1")
            rig.send("SET", "k", "v")
        }
        let isToldTwice = { rig.reasons.count { $0 == "the server is a replica, not a master" } >= 2 }
        rig.scenario.step("it stays away", until: isToldTwice) { #expect(!rig.connection.isUp) }
        rig.scenario.step("it is back", until: { rig.servers.count == 2 }) {
            try server.command("REPLICAOF", "NO", "ONE")
        }
        rig.await(2) { rig.send("SET", "k", "v") }
        try rig.scenario.run()
        #expect(rig.replies.first?.hasPrefix("refused: READONLY") == true)
        #expect(rig.replies.last == "OK")
        #expect(rig.reasons.first?.hasPrefix("READONLY") == true)
    }

    /// Paused, a server answers PING and INFO, and nothing that a command connection is for.
    @Test func pausedWritesAreOneLossAndOneReturn() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url, timeout: .milliseconds(300))
        rig.start()
        rig.await(1) {
            try server.command("CLIENT", "PAUSE", "60000", "WRITE")
            rig.send("SET", "k", "v")
        }
        rig.scenario.step("attempts that fail", until: { rig.reasons.count >= 3 })
        rig.scenario.step("back", until: { rig.servers.count == 2 }) {
            #expect(rig.servers.count == 1, "it is not back while writes are paused")
            try server.command("CLIENT", "UNPAUSE")
        }
        rig.await(2) { rig.send("SET", "k", "v") }
        try rig.scenario.run()
        #expect(rig.replies == ["unavailable: connection lost", "OK"])
        #expect(rig.reasons.first == "no answer within 300 ms")
        #expect(
            rig.reasons.dropFirst().allSatisfy {
                $0 == "no answer to a script (are writes paused?) within 2000 ms"
            })
    }

    /// One that has all slots has every key.
    @Test(
        arguments: [
            ("-NOPERM no\r\n", false), ("*0\r\n", false),
            ("*1\r\n*3\r\n:0\r\n:16382\r\n*2\r\n$1\r\na\r\n:1\r\n", false),
            (
                "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$1\r\na\r\n:1\r\n"
                    + "*3\r\n:8192\r\n:16383\r\n*2\r\n$1\r\na\r\n:2\r\n", false
            ),
            ("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:1\r\n", true),
        ], ["redis_mode", "server_mode"])
    func memberOfAClusterIsTakenIfItIsTheWhole(answer: (slots: String, isTaken: Bool), mode: String) throws {
        let server = try FakeRedis { connection in
            try connection.expect("SETNAME")
            connection.send("+OK\r\n")
            try connection.expect("INFO")
            let text = "redis_version:7.0.15\r\n\(mode):cluster\r\nrun_id:ab\r\n"
            connection.send("+PONG\r\n$\(text.utf8.count)\r\n\(text)\r\n")
            try connection.expect("SLOTS")
            connection.send(answer.slots)
            try connection.expect("memory")
            connection.send("$0\r\n\r\n")
            try connection.expect("EVAL")
            connection.send(":1\r\n")
            _ = connection.awaitEnd()
        }
        let rig = try Rig(server.url)
        let isOver = { answer.isTaken ? rig.servers.count == 1 : rig.reasons.count == 2 }
        rig.scenario.step("two attempts, or a connection", until: isOver) { rig.connection.start() }
        try rig.scenario.run()
        if answer.isTaken {
            #expect(rig.servers.first?.runID == "ab" && rig.reasons.isEmpty)
        } else {
            #expect(rig.reasons == [RedisConnection.clusterReason, RedisConnection.clusterReason])
            #expect(rig.servers.isEmpty)
        }
    }

    /// What a stopped process finds when it goes on: an expired deadline, and the answer.
    @Test func lateLookAtADeadlineReadsTheAnswerFirst() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url, timeout: .milliseconds(200))
        /// Holds the loop up until the deadline of what was sent is over, and Redis has answered so many.
        func holdUp(until command: String, _ count: Int) throws {
            let begin = MonotonicInstant.now
            try eventually("the deadline is over, and the answer there") {
                let statistics = try server.information("commandstats", "cmdstat_\(command)") ?? ""
                return MonotonicInstant.now - begin > .milliseconds(300)
                    && statistics.hasPrefix("calls=\(count),")
            }
        }
        rig.start()
        rig.scenario.step("sent, answered, not yet read", until: { true }) { rig.send("ECHO", "a") }
        rig.await(1) { try holdUp(until: "echo", 1) }
        rig.scenario.step("once more", until: { true }) { rig.send("ECHO", "b") }
        rig.await(2) { try holdUp(until: "echo", 2) }
        try rig.scenario.run()
        #expect(rig.replies == ["a", "b"])
        #expect(rig.reasons.isEmpty)
    }

    // MARK: Logging in

    @Test func rightPasswordLogsIn() throws {
        let server = try RedisServer(password: "s3cret")
        let rig = try Rig(server.url)
        rig.start()
        rig.await(1) { rig.send("PING") }
        try rig.scenario.run()
        #expect(rig.replies == ["PONG"])
        #expect(rig.reasons.isEmpty)
    }

    @Test func wrongOrMissingPasswordIsTheReason() throws {
        let server = try RedisServer(password: "s3cret")
        for (credentials, reason) in [
            (":wrong@", "AUTH: WRONGPASS invalid username-password pair or user is disabled."),
            ("", "CLIENT SETNAME: NOAUTH Authentication required."),
        ] {
            let rig = try Rig(server.url(credentials: credentials))
            rig.scenario.step("two attempts", until: { rig.reasons.count >= 2 }) { rig.connection.start() }
            try rig.scenario.run()
            #expect(rig.reasons.allSatisfy { $0 == reason })
            #expect(rig.servers.isEmpty)
        }
    }

    @Test func databaseIsSelected() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url(database: 3))
        rig.start()
        rig.await(1) { rig.send("SET", "k", "v") }
        try rig.scenario.run()
        #expect(try server.information("keyspace", "db3")?.hasPrefix("keys=1,") == true)
        #expect(try server.information("keyspace", "db0") == nil)
    }

    @Test func missingDatabaseIsTheReason() throws {
        let server = try RedisServer()
        let rig = try Rig(server.url(database: 99))
        rig.scenario.step("an attempt", until: { !rig.reasons.isEmpty }) { rig.connection.start() }
        try rig.scenario.run()
        #expect(rig.reasons.first == "SELECT: ERR DB index is out of range")
    }

    // MARK: Addresses

    @Test func unixSocketConnects() throws {
        let server = try RedisServer()
        let rig = try Rig(RedisURL("unix://\(server.socketPath)?db=2"))
        rig.start()
        rig.await(1) { rig.send("SET", "k", "v") }
        try rig.scenario.run()
        #expect(rig.replies == ["OK"])
        #expect(try server.information("keyspace", "db2")?.hasPrefix("keys=1,") == true)
    }

    @Test func missingUnixSocketIsTheReason() throws {
        let rig = try Rig(RedisURL("unix:///nonexistent/redis.sock"))
        rig.scenario.step("two attempts", until: { rig.reasons.count >= 2 }) { rig.connection.start() }
        try rig.scenario.run()
        #expect(rig.reasons.allSatisfy { $0 == "No such file or directory" })
    }

    @Test func hostNameIsResolved() throws {
        let server = try RedisServer()
        let rig = try Rig(RedisURL("redis://localhost:\(server.port)"))
        rig.start()
        rig.await(1) { rig.send("PING") }
        try rig.scenario.run()
        #expect(rig.replies == ["PONG"])
    }

    /// A name of the kind that never exists (RFC 6761 section 6.4).
    @Test func unknownHostNameIsTheReason() throws {
        let rig = try Rig(RedisURL("redis://x.invalid:1"))
        let reason = "cannot resolve host name x.invalid"
        rig.scenario.step("two attempts", until: { rig.reasons.count { $0 == reason } >= 2 }) {
            rig.connection.start()
        }
        try rig.scenario.run()
        #expect(rig.replies.isEmpty)
    }
}
