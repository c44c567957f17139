// The settings of one node: read once from the command line and the environment, checked, and never changed.
// `ConfigurationOptions.swift` declares the options and gives the reasons for their defaults.

import EventLoop
import Glibc
import Network
import Options
import Redis
import RedisOptions
import RedisSchema
import System
import WebSocket

/// Whether a turn's writes are handed to the kernel together.
enum IoUringUse: String, CaseIterable, Sendable {
    /// Where the kernel allows it.
    case auto
    case off
}

/// What counts as the heartbeat of a client.
enum HeartbeatKind: String, CaseIterable, Sendable {
    /// `GET /heartbeat`.
    case request
    /// The Pong that answers the node's Ping, and `GET /heartbeat`.
    case pong
}

/// The settings of a node.
struct Configuration: Sendable {
    /// Where clients connect.
    let listen: Endpoint
    /// With the passwords of GATEWAY_REDIS_PASSWORD, in place of the URL's, and GATEWAY_SENTINEL_PASSWORD,
    /// when they are set.
    let redis: RedisURL
    /// The password came with `--redis` and stands in the process's arguments, where `ps` shows it until it
    /// is scrubbed.
    let isRedisPasswordInArguments: Bool
    /// Worker threads, 1...64.
    let workerCount: Int
    let ioUring: IoUringUse
    /// Unique among the nodes of one Redis: 1...64 characters of `A-Z a-z 0-9 . _ -`.
    let nodeId: String
    /// A connection without heartbeat for this long is closed.
    let heartbeatTimeout: Duration
    let heartbeat: HeartbeatKind
    /// A WebSocket on which nothing was sent for this long gets a Ping, and an event stream a comment; nil
    /// sends none. With heartbeats by Pong a WebSocket gets one every interval, which is then at least
    /// `Limits.pingAnswerTime` shorter than `heartbeatTimeout`.
    let pingInterval: Duration?
    /// Life of a token after its last heartbeat; whole seconds.
    let tokenTTL: Duration
    /// Life of a token until its first handshake or heartbeat; whole seconds, at most `tokenTTL`.
    let unusedTokenTTL: Duration
    /// Where the node serves metrics and readiness; nil turns that off.
    let adminListen: Endpoint?
    /// The host names that requests to the admin listener may use.
    let adminHosts: AdminHosts
    /// How long after readiness is off a drain begins.
    let drainDelay: Duration
    /// Whether the admin listener has the console.
    let hasConsole: Bool
    /// The key that publishing, watching and revoking through the console needs; nil turns them off.
    let adminKey: BearerKey?
    /// The admin key came with `--admin-key`, where `ps` shows it until it is scrubbed.
    let isAdminKeyInArguments: Bool
    /// How long a drain spreads the closing of connections.
    let drainTime: Duration
    /// The node answers a larger request head with 431.
    let maximumHeaderBytes: Int
    /// The node closes a client that sends a larger message with 1009.
    let maximumMessageBytes: Int
    /// Connections of the whole node; nil computes the number from the descriptor limit.
    let maximumConnectionCount: Int?
    /// The node closes a client whose backlog passes this with 1013.
    let maximumQueueBytes: Int
    /// No one receives a published payload over this.
    let maximumPayloadBytes: Int
    /// From this size on payloads go compressed to the clients that negotiate it; nil turns compression off.
    let compressionMinimumBytes: Int?
    /// The keys of which a request for a token needs one; nil issues tokens to anyone.
    let issueKeys: IssueKeys?
    /// The issue key came with `--issue-key`, where `ps` shows it until it is scrubbed.
    let isIssueKeyInArguments: Bool
    /// Connections of one client address; nil is no limit.
    let maximumConnectionsPerAddress: Int?
    /// Handshakes a second of the whole node; nil is no limit.
    let handshakeRate: Int?
    /// Tokens a second for one client address; nil is no limit.
    let tokenRatePerAddress: Int?
    /// Tokens a second of the whole node; nil is no limit.
    let tokenRate: Int?
    /// What the sockets of clients inherit from their listener.
    let acceptedSocketOptions: AcceptedSocketOptions
    let allowedOrigins: AllowedOrigins
    /// Peers whose `X-Forwarded-For` the node trusts.
    let trustedProxies: [CidrBlock]
    /// In front of every channel and key in Redis.
    let prefix: String
    let logLevel: LogLevel
    let logFormat: LogFormat
    /// Time to send a whole request head.
    let requestTimeout: Duration
    /// Time between two requests of one connection.
    let keepAliveTimeout: Duration
    /// How long a room without clients stays subscribed.
    let unsubscribeGrace: Duration
    /// Longest wait of a request for Redis.
    let redisTimeout: Duration
    /// The node gives up a connection to Redis that has sent nothing for this long.
    let redisSilenceTimeout: Duration
    /// Whether clients get a notice when they may have missed messages.
    let tellsGaps: Bool
    /// The shortest life of a room's history behind its last notice.
    let historyAge: Duration
    /// Memory for the recent notices of durable rooms.
    let historyCacheBytes: Int

    /// The outcome of reading the command line.
    enum Request {
        case run(Configuration)
        /// To print this text to stdout and exit with 0.
        case print(String)
    }

    /// Reads this process's command line and environment.
    ///
    /// - Parameter arguments: without the program's own name.
    /// - Throws: `UsageError`: one line for stderr, exit 2.
    static func read(
        _ arguments: [String],
        environment: (String) throws(UsageError) -> String? = ProcessEnvironment.text(of:)
    ) throws(UsageError) -> Request {
        switch try program.parse(arguments, environment: environment) {
        case .print(let text):
            return .print(text)
        case .run(let values):
            var random = RandomPool()
            return .run(
                try Configuration(
                    values, hostName: hostName(), coreCount: AvailableCores.count(), random: &random))
        }
    }

    /// Reads and checks the values of `Configuration.options`.
    ///
    /// - Parameters:
    ///   - hostName: the begin of the default node id.
    ///   - coreCount: of which the default number of workers leaves one to the feed.
    ///   - random: the end of the default node id.
    /// - Throws: `UsageError`, one line that names the option or the variable.
    init(
        _ values: OptionValues, hostName: String, coreCount: Int, random: inout some RandomNumberGenerator
    ) throws(UsageError) {
        listen = try values.value("listen", ListenConverter())
        let url = try values.value("redis", Self.redisURLConverter)
        let password = try values.optional("redis-password", Self.passwordConverter)
        let sentinelPassword = try values.optional("sentinel-password", Self.passwordConverter)
        let passwordFile = try values.optional("redis-password-file", RedisFile.path)
        redis = try RedisTLSOptions.secure(
            url.overriding(password: password).withSentinelPassword(sentinelPassword)
                .withPasswordFile(passwordFile), by: values)
        isRedisPasswordInArguments = values.origin(of: "redis") == .commandLine && url.password != nil
        workerCount =
            try values.optional("workers", IntegerConverter(1...Limits.workerCount))
            ?? min(max(coreCount - 1, 1), Limits.workerCount)
        ioUring = try values.value("io-uring", ChoiceConverter(IoUringUse.self))
        nodeId =
            try values.optional("node-id", Self.nodeIdConverter)
            ?? Self.defaultNodeId(hostName: hostName, random: &random)
        prefix = try values.value("prefix", Self.prefixConverter)
        try RedisPrefix.check(prefix, with: [redis], by: values)
        unsubscribeGrace = try values.value("unsubscribe-grace", DurationConverter(.zero ... .seconds(3600)))
        redisTimeout = try values.value(
            "redis-timeout", DurationConverter(Limits.shortestRedisTimeout...Limits.longestRedisTimeout))
        redisSilenceTimeout = try values.value(
            "redis-silence-timeout", DurationConverter(.seconds(1) ... .seconds(60)))
        tellsGaps = try values.value("gap-notice", SwitchConverter())
        historyAge = try values.value(
            "history-age", DurationConverter(.seconds(600) ... .seconds(2_592_000)))
        historyCacheBytes = try values.value("history-cache", ByteSizeConverter(64 << 10...64 << 30))
        (heartbeatTimeout, tokenTTL) = try Self.heartbeat(values)
        (heartbeat, pingInterval) = try Self.pings(values, timeout: heartbeatTimeout)
        unusedTokenTTL = min(try Self.unusedTokenTTL(values), tokenTTL)
        drainTime = try values.value("drain-time", DurationConverter(.zero ... .seconds(3600)))
        drainDelay = try values.value("drain-delay", DurationConverter(.zero ... .seconds(3600)))
        acceptedSocketOptions = AcceptedSocketOptions(
            sendBufferBytes: try values.value("socket-send-buffer", Self.sendBufferConverter),
            userTimeout: try values.value("tcp-user-timeout", DurationConverter(.zero ... .seconds(3600))),
            keepAliveTime: try values.value(
                "tcp-keep-alive", DurationConverter(.seconds(1) ... .seconds(7200))))
        maximumConnectionsPerAddress = try values.optional(
            "maximum-connections-per-address", IntegerConverter(1...10_000_000))
        handshakeRate = try values.optional("handshake-rate", IntegerConverter(1...1_000_000))
        tokenRatePerAddress = try values.optional("token-rate-per-address", IntegerConverter(1...1_000_000))
        let tokensPerSecond = try values.value("token-rate", IntegerConverter(0...1_000_000))
        tokenRate = tokensPerSecond == 0 ? nil : tokensPerSecond
        adminListen = try values.value("admin-listen", Self.adminConverter)
        adminHosts = try values.value("admin-hosts", AdminHosts.converter)
        hasConsole = try values.value("console", SwitchConverter())
        adminKey = try values.optional(
            "admin-key", TextConverter(expected: BearerKey.form) { BearerKey($0) })
        isAdminKeyInArguments = values.origin(of: "admin-key") == .commandLine
        maximumHeaderBytes = try values.value("maximum-header-bytes", ByteSizeConverter(1 << 10...1 << 20))
        maximumMessageBytes = try values.value("maximum-message-bytes", ByteSizeConverter(125...64 << 20))
        maximumConnectionCount = try values.optional("maximum-connections", IntegerConverter(1...10_000_000))
        maximumPayloadBytes = try values.value(
            "maximum-payload-bytes", ByteSizeConverter(1 << 10...512 << 20))
        maximumQueueBytes = try values.value("maximum-queue-bytes", ByteSizeConverter(4 << 10...1 << 30))
        compressionMinimumBytes = try Self.compression(values)
        requestTimeout = try values.value(
            "request-timeout", DurationConverter(.milliseconds(100) ... .seconds(300)))
        keepAliveTimeout = try values.value(
            "keep-alive-timeout", DurationConverter(.seconds(1) ... .seconds(3600)))
        issueKeys = try values.optional(
            "issue-key", TextConverter(expected: IssueKeys.form) { IssueKeys($0) })
        isIssueKeyInArguments = values.origin(of: "issue-key") == .commandLine
        allowedOrigins = try values.value("allowed-origins", AllowedOrigins.converter)
        trustedProxies = try values.value("trusted-proxies", ListConverter(CidrConverter()))
        logLevel = try values.value("log-level", ChoiceConverter(LogLevel.self))
        logFormat = try values.value("log-format", ChoiceConverter(LogFormat.self))
    }

    /// Both clocks of a token, checked against each other: a token that died with its last heartbeat's
    /// deadline would turn every slow beat into a token error instead of a close with 4000.
    private static func heartbeat(_ values: OptionValues) throws(UsageError) -> (
        timeout: Duration, ttl: Duration
    ) {
        let timeout = try values.value(
            "heartbeat-timeout", DurationConverter(.seconds(1) ... .seconds(3600)))
        let ttl = try values.value(
            "token-ttl", DurationConverter(.seconds(6) ... .seconds(Limits.recordLifeSeconds)))
        let origin = values.originText("token-ttl")
        guard ttl.isWholeSeconds else {
            throw UsageError("\(origin): \(ttl.optionText) has a part of a second, expected whole seconds")
        }
        guard ttl >= timeout + Limits.tokenLifeMargin else {
            throw UsageError(
                "\(origin): \(ttl.optionText) is too short for \(values.originText("heartbeat-timeout")) "
                    + "\(timeout.optionText), expected at least \((timeout + Limits.tokenLifeMargin).optionText)"
            )
        }
        return (timeout, ttl)
    }

    /// The heartbeats' kind and the Pings, checked against the timeout: the answer to the last Ping before
    /// it must be able to come.
    private static func pings(_ values: OptionValues, timeout: Duration) throws(UsageError) -> (
        heartbeat: HeartbeatKind, interval: Duration?
    ) {
        let heartbeat = try values.value("heartbeat", ChoiceConverter(HeartbeatKind.self))
        let interval = try values.value("ping-interval", Self.pingConverter)
        guard heartbeat == .pong else { return (heartbeat, interval) }
        let longest = timeout - Limits.pingAnswerTime
        let reason = "\(values.originText("heartbeat")) pong"
        guard longest >= Limits.shortestPingInterval else {
            let least = Limits.shortestPingInterval + Limits.pingAnswerTime
            throw UsageError(
                "\(values.originText("heartbeat-timeout")): \(timeout.optionText) is too short for "
                    + "\(reason), expected at least \(least.optionText)")
        }
        guard let interval, interval <= longest else {
            let fault = interval.map { "\($0.optionText) is too long" } ?? "off leaves no heartbeats"
            throw UsageError(
                "\(values.originText("ping-interval")): \(fault) for \(reason) and "
                    + "\(values.originText("heartbeat-timeout")) \(timeout.optionText), "
                    + "expected at most \(longest.optionText)")
        }
        return (heartbeat, interval)
    }

    private static func unusedTokenTTL(_ values: OptionValues) throws(UsageError) -> Duration {
        let ttl = try values.value(
            "unused-token-ttl", DurationConverter(.seconds(1) ... .seconds(Limits.recordLifeSeconds)))
        guard ttl.isWholeSeconds else {
            let origin = values.originText("unused-token-ttl")
            throw UsageError("\(origin): \(ttl.optionText) has a part of a second, expected whole seconds")
        }
        return ttl
    }

    private static func compression(_ values: OptionValues) throws(UsageError) -> Int? {
        let minimumBytes = try values.value("compression-minimum-bytes", compressionSizeConverter)
        guard try values.value("compression", SwitchConverter()) else { return nil }
        guard PermessageDeflate.isBuiltIn else {
            throw UsageError(
                "\(values.originText("compression")): this gateway is \(PermessageDeflate.absence)")
        }
        return minimumBytes
    }

    /// The kernel's host name; "node" in the unlikely case that it has none.
    static func hostName() -> String {
        // HOST_NAME_MAX is 64 on Linux; the last byte stays zero whatever gethostname writes.
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "node" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The host's name, clipped and cleaned, and six hex digits, because containers and test nodes share
    /// host names.
    static func defaultNodeId(hostName: String, random: inout some RandomNumberGenerator) -> String {
        let host = hostName.utf8.prefix(57).map {
            NodeReport.isNodeIdByte($0) ? Character(UnicodeScalar($0)) : "-"
        }
        let digits = (0..<6).map { _ in
            String(UInt8.random(in: 0..<16, using: &random), radix: 16)
        }
        return (host.isEmpty ? "node" : String(host)) + "-" + digits.joined()
    }

    private static let nodeIdConverter = TextConverter(expected: "1 to 64 characters of A-Z a-z 0-9 . _ -") {
        text in
        NodeReport.isNodeId(text.utf8) ? text : nil
    }

    private static let prefixConverter = TextConverter(expected: Channels.prefixForm) { text in
        Channels.isPrefix(text) ? text : nil
    }

    private static let passwordConverter = TextConverter(expected: "a password") { $0 }

    private static let redisURLConverter = CheckedConverter(expected: RedisURL.expectedForm) {
        text throws(ValueFault) in
        do throws(RedisURLError) { return try RedisURL(text) } catch { throw ValueFault(error.reason) }
    }

    private static let sendBufferSizes = ByteSizeConverter(4 << 10...64 << 20)

    private static let sendBufferConverter = TextConverter(expected: sendBufferSizes.expected + " or auto") {
        text -> Int?? in
        if text == "auto" { return .some(nil) }
        return sendBufferSizes.value(of: text).map { .some($0) }
    }

    private static let pingIntervals = DurationConverter(Limits.shortestPingInterval ... .seconds(3600))

    private static let pingConverter = TextConverter(expected: pingIntervals.expected + " or off") {
        text -> Duration?? in
        if text == "off" { return .some(nil) }
        return pingIntervals.value(of: text).map { .some($0) }
    }

    private static let compressionSizes = ByteSizeConverter(1...Limits.compressedPayloadBytes)

    /// The option's name says the unit.
    private static let compressionSizeConverter = TextConverter(
        expected: compressionSizes.expected + " or a number of bytes"
    ) { text in
        compressionSizes.value(of: text.allSatisfy(\.isNumber) ? text + "B" : text)
    }

    private static let adminConverter = TextConverter(expected: ListenConverter().expected + " or off") {
        text -> Endpoint?? in
        if text == "off" { return .some(nil) }
        return ListenConverter().value(of: text).map { .some($0) }
    }
}
