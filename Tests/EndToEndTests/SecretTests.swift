// Passwords and tokens stay out of logs, help texts, error lines and what `ps` shows.
import Foundation
import Testing

@Suite struct SecretTests {
    private static let password = "s3cret-Pa55word"

    private func commandLine(_ pid: Int) throws -> String {
        let bytes = try Data(contentsOf: URL(filePath: "/proc/\(pid)/cmdline"))
        return String(decoding: bytes, as: UTF8.self).replacing("\0", with: " ")
    }

    @Test(arguments: ["text", "json"])
    func passwordFromTheEnvironmentShowsNowhere(format: String) async throws {
        let options = ["--log-level", "debug", "--log-format", format]
        try await Cluster.with(options: options, password: Self.password) { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try commandLine(cluster.node.child.pid).contains("--node-id"))
            #expect(try !commandLine(cluster.node.child.pid).contains(Self.password))
            // A lost connection is when addresses get logged.
            try await cluster.redis.stop()
            try await eventually("not ready") { try await cluster.node.ready().status == 503 }
            _ = try await cluster.redis.restart()
            try await eventually("ready again") { try await cluster.node.ready().status == 200 }
            let log = cluster.node.child.errorOutput + cluster.node.child.output
            #expect(log.contains("listening on"))
            #expect(!log.contains(Self.password))
        }
    }

    @Test func passwordOnTheCommandLineIsScrubbedFromIt() async throws {
        try await Cluster.with(nodes: 0, password: Self.password) { cluster in
            let child = try await Child(
                cluster.driver, name: "scrubbed",
                [
                    try Installation.binary("gateway"), "--listen", "127.0.0.1:0", "--admin-listen",
                    "127.0.0.1:0",
                    "--redis", "redis://:\(Self.password)@127.0.0.1:\(cluster.redis.port)", "--log-level",
                    "debug",
                    "--node-id", "scrubbed",
                ])
            try await eventually("the node has logged in") {
                try await cluster.redis.command("PUBSUB", "CHANNELS").array?.isEmpty == false
            }
            #expect(try commandLine(child.pid).contains("gateway"))
            #expect(try !commandLine(child.pid).contains(Self.password))
            #expect(!(child.errorOutput + child.output).contains(Self.password))
        }
    }

    @Test func publisherShowsNoPasswordWhileItRuns() async throws {
        try await Cluster.with(nodes: 0, password: Self.password) { cluster in
            let file = cluster.driver.directory.appending(path: "slow.ndjson")
            let line = #"{"room":"a","type":"notice","data":{}}"# + "\n"
            try Data(String(repeating: line, count: 200).utf8).write(to: file)
            let child = try await Child(
                cluster.driver, name: "publisher",
                [
                    try Installation.binary("publisher"), "--redis",
                    "redis://:\(Self.password)@127.0.0.1:\(cluster.redis.port)", "--file", file.path,
                    "--rate", "5",
                ])
            try await eventually("it publishes") {
                try await cluster.redis.command("INFO", "commandstats").string?.contains("cmdstat_publish")
                    == true
            }
            #expect(try commandLine(child.pid).contains("publisher"))
            #expect(try !commandLine(child.pid).contains(Self.password))
            try await child.signal(SIGINT)
            #expect(try await child.exitCode() == 130)
            #expect(!(child.errorOutput + child.output).contains(Self.password))
        }
    }

    @Test(arguments: ["gateway", "publisher"])
    func helpAndUsageErrorsShowNoPassword(program: String) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let variables = [
                "REDIS_URL": "redis://:\(Self.password)@127.0.0.1:1", "REDIS_PASSWORD": Self.password,
                "\(program.uppercased())_REDIS_PASSWORD": Self.password,
            ]
            let binary = try Installation.binary(program)
            let secretUrl = "redis://:\(Self.password)@127.0.0.1:notaport"
            for arguments in [
                ["--help"], ["--no-such-option"], ["--redis", secretUrl], ["--redis=\(secretUrl)"],
            ] {
                let completed = try await cluster.driver.run([binary] + arguments, environment: variables)
                #expect(completed.code == (arguments == ["--help"] ? 0 : 2))
                #expect(!(completed.output + completed.errors).contains(Self.password))
            }
        }
    }

    @Test(arguments: ["wrong", "refused"])
    func failedLoginShowsNoPassword(fault: String) async throws {
        try await Cluster.with(nodes: 0, password: fault == "wrong" ? "another" : nil) { cluster in
            let port = fault == "wrong" ? cluster.redis.port : try await cluster.driver.freePort()
            let command = [try Installation.binary("publisher"), "--room", "a", "--data", "{}"]
            let url = "redis://:\(Self.password)@127.0.0.1:\(port)"
            let completed = try await cluster.driver.run(command, environment: ["REDIS_URL": url])
            #expect(completed.code == 1)
            #expect(!completed.errors.isEmpty)
            #expect(!(completed.output + completed.errors).contains(Self.password))
        }
    }

    /// Tokens are credentials: a whole life of one at the most talkative level, good and bad requests.
    @Test(arguments: ["text", "json"])
    func tokensAreNeverLogged(format: String) async throws {
        let options = ["--log-level", "debug", "--log-format", format, "--heartbeat-timeout", "10s"]
        try await Cluster.with(nodes: 2, options: options) { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let first = try await cluster.nodes[0].connect(room, token: token)
            _ = try await cluster.nodes[0].heartbeat(token)
            let second = try await cluster.nodes[1].connect(room, token: token)
            #expect(try await first.closed()?.code == 4001)
            #expect(try await second.closed()?.code == 4000)
            try await cluster.redis.command("DEL", .string("client:\(token)"))
            for target in [
                "/heartbeat?token=\(token)", "/ws?token=\(token)&roomIds=a", "/nowhere?token=\(token)",
            ] {
                _ = try await cluster.node.get(target, headers: handshakeHeaders())
                _ = try await cluster.driver.request(
                    cluster.node.port, target, method: "POST", headers: ["Content-Length": "0"])
            }
            _ = try await cluster.driver.exchange(
                cluster.node.port, "GET /heartbeat?token=\(token) HTTP/x\r\n\r\n")
            for node in cluster.nodes {
                let log = node.child.errorOutput + node.child.output
                #expect(log.contains("listening on"))
                #expect(!log.contains(token))
                #expect(!log.contains(token.prefix(12)))
                #expect(!log.contains(token.suffix(12)))
            }
        }
    }

    /// The other ways on which a token comes, with nginx in front, and the key that lets it be issued.
    @Test func tokensAndIssueKeysAreNeverPrinted() async throws {
        let keys = ["first-Issue-Key_0123", "other-Issue-Key_4567"]
        let options = ["--log-level", "debug"]
        let environment = ["GATEWAY_ISSUE_KEY": keys.joined(separator: ",")]
        try await Cluster.with(nodes: 2, options: options, environment: environment) { cluster in
            let nginx = try await NginxServer(cluster)
            let port = nginx.port
            let target = "/get/token?isLogin=true&userId=ada&rooms=a"
            var secrets = keys + ["wrong-Issue-Key_8901"]
            for key in secrets {
                let answer = try await cluster.driver.request(
                    port, target, headers: ["Authorization": "Bearer \(key)"])
                #expect((answer.status == 200) == keys.contains(key))
                for secret in secrets { #expect(!answer.body.contains(secret)) }
                if let token = answer.data, answer.status == 200 { secrets.append(token) }
            }
            let tokens = Array(secrets.dropFirst(3))
            for (index, token) in tokens.enumerated() {
                let (url, offers) = ("ws://127.0.0.1:\(port)/ws?roomIds=", ["token.\(token)"])
                guard
                    case .open(let client) = try await cluster.driver.handshake(
                        url + "a", subprotocols: offers)
                else { throw HarnessError("refused") }
                guard
                    case .refused(let refusal) = try await cluster.driver.handshake(
                        url + "b", subprotocols: offers)
                else { throw HarnessError("let in") }
                #expect(refusal.status == 403 && !refusal.body.contains(token))
                let command = [try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url]
                let whom = index == 0 ? ["--token=\(token)"] : ["--user", "ada"]
                let completed = try await cluster.driver.run(command + whom)
                #expect(completed.code == 0 && completed.output.contains("revoked 1 token"))
                #expect(!(completed.output + completed.errors).contains(token.dropFirst(4)))
                #expect(try await client.closed()?.code == 4003)
                guard
                    case .refused(let gone) = try await cluster.driver.handshake(
                        url + "a", subprotocols: offers)
                else { throw HarnessError("let in") }
                #expect(gone.data == "Token error")
                _ = try await cluster.driver.request(port, "/heartbeat?token=\(token)")
            }
            // Without gateways nginx complains of each request in its error log.
            for node in cluster.nodes {
                try await node.child.signal(SIGKILL)
                _ = try await node.child.exitCode()
            }
            for token in tokens {
                let headers = handshakeHeaders(replacing: ["Sec-WebSocket-Protocol": "token.\(token)"])
                for target in ["/ws?roomIds=a", "/heartbeat?token=\(token)"] {
                    #expect(try await cluster.driver.request(port, target, headers: headers).status == 503)
                }
            }
            try await eventually("nginx has complained") {
                nginx.child.errorOutput.contains("/heartbeat?...")
            }
            for child in cluster.nodes.map(\.child) + [nginx.child] {
                let log = child.errorOutput + child.output
                #expect(!log.isEmpty)
                for secret in secrets { #expect(!log.contains(secret.dropFirst(4)), "\(child.name)") }
            }
        }
    }

    @Test(arguments: [["--issue-key", "KEY"], ["--issue-key=KEY"]])
    func issueKeyOnTheCommandLineIsScrubbedFromIt(option: [String]) async throws {
        let key = "s3cret-Issue-Key_0123"
        let options = option.map { $0.replacing("KEY", with: key) } + ["--log-level", "debug"]
        try await Cluster.with(options: options) { cluster in
            let headers = ["Authorization": "Bearer \(key)"]
            let target = "/get/token?isLogin=true&userId=ada"
            #expect(try await cluster.node.get(target, headers: headers).status == 200)
            #expect(try await cluster.node.get(target).status == 401)
            let shown = try commandLine(cluster.node.child.pid)
            #expect(shown.contains("--issue-key") && shown.contains("--log-level debug"))
            #expect(!(shown + cluster.node.child.errorOutput + cluster.node.child.output).contains(key))
        }
    }

    @Test(arguments: [["--admin-key", "KEY"], ["--admin-key=KEY"]])
    func adminKeyOnTheCommandLineIsScrubbedFromIt(option: [String]) async throws {
        let key = "s3cret-Admin-Key_0123"
        let options = option.map { $0.replacing("KEY", with: key) } + ["--log-level", "debug"]
        try await Cluster.with(options: options) { cluster in
            let body = #"{"room":"a","data":1}"#
            for (shown, status) in [(key, 200), (key + "x", 401)] {
                let head = requestText(
                    "/api/publish", method: "POST",
                    headers: [
                        "Authorization": "Bearer \(shown)", "Content-Type": "application/json",
                        "Content-Length": "\(body.utf8.count)",
                    ])
                let exchange = try await cluster.driver.exchange(cluster.node.adminPort, head + body)
                #expect(exchange.answers.map(\.status) == [status])
            }
            let shown = try commandLine(cluster.node.child.pid)
            #expect(shown.contains("--admin-key") && shown.contains("--log-level debug"))
            #expect(!(shown + cluster.node.child.errorOutput + cluster.node.child.output).contains(key))
        }
    }

    @Test func jsonLogIsOneObjectALine() async throws {
        try await Cluster.with(options: ["--log-level", "debug", "--log-format", "json"]) { cluster in
            _ = try await cluster.node.connect(cluster.room())
            let lines = cluster.node.child.errorOutput.split(separator: "\n")
            #expect(!lines.isEmpty)
            for line in lines { #expect(JSON(parsing: String(line))?.object != nil, "\(line)") }
        }
    }
}
