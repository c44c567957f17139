// Both programs from outside: help, version, wrong usage, environment variables.
import Foundation
import Testing

@Suite struct CommandLineTests {
    private func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], input: String = ""
    ) async throws -> Completed {
        let driver = try Driver()
        do {
            let command = [try Installation.binary(program)] + arguments
            let completed = try await driver.run(command, environment: environment, input: input)
            await driver.stop()
            return completed
        } catch {
            await driver.stop()
            throw error
        }
    }

    @Test(arguments: [
        (
            "gateway",
            [
                "--listen", "--redis", "--workers", "--heartbeat-timeout", "--token-ttl", "--admin-listen",
                "--drain-time",
            ]
        ),
        ("publisher", ["--redis", "--room", "--type", "--data", "--file"]),
    ])
    func helpGoesToStandardOutput(program: String, options: [String]) async throws {
        let help = try await run(program, ["--help"])
        #expect(help.code == 0)
        #expect(help.errors.isEmpty)
        for option in options {
            #expect(help.output.contains(option))
            let variable =
                "\(program.uppercased())_\(option.dropFirst(2).replacing("-", with: "_").uppercased())"
            #expect(help.output.contains(variable))
        }
        #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test(arguments: ["gateway", "publisher"])
    func versionIsPrinted(program: String) async throws {
        let version = try await run(program, ["--version"])
        #expect(version.code == 0)
        #expect(version.output.contains(try Regex(#"\d+\.\d+\.\d+"#)))
        #expect(version.errors.isEmpty)
    }

    static let wrongUsages: [(String, [String], String)] = [
        ("gateway", ["--no-such-option"], "--no-such-option"),
        ("gateway", ["positional"], "positional"),
        ("gateway", ["--listen"], "--listen"),
        ("gateway", ["--listen", "nowhere"], "--listen"),
        ("gateway", ["--listen", "127.0.0.1:65536"], "--listen"),
        ("gateway", ["--workers", "0"], "--workers"),
        ("gateway", ["--workers", "many"], "--workers"),
        ("gateway", ["--heartbeat-timeout", "30"], "--heartbeat-timeout"),
        ("gateway", ["--heartbeat-timeout", "-1s"], "--heartbeat-timeout"),
        ("gateway", ["--token-ttl", "31s", "--heartbeat-timeout", "30s"], "--token-ttl"),
        ("gateway", ["--token-ttl=1w"], "--token-ttl"),
        ("gateway", ["--heartbeat", "none"], "--heartbeat"),
        ("gateway", ["--heartbeat", "pong", "--ping-interval", "off"], "--ping-interval"),
        ("gateway", ["--heartbeat", "pong", "--ping-interval", "29s"], "--ping-interval"),
        ("gateway", ["--redis", "http://127.0.0.1"], "--redis"),
        ("gateway", ["--redis", "redis://127.0.0.1:x"], "--redis"),
        ("gateway", ["--maximum-queue-bytes", "64Potatoes"], "--maximum-queue-bytes"),
        ("gateway", ["--trusted-proxies", "10.0.0.0/33"], "--trusted-proxies"),
        ("gateway", ["--log-level", "loud"], "--log-level"),
        ("gateway", ["--node-id", "a b"], "--node-id"),
        ("publisher", [], "--room"),
        ("publisher", ["--room", "a"], "--data"),
        ("publisher", ["--data", "{}"], "--room"),
        ("publisher", ["--room", "a", "--data", "{"], "--data"),
        ("publisher", ["--room", "", "--data", "{}"], "--room"),
        ("publisher", ["--room", "a", "--data", "{}", "--file", "-"], "--file"),
        ("publisher", ["--room", "a", "--data", "{}", "--no-such-option"], "--no-such-option"),
        ("publisher", ["--file", "-", "--rate", "fast"], "--rate"),
    ]

    @Test(arguments: wrongUsages)
    func wrongUsageIsOneLineThatNamesTheOption(program: String, arguments: [String], named: String)
        async throws
    {
        let completed = try await run(program, arguments)
        #expect(completed.code == 2)
        #expect(completed.output.isEmpty)
        #expect(completed.errors.contains(named))
        #expect(completed.errors.split(separator: "\n").count == 1)
    }

    @Test(arguments: [
        ("gateway", "GATEWAY_TOKEN_TTL", "soon", ["--redis", "redis://127.0.0.1:1"]),
        ("gateway", "GATEWAY_WORKERS", "x", ["--redis", "redis://127.0.0.1:1"]),
        ("gateway", "REDIS_URL", "http://x", []),
        ("publisher", "PUBLISHER_RATE", "x", ["--file", "-"]),
        ("publisher", "REDIS_URL", "http://x", ["--room", "a", "--data", "{}"]),
    ])
    func wrongEnvironmentVariableIsNamed(
        program: String, variable: String, value: String, arguments: [String]
    ) async throws {
        let completed = try await run(program, arguments, environment: [variable: value])
        #expect(completed.code == 2)
        #expect(completed.errors.contains(variable))
        #expect(completed.errors.split(separator: "\n").count == 1)
    }

    /// The other is a gateway of two workers, whose sockets share their port with each other only.
    @Test(arguments: [1, 3])
    func addressInUseStopsTheNodeAtItsStart(workerCount: Int) async throws {
        try await Cluster.with { cluster in
            let (port, adminPort) = (cluster.node.port, cluster.node.adminPort)
            let gateway = [
                try Installation.binary("gateway"), "--redis", cluster.redis.url, "--workers",
                "\(workerCount)",
            ]
            for (listen, admin, taken) in [
                (port, "off", port), (adminPort, "off", adminPort), (0, "127.0.0.1:\(adminPort)", adminPort),
                (0, "127.0.0.1:\(port)", port),
            ] {
                let completed = try await cluster.driver.run(
                    gateway + ["--listen", "127.0.0.1:\(listen)", "--admin-listen", admin])
                #expect(completed.code == 1)
                #expect(completed.errors.contains("127.0.0.1:\(taken)"))
                #expect(completed.errors.contains("Address already in use"))
            }
            // The one that was there is none the worse for it.
            #expect(try await cluster.node.token().isEmpty == false)
        }
    }

    @Test func addressMayBeIPv6() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let child = try await Child(
                cluster.driver, name: "six",
                [
                    try Installation.binary("gateway"), "--listen", "[::1]:0", "--admin-listen", "off",
                    "--node-id", "six", "--workers", "2", "--redis", cluster.redis.url,
                ])
            var port: Int?
            try await eventually("it logs where it listens") {
                port = child.errorOutput.firstMatch(of: /listening on \[::1\]:(\d+)/).flatMap { Int($0.1) }
                return port != nil
            }
            let six = try #require(port)
            var token: String?
            try await eventually("it issues tokens") {
                token = try await cluster.driver.request(
                    six, "/get/token?isLogin=true&userId=a", host: "::1"
                )
                .data
                return token?.count == 24 || token?.count == 32
            }
            let issued = try #require(token)
            let room = cluster.room()
            guard
                case .open(let client) = try await cluster.driver.handshake(
                    "ws://[::1]:\(six)/ws?token=\(issued)&roomIds=\(room)")
            else { throw HarnessError("refused") }
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try await cluster.redis.hash("client:\(issued)")["ip"] == "::1")
        }
    }

    /// The variable sets what the node does; the command line beats it; an empty variable is none.
    @Test func environmentVariablesAreOptionsThatTheCommandLineBeats() async throws {
        let variables = ["GATEWAY_TOKEN_TTL": "2h", "GATEWAY_PREFIX": "env:", "GATEWAY_DRAIN_TIME": ""]
        try await Cluster.with(options: ["--token-ttl", "15m"], environment: variables) { cluster in
            let token = try await cluster.node.token()
            #expect(try await cluster.redis.hash("env:client:\(token)")["ttl"] == "900")
        }
        try await Cluster.with(environment: variables) { cluster in
            let token = try await cluster.node.token()
            #expect(try await cluster.redis.hash("env:client:\(token)")["ttl"] == "7200")
        }
    }

    @Test(arguments: [["GATEWAY_REDIS": ""], ["REDIS_URL": ""]])
    func redisUrlComesFromTheEnvironment(variable: [String: String]) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let name = try #require(variable.keys.first)
            let child = try await Child(
                cluster.driver, name: "from-environment",
                [
                    try Installation.binary("gateway"), "--listen", "127.0.0.1:0", "--admin-listen", "off",
                    "--node-id", "env",
                ],
                environment: [name: cluster.redis.url])
            try await eventually("the node has subscribed its own channel") {
                try await cluster.redis.command("PUBSUB", "CHANNELS").array?.isEmpty == false
            }
            #expect(try await child.exitCode(within: .zero) == nil)
        }
    }
}
