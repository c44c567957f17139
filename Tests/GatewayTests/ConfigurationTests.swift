import EventLoop
import Network
import Options
import Redis
import Testing
import WebSocket

@testable import Gateway

/// Always the same digits, so that the node id is known. It has a property because the thread sanitizer
/// falls over the address of an empty value.
private struct FixedGenerator: RandomNumberGenerator {
    let number: UInt64 = 0
    mutating func next() -> UInt64 { number }
}

@Suite struct ConfigurationTests {
    private func configuration(
        _ arguments: [String] = [], _ environment: [String: String] = [:]
    ) throws -> Configuration {
        guard
            case .run(let values) = try Configuration.program.parse(
                arguments, environment: { environment[$0] })
        else { throw UsageError("printed") }
        var random = FixedGenerator()
        return try Configuration(values, hostName: "host.example", coreCount: 3, random: &random)
    }

    private func message(_ arguments: [String], _ environment: [String: String] = [:]) throws -> String {
        let error = #expect(throws: UsageError.self) { try configuration(arguments, environment) }
        return try #require(error).description
    }

    @Test func defaultsAreThoseOfTheContract() throws {
        let configuration = try configuration()
        #expect(configuration.listen.description == "0.0.0.0:8080")
        #expect(configuration.adminListen?.description == "127.0.0.1:9090")
        #expect(configuration.redis.description == "redis://127.0.0.1:6379")
        #expect(configuration.workerCount == 2)
        #expect(configuration.nodeId == "host.example-000000")
        #expect(configuration.heartbeatTimeout == .seconds(30))
        #expect(configuration.heartbeat == .request)
        #expect(configuration.pingInterval == .seconds(25))
        #expect(configuration.tokenTTL == .seconds(3600))
        #expect(configuration.drainTime == .seconds(10))
        #expect(
            configuration.acceptedSocketOptions
                == AcceptedSocketOptions(
                    sendBufferBytes: 64 << 10, userTimeout: .seconds(60), keepAliveTime: .seconds(30)))
        #expect(configuration.drainDelay == .zero)
        #expect(configuration.maximumConnectionsPerAddress == nil)
        #expect(configuration.handshakeRate == nil)
        #expect(configuration.tokenRatePerAddress == nil)
        #expect(configuration.maximumHeaderBytes == 8192)
        #expect(configuration.maximumMessageBytes == 65536)
        #expect(configuration.maximumConnectionCount == nil)
        #expect(configuration.maximumQueueBytes == 1 << 20)
        #expect(configuration.maximumPayloadBytes == 16 << 20)
        #expect(configuration.compressionMinimumBytes == nil)
        #expect(configuration.allowedOrigins == .any)
        #expect(configuration.trustedProxies.isEmpty)
        #expect(configuration.issueKeys == nil)
        #expect(configuration.prefix.isEmpty)
        #expect(configuration.logLevel == .info)
        #expect(configuration.logFormat == .text)
        #expect(configuration.requestTimeout == .seconds(10))
        #expect(configuration.keepAliveTimeout == .seconds(75))
        #expect(configuration.unsubscribeGrace == .seconds(10))
        #expect(configuration.redisTimeout == .seconds(2))
        #expect(configuration.ioUring == .auto)
        #expect(configuration.hasConsole)
        #expect(configuration.adminKey == nil)
        #expect(configuration.redisSilenceTimeout == .seconds(5))
        #expect(configuration.tellsGaps == false)
    }

    @Test func everyOptionReadsItsVariable() throws {
        let values = [
            "listen": "127.0.0.1:1", "admin-listen": "off", "workers": "2", "node-id": "n1",
            "io-uring": "off", "console": "off", "admin-key": "0123456789abcdef", "admin-hosts": "a.example",
            "redis": "redis://h",
            "redis-password": "p", "redis-password-file": "/f", "prefix": "s:", "redis-timeout": "1s",
            "redis-silence-timeout": "3s",
            "unsubscribe-grace": "0s", "heartbeat-timeout": "2s", "heartbeat": "request",
            "ping-interval": "off", "token-ttl": "7s",
            "unused-token-ttl": "4s", "token-rate": "6",
            "allowed-origins": "http://a",
            "issue-key": "0123456789abcdef,hunter2-hunter2-hunter2",
            "trusted-proxies": "10.0.0.0/8", "maximum-header-bytes": "4KiB", "maximum-message-bytes": "1KiB",
            "maximum-connections": "5", "maximum-queue-bytes": "64KiB", "maximum-payload-bytes": "1MiB",
            "compression": PermessageDeflate.isBuiltIn ? "on" : "off", "compression-minimum-bytes": "1KiB",
            "request-timeout": "1s",
            "maximum-connections-per-address": "7", "handshake-rate": "8", "token-rate-per-address": "9",
            "socket-send-buffer": "auto", "tcp-user-timeout": "0s", "tcp-keep-alive": "1s",
            "drain-delay": "3s",
            "sentinel-password": "s", "gap-notice": "on", "history-age": "1h", "history-cache": "1MiB",
            "keep-alive-timeout": "2s", "drain-time": "0s", "log-level": "debug", "log-format": "json",
        ]
        // These need another URL, which not every build takes.
        let secured = ["redis-ca", "redis-cert", "redis-key", "redis-tls-name", "redis-tls-verify"]
        #expect(Set(values.keys).union(secured) == Set(Configuration.options.map(\.name)))
        var environment: [String: String] = [:]
        for option in Configuration.options {
            environment[option.variables(prefix: "GATEWAY_")[0]] = values[option.name]
        }
        let configuration = try configuration([], environment)
        #expect(configuration.listen.port == 1)
        #expect(configuration.adminListen == nil)
        #expect(!configuration.hasConsole)
        #expect(configuration.adminKey == BearerKey("0123456789abcdef"))
        #expect(configuration.workerCount == 2)
        #expect(configuration.nodeId == "n1")
        #expect(configuration.redis.authArguments == ["p"])
        #expect(configuration.redis.passwordFile?.path == "/f")
        #expect(configuration.prefix == "s:")
        #expect(configuration.historyAge == .seconds(3_600))
        #expect(configuration.historyCacheBytes == 1 << 20)
        #expect(configuration.tokenTTL == .seconds(7))
        #expect(configuration.pingInterval == nil)
        #expect(configuration.unusedTokenTTL == .seconds(4))
        #expect(configuration.tokenRate == 6)
        #expect(configuration.trustedProxies == [CidrBlock("10.0.0.0/8")])
        #expect(configuration.issueKeys == IssueKeys("0123456789abcdef,hunter2-hunter2-hunter2"))
        #expect(!configuration.isIssueKeyInArguments)
        #expect(configuration.maximumConnectionCount == 5)
        #expect(
            configuration.acceptedSocketOptions
                == AcceptedSocketOptions(
                    sendBufferBytes: nil, userTimeout: .zero, keepAliveTime: .seconds(1)))
        #expect(configuration.maximumConnectionsPerAddress == 7)
        #expect(configuration.handshakeRate == 8)
        #expect(configuration.tokenRatePerAddress == 9)
        #expect(configuration.drainDelay == .seconds(3))
        #expect(configuration.logLevel == .debug)
        #expect(configuration.logFormat == .json)
        #expect(configuration.tellsGaps)
        // A wrong text behind any of the variables is found and named.
        for option in Configuration.options where !option.name.hasSuffix("-password") {
            let variable = option.variables(prefix: "GATEWAY_")[0]
            let wrong = environment.merging([variable: "\u{7}"]) { $1 }
            #expect(try message([], wrong).hasPrefix(variable + ": "))
        }
    }

    @Test(.enabled("the build has TLS") { TLSContext.isBuilt }) func optionsOfTLSReadTheirVariables() throws
    {
        var environment = [
            "GATEWAY_REDIS": "rediss://h", "GATEWAY_REDIS_TLS_VERIFY": "off",
            "GATEWAY_REDIS_TLS_NAME": "a.example",
        ]
        let configuration = try configuration([], environment)
        #expect(configuration.redis.isTLS && configuration.redis.trustsAnyone)
        for name in ["GATEWAY_REDIS_CA", "GATEWAY_REDIS_CERT"] {
            #expect(
                try message([], environment.merging([name: "/none"]) { $1 }).hasPrefix("cannot read /none: ")
            )
        }
        environment["GATEWAY_REDIS_KEY"] = "/none"
        #expect(try message([], environment) == "GATEWAY_REDIS_KEY: expected only with --redis-cert")
    }

    @Test func tokensOutliveTheHeartbeatByFiveSeconds() throws {
        #expect(try configuration(["--token-ttl", "35s"]).tokenTTL == .seconds(35))
        #expect(
            try message(["--token-ttl", "34s"])
                == "--token-ttl: 34s is too short for --heartbeat-timeout 30s, expected at least 35s")
        let variable = try message([], ["GATEWAY_HEARTBEAT_TIMEOUT": "1h"])
        #expect(variable.contains("GATEWAY_HEARTBEAT_TIMEOUT 1h"))
        #expect(try message(["--token-ttl", "60500ms"]).contains("whole seconds"))
        #expect(try configuration(["--token-ttl", "720h"]).tokenTTL == .seconds(2_592_000))
        #expect(try message(["--token-ttl", "721h"]).hasPrefix("--token-ttl: "))
    }

    @Test func answersToPingsComeBeforeTheTimeout() throws {
        #expect(try configuration(["--heartbeat", "pong"]).heartbeat == .pong)
        #expect(
            try configuration(["--heartbeat", "pong", "--ping-interval", "28s"]).pingInterval == .seconds(28)
        )
        #expect(
            try message(["--heartbeat", "pong", "--ping-interval", "28001ms"])
                == "--ping-interval: 28001ms is too long for --heartbeat pong and --heartbeat-timeout 30s, "
                + "expected at most 28s")
        #expect(
            try message(["--ping-interval", "off"], ["GATEWAY_HEARTBEAT": "pong"])
                == "--ping-interval: off leaves no heartbeats for GATEWAY_HEARTBEAT pong and "
                + "--heartbeat-timeout 30s, expected at most 28s")
        #expect(
            try message(["--heartbeat", "pong", "--heartbeat-timeout", "2999ms", "--ping-interval", "1s"])
                == "--heartbeat-timeout: 2999ms is too short for --heartbeat pong, expected at least 3s")
        #expect(
            try configuration(["--heartbeat", "pong", "--heartbeat-timeout", "3s", "--ping-interval", "1s"])
                .pingInterval == .seconds(1))
        // Requests have nothing to do with Pings.
        for interval in ["29s", "1h"] { _ = try configuration(["--ping-interval", interval]) }
        for wrong in ["999ms", "61m", "on", "0s", "25"] {
            #expect(try message(["--ping-interval", wrong]).hasPrefix("--ping-interval: "))
        }
        #expect(try message(["--heartbeat", "ping"]).hasPrefix("--heartbeat: "))
    }

    @Test func unusedTokensLiveNoLongerThanOthers() throws {
        #expect(try configuration([]).unusedTokenTTL == .seconds(600))
        #expect(try configuration(["--token-ttl", "60s"]).unusedTokenTTL == .seconds(60))
        #expect(try configuration(["--unused-token-ttl", "2h"]).unusedTokenTTL == .seconds(3_600))
        #expect(try message(["--unused-token-ttl", "1500ms"]).contains("whole seconds"))
        #expect(try message(["--unused-token-ttl", "0s"]).hasPrefix("--unused-token-ttl: "))
    }

    @Test func tokensAreLimitedUnlessTheRateIsZero() throws {
        #expect(try configuration([]).tokenRate == 2_000)
        #expect(try configuration(["--token-rate", "0"]).tokenRate == nil)
        #expect(try message(["--token-rate", "-1"]).hasPrefix("--token-rate: "))
    }

    /// All that such a node publishes would reach clients of an installation without a prefix.
    @Test func prefixThatMakesEverythingARoomIsRefused() throws {
        // The name of a room's history has only one `room:`.
        for prefix in ["room:", "room:a:", "a:room:", "a-room:"] {
            #expect(try message(["--prefix", prefix]).hasPrefix("--prefix: "))
        }
        for prefix in ["room", "rooms:", "Room:", "a:rooms:", "gateway:", ""] {
            #expect(try configuration(["--prefix", prefix]).prefix == prefix)
        }
    }

    @Test func passwordOnTheCommandLineIsMarked() throws {
        #expect(try configuration(["--redis", "redis://:pw@h"]).isRedisPasswordInArguments)
        #expect(try !configuration(["--redis", "redis://h"]).isRedisPasswordInArguments)
        #expect(try !configuration([], ["REDIS_URL": "redis://:pw@h"]).isRedisPasswordInArguments)
        let apart = try configuration(["--redis", "redis://u:old@h"], ["REDIS_PASSWORD": "new"])
        #expect(apart.redis.authArguments == ["u", "new"])
        #expect(apart.isRedisPasswordInArguments)
    }

    @Test func sentinelsTakeTheirPasswordFromTheEnvironment() throws {
        let apart = try configuration(
            ["--redis", "sentinel://u:old@h/m"],
            ["GATEWAY_REDIS_PASSWORD": "new", "GATEWAY_SENTINEL_PASSWORD": "hunter2"])
        #expect(apart.redis.authArguments == ["u", "new"])
        guard case .master(let sentinels) = apart.redis.route else {
            Issue.record("\(apart.redis)")
            return
        }
        #expect(sentinels.password == "hunter2")
        #expect(!"\(apart)".contains("hunter2"))
        #expect(try !message(["--sentinel-password", "hunter2"]).contains("hunter2"))
    }

    @Test(.enabled(if: PermessageDeflate.isBuiltIn, "built without the package trait Compression"))
    func smallestCompressedPayloadIsASizeOrANumber() throws {
        #expect(try configuration(["--compression", "on"]).compressionMinimumBytes == 256)
        #expect(try configuration(["--compression-minimum-bytes", "9B"]).compressionMinimumBytes == nil)
        for (text, bytes) in [
            ("256", 256), ("1", 1), ("2KiB", 2048), ("1MiB", 1 << 20), ("1048576", 1 << 20),
        ] {
            let options = ["--compression", "on", "--compression-minimum-bytes", text]
            #expect(try configuration(options).compressionMinimumBytes == bytes)
        }
        for text in ["0", "1048577", "2MiB", "", "-1", "1 ", "x", "٣"] {
            #expect(try message(["--compression-minimum-bytes", text]).contains("or a number of bytes"))
        }
    }

    @Test(.enabled(if: !PermessageDeflate.isBuiltIn, "built with the package trait Compression"))
    func compressionThatIsNotBuiltInIsRefused() throws {
        #expect(
            try message(["--compression", "on"])
                == "--compression: this gateway is built without zlib, expected a build with the package trait "
                + "Compression")
        #expect(try message([], ["GATEWAY_COMPRESSION": "on"]).hasPrefix("GATEWAY_COMPRESSION: "))
        #expect(try configuration(["--compression", "off"]).compressionMinimumBytes == nil)
    }

    @Test func passwordsAreInNoMessage() throws {
        #expect(try !message(["--redis", "redis://:hunter2@h:x"]).contains("hunter2"))
        #expect(try !message(["--redis-password", "hunter2"]).contains("hunter2"))
        #expect(try !message(["--redis-password=hunter2"]).contains("hunter2"))
        #expect(try !message(["--issue-key", "hunter2"]).contains("hunter2"))
        let issueKey = "hunter2-hunter2-hunter2"
        let configuration = try configuration(["--redis", "redis://:hunter2@h", "--issue-key", issueKey])
        #expect(configuration.isIssueKeyInArguments)
        #expect(!"\(configuration)".contains("hunter2"))
    }

    @Test func nodeIdsAreCleanAndBounded() throws {
        var random = FixedGenerator()
        let long = Configuration.defaultNodeId(hostName: String(repeating: "h", count: 99), random: &random)
        #expect(long == String(repeating: "h", count: 57) + "-000000")
        #expect(Configuration.defaultNodeId(hostName: "a b/c", random: &random) == "a-b-c-000000")
        #expect(Configuration.defaultNodeId(hostName: "", random: &random) == "node-000000")
        #expect(try configuration(["--node-id", String(repeating: "n", count: 64)]).nodeId.count == 64)
        for wrong in [String(repeating: "n", count: 65), "a b", "a:b", "é"] {
            #expect(try message(["--node-id", wrong]).hasPrefix("--node-id: "))
        }
    }

    @Test func originsAreComparedInOneForm() throws {
        let origins = try configuration([
            "--allowed-origins", "https://A.example, http://localhost:3000,http://b:80",
        ])
        .allowedOrigins
        for origin in ["https://a.example", "https://A.EXAMPLE:443", "http://localhost:3000", "http://b"] {
            #expect(origins.allows(origin), "\(origin)")
        }
        for origin in [
            "http://a.example", "https://a.example:444", "https://b.a.example", "http://localhost", "null",
            "",
            "https://a.example/", "https://a.example.evil", "https://user@a.example",
        ] {
            #expect(!origins.allows(origin), "\(origin)")
        }
        #expect(AllowedOrigins.any.allows("null"))
        #expect(
            try configuration(["--allowed-origins", "http://[::1]:80"]).allowedOrigins.allows("http://[::1]")
        )
        for wrong in ["a.example", "https://", "https://a/b", "*,https://a", ","] {
            #expect(try message(["--allowed-origins", wrong]).hasPrefix("--allowed-origins: "))
        }
    }

    private func origins(_ list: String) throws -> AllowedOrigins {
        try configuration(["--allowed-origins", list]).allowedOrigins
    }

    @Test func starStandsForALabelOrMore() throws {
        let origins = try origins("https://*.Example.com,http://*.dev.test:8080, https://exact.example")
        for origin in [
            "https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.com:443",
            "https://xn--a.example.com",
            "http://x.dev.test:8080", "https://exact.example",
        ] {
            #expect(origins.allows(origin), "\(origin)")
        }
        for origin in [
            "https://example.com", "https://.example.com", "https://a..example.com", "https://aexample.com",
            "http://a.example.com", "https://a.example.com:444", "https://a.example.com.evil.test",
            "https://evil.test/.example.com", "https://evil.test?.example.com",
            "https://evil.test#.example.com",
            "https://evil.test:1.example.com", "https://u@a.example.com", "https://*.example.com",
            "https://a.exact.example",
            "http://x.dev.test", "http://dev.test:8080", "null", "https://evil.test\\.example.com",
        ] {
            #expect(!origins.allows(origin), "\(origin)")
        }
    }

    @Test func filesSandboxesAndApplicationsAreAllowedByName() throws {
        #expect(try origins("null").allows("null"))
        #expect(try !origins("null").allows("file://"))
        #expect(try origins("file://").allows("file://"))
        #expect(try !origins("file://").allows("null"))
        let one = try origins(
            "app://host, capacitor://localhost,chrome-extension://abcdefghijklmnop,app://-:12")
        for origin in [
            "app://host", "APP://Host", "capacitor://localhost", "chrome-extension://abcdefghijklmnop",
            "app://-:12",
        ] {
            #expect(one.allows(origin), "\(origin)")
        }
        for origin in [
            "app://", "app://other", "app://host:1", "app://-", "capacitor://", "chrome-extension://other",
            "null",
        ] {
            #expect(!one.allows(origin), "\(origin)")
        }
        let scheme = try origins("app://")
        for origin in ["app://", "app://host", "app://-", "app://.", "APP://x:1"] {
            #expect(scheme.allows(origin), "\(origin)")
        }
        for origin in [
            "apps://host", "https://app", "app:host", "app:///", "app://a/b", "app://a b", "null", "",
        ] {
            #expect(!scheme.allows(origin), "\(origin)")
        }
    }

    @Test(arguments: [
        "https://", "http://", "wss://", "https://*", "https://*.", "https://*.*.a", "https://a.*.b",
        "*.example.com",
        "https://*a.example", "https://*.1.2.3.4", "https://*.[::1]", "https://*.a/", "https://*.a:0x1",
        "Null", "any",
        "app:", "app:/", "app:///", "://", "1app://", "app://a/b", "app://a:b", "app://*", "https://a b",
        "https://é.example",
        "https://a.example/,null",
    ])
    func otherOriginsAreRefusedAtStart(wrong: String) throws {
        let message = try message(["--allowed-origins", wrong])
        #expect(
            message.hasPrefix(
                "--allowed-origins: invalid value \"\(wrong)\", expected * or a comma-separated list"))
    }

    @Test func logLevelsAreOrdered() {
        #expect(LogLevel.allCases.sorted() == [.debug, .info, .warning, .error])
    }

    @Test func helpListsEveryOption() {
        let help = Configuration.program.helpText
        for option in Configuration.options {
            #expect(help.contains(option.variables(prefix: "GATEWAY_")[0]))
        }
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func thisProcessHasAConfiguration() throws {
        guard case .run(let configuration) = try Configuration.read([], environment: { _ in nil }) else {
            Issue.record("printed")
            return
        }
        #expect((1...64).contains(configuration.workerCount))
        #expect((8...64).contains(configuration.nodeId.utf8.count))
    }
}
