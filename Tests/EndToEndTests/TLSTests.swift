// TLS to Redis, from the options to the clients. What has to hold with TLS as without it is tested with both in
// the suites of its subject.
import Foundation
import Testing

#if TLS
    /// The programs together, over a Redis with TLS.
    @Suite(.enabled(if: ServerUnderTest.takesTLS), .cluster(nodes: 2, isSecured: true))
    struct TLSTests {
        private func run(_ program: String, _ arguments: String...) async throws -> Completed {
            let cluster = try Cluster.current
            return try await cluster.driver.run(
                [try Installation.binary(program)] + arguments + cluster.redis.connectionOptions)
        }

        @Test func noticesOfAllSizesReachTheClientsOfEveryNode() async throws {
            let cluster = try Cluster.current
            let room = cluster.room()
            let clients = [
                try await cluster.nodes[0].connect(room), try await cluster.nodes[1].connect(room),
            ]
            for byteCount in [2, 125, 16_000, 17_000, 1 << 20] {
                let payload = "\"" + String(repeating: "x", count: byteCount - 2) + "\""
                try await cluster.redis.publish(room: room, payload)
                for client in clients {
                    let event = try await client.next()
                    #expect(event == .text(payload), "\(byteCount) bytes")
                }
            }
            let other = cluster.room()
            let followers = [
                try await cluster.nodes[0].connect(other), try await cluster.nodes[1].connect(other),
            ]
            try await cluster.redis.publishSequence(room: other, count: 1000, paddingBytes: 1000)
            for received in try await cluster.driver.sequences(followers, count: 1000) {
                #expect(received == ReceivedSequence(count: 1000, firstWrong: nil))
            }
        }

        @Test func publisherSendsRevokesAndLooks() async throws {
            let cluster = try Cluster.current
            let room = cluster.room()
            let token = try await cluster.node.token()
            let client = try await cluster.node.connect(room, token: token)
            let sent = try await run("publisher", "--room", room, "--data", "1")
            #expect(sent.code == 0 && sent.errors.isEmpty, "\(sent)")
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            let other = cluster.room()
            let follower = try await cluster.node.connect(other)
            let file = cluster.driver.directory.appending(path: "notices")
            let lines = (0..<5000).map {
                #"{"room":"\#(other)","type":"notice","data":{"n":\#($0)}}"# + "\n"
            }
            try lines.joined().write(to: file, atomically: true, encoding: .utf8)
            let all = try await run("publisher", "--file", file.path)
            #expect(all.code == 0, "\(all)")
            let received = try await cluster.driver.sequences([follower], count: 5000)
            #expect(received == [ReceivedSequence(count: 5000, firstWrong: nil)])
            let nodes = try await run("publisher", "nodes")
            #expect(nodes.code == 0 && nodes.output.contains("node-2"), "\(nodes)")
            let rooms = try await run("publisher", "rooms", "--top", "all")
            #expect(rooms.code == 0 && rooms.output.contains(room), "\(rooms)")
            let revoked = try await run("publisher", "revoke", "--token=\(token)")
            #expect(revoked.code == 0, "\(revoked)")
            #expect(try await client.closed()?.code == 4003)
        }

        @Test func loadTestCountsEveryDelivery() async throws {
            let cluster = try Cluster.current
            let completed = try await run(
                "loadtest", "--gateway", "127.0.0.1:\(cluster.node.port)", "--clients", "20", "--rate", "50",
                "--warmup", "0s", "--duration", "500ms", "--quiet")
            #expect(completed.code == 0, "\(completed)")
        }
    }

    /// What a node says of a Redis that it does not trust.
    @Suite struct TLSFailureTests {
        private func reasons(_ node: GatewayNode, containing words: String) async throws {
            try await eventually("\(words): in /readyz and in the log") {
                let answer = try await node.ready()
                return answer.status == 503 && answer.body.contains(words)
                    && node.child.errorOutput.contains(words)
            }
            #expect(!node.child.errorOutput.contains("hunter2"))
        }

        @Test func certificateThatIsNotTrustedKeepsTheNodeUnready() async throws {
            try await Cluster.with(nodes: 0, password: "hunter2", isSecured: true) { cluster in
                let others = try await Certificates(cluster.driver, name: "others")
                let wrongName = try await GatewayNode(
                    cluster.driver, id: "name", redis: cluster.redis,
                    options: ["--redis-tls-name", "redis.example"],
                    awaitReady: false)
                let wrongAuthority = try await GatewayNode(
                    cluster.driver, id: "authority", redis: cluster.redis,
                    environment: ["GATEWAY_REDIS_CA": others.path("ca.crt")], trustsRedis: false,
                    awaitReady: false)
                let trusting = try await GatewayNode(
                    cluster.driver, id: "trusting", redis: cluster.redis,
                    options: ["--redis-tls-verify", "off"])
                let toPlainPort = try await GatewayNode(
                    cluster.driver, id: "plain", redis: cluster.redis,
                    url: "rediss://127.0.0.1:\(cluster.redis.port)", awaitReady: false)
                let fromPlain = try await GatewayNode(
                    cluster.driver, id: "secured", redis: cluster.redis,
                    url: "redis://127.0.0.1:\(cluster.redis.servedPort)", trustsRedis: false,
                    awaitReady: false)
                try await reasons(
                    wrongName, containing: "TLS: certificate: hostname mismatch, it is not for redis.example"
                )
                try await reasons(
                    wrongAuthority,
                    containing: "TLS: certificate: self-signed certificate in certificate chain")
                try await reasons(toPlainPort, containing: "does the port speak TLS?")
                try await reasons(fromPlain, containing: "rediss://")
                #expect(try await trusting.ready().status == 200)
                #expect(
                    trusting.child.errorOutput.contains("warning the certificate of redis is not checked"))
            }
        }
    }
#endif

/// The options, of all three programs.
@Suite struct TLSOptionTests {
    private static let programs = ["gateway", "publisher", "loadtest"]

    private func run(_ program: String, _ arguments: [String]) async throws -> Completed {
        let needed: [String] =
            switch program {
            case "publisher": ["--room", "a", "--data", "1", "--timeout", "500ms"]
            case "loadtest": ["--gateway", "127.0.0.1:1"]
            default: []
            }
        let driver = try Driver()
        let completed: Completed
        do {
            completed = try await driver.run([try Installation.binary(program)] + needed + arguments)
            await driver.stop()
        } catch {
            await driver.stop()
            throw error
        }
        #expect(!completed.errors.contains("hunter2"))
        return completed
    }

    @Test(arguments: programs) func optionsWithoutATLSURLAreWrongUsage(program: String) async throws {
        for option in ["ca", "cert", "key", "tls-name", "tls-verify"] {
            let value = option == "tls-verify" ? "on" : "/etc/hostname"
            let ended = try await run(
                program, ["--redis", "redis://:hunter2@127.0.0.1:1", "--redis-\(option)", value])
            #expect(ended.code == 2)
            #expect(
                ended.errors
                    == "\(program): --redis-\(option): expected only with a URL that begins with rediss://, "
                    + "sentinels:// or clusters://\n")
        }
    }

    #if TLS
        @Test(arguments: programs) func fileThatCannotBeReadEndsTheStartWithItsPath(program: String)
            async throws
        {
            let url = "rediss://:hunter2@127.0.0.1:1"
            let missing = try await run(program, ["--redis", url, "--redis-ca", "/nonexistent/ca.crt"])
            #expect(missing.code == 1)
            #expect(
                missing.errors == "\(program): cannot read /nonexistent/ca.crt: No such file or directory\n")
            let none = try await run(program, ["--redis", url, "--redis-cert", "/dev/null"])
            #expect(none.code == 1)
            #expect(none.errors.contains("/dev/null: no certificate in PEM form"))
            let keyAlone = try await run(program, ["--redis", url, "--redis-key", "/dev/null"])
            #expect(keyAlone.code == 2)
            #expect(keyAlone.errors == "\(program): --redis-key: expected only with --redis-cert\n")
        }

        @Test(arguments: ["publisher", "loadtest"]) func trustInAnyoneIsAWarning(program: String)
            async throws
        {
            let ended = try await run(
                program, ["--redis", "rediss://:hunter2@127.0.0.1:1", "--redis-tls-verify", "off"])
            #expect(ended.code != 0 && ended.code != 2)
            #expect(
                ended.errors.hasPrefix(
                    "\(program): warning: the certificate of Redis is not checked (--redis-tls-verify off)\n"
                ))
        }
    #else
        @Test(arguments: programs, ["rediss://:hunter2@h", "sentinels://:hunter2@h/m"])
        func buildWithoutTheTraitRefusesTheURL(program: String, url: String) async throws {
            let ended = try await run(program, ["--redis", url])
            #expect(ended.code == 2)
            #expect(ended.errors.hasPrefix("\(program): --redis: invalid value: "))
            #expect(ended.errors.contains("built with the package trait TLS"))
        }
    #endif
}
