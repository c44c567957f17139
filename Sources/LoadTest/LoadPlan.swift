// What one call of the load test is to do: the options, checked against each other. Pure.

import Network
import Options
import Redis
import RedisOptions
import RedisSchema
import System
import WebSocket

/// A checked call.
struct LoadPlan: Sendable {
    /// How clients get in.
    enum TokenRule: String, CaseIterable, Codable, Sendable { case gateway, none }

    /// How notices come to the clients; mixed: to every other one as an event stream.
    enum TransportRule: String, CaseIterable, Codable, Sendable { case websocket, events, mixed }

    /// Over what beats go.
    enum HeartbeatConnections: String, CaseIterable, Codable, Sendable { case shared, own }

    /// What sets the pace of publishing.
    enum Pace: Equatable, Sendable {
        /// Nothing is published.
        case idle
        /// Messages a second.
        case rate(Double)
        /// The most messages in flight.
        case window(Int)
    }

    /// Where messages go.
    enum Target: Sendable {
        case redis(RedisURL, Channels)
        /// With the prefix of all keys and channels.
        case durable(RedisURL, prefix: String)
        case http(HttpPublishURL)
    }

    /// What the load processes need to know.
    struct Load: Codable, Sendable {
        /// HOST:PORT.
        var gateways: [String]
        /// Where clients go whose gateway is gone; empty: they stay away.
        var failover: [String]
        var tokenRule: TokenRule
        /// What requests for tokens show; nil for nothing.
        var issueKey: String?
        var transport: TransportRule
        /// What WebSockets ask for: `/ws`; with `tokenRule` none what all clients ask for, with `{room}` in it.
        var path: String
        var assignment: RoomAssignment
        var payloadBytes: Int
        /// Whether notices are durable, and clients resume.
        var isDurable: Bool
        /// Whether clients ask for compression, and do without a gateway that declines it.
        var isCompressed: Bool
        /// 0 when publishing does not wait for receivers.
        var window: Int
        var connectRate: Int
        var hasHeartbeats: Bool
        var heartbeatConnections: HeartbeatConnections
        var slowCount: Int
        var churnRate: Int
        var settleMilliseconds: Int64
    }

    let load: Load
    let clientCount: Int
    let processCount: Int
    let pace: Pace
    let target: Target
    let messageCount: Int?
    let warmup: Duration
    let duration: Duration
    let settle: Duration
    let pids: [Int]
    let isJson: Bool
    let isQuiet: Bool

    /// Whether the certificate of Redis is not checked.
    var trustsAnyone: Bool {
        switch target {
        case .redis(let url, _), .durable(let url, prefix: _): url.trustsAnyone
        case .http: false
        }
    }

    /// One process holds this many connections unless an option says otherwise.
    static let connectionsPerProcess = 15_000
    /// Descriptors of a load process that are no clients: requests, pipes, the loop's own.
    static let reservedDescriptorCount = 128
    /// Bounds the memory of a window's counters.
    private static let maximumWindowSlots = 16 << 20

    /// Checks the options.
    ///
    /// - Parameter descriptorLimit: open descriptors that one process may have.
    /// - Throws: `UsageError`, one line that names the option.
    init(_ values: OptionValues, descriptorLimit: Int) throws(UsageError) {
        clientCount = try values.value("clients", IntegerConverter(1...1_000_000))
        let processes = try values.optional("processes", IntegerConverter(1...64))
        pace = try Self.pace(values)
        load = try Self.load(values, pace: pace)
        let connectionCount = clientCount * load.connectionsPerClient
        let enough = (connectionCount + Self.connectionsPerProcess - 1) / Self.connectionsPerProcess
        processCount = processes ?? enough
        target = try Self.target(values)
        messageCount = try values.optional("messages", IntegerConverter(1...1_000_000_000))
        warmup = try values.value("warmup", DurationConverter(.zero ... .seconds(3600)))
        duration = try values.value("duration", DurationConverter(.milliseconds(100) ... .seconds(86_400)))
        settle = .milliseconds(load.settleMilliseconds)
        pids = try values.value("pids", ListConverter(IntegerConverter(1...Int(Int32.max))))
        isJson = try values.flag("json")
        isQuiet = try values.flag("quiet")
        try checkCounts(descriptorLimit)
    }

    private func checkCounts(_ descriptorLimit: Int) throws(UsageError) {
        let connectionsPerClient = load.connectionsPerClient
        let share = (clientCount + processCount - 1) / processCount
        let needed = share * connectionsPerClient + Self.reservedDescriptorCount
        guard needed <= descriptorLimit else {
            let available = max(1, (descriptorLimit - Self.reservedDescriptorCount) / connectionsPerClient)
            let enough = (clientCount + available - 1) / available
            throw UsageError(
                "--clients: \(clientCount) in \(processCount) processes need "
                    + "\(needed) descriptors each and the limit is "
                    + "\(descriptorLimit), expected --processes \(enough) or more "
                    + "(or a higher limit: ulimit -n)")
        }
        guard load.assignment.roomCount >= load.assignment.roomsPerClient else {
            throw UsageError("--rooms-per-client: 2 needs two rooms, expected --rooms 2 or more")
        }
        guard load.slowCount < clientCount else {
            throw UsageError(
                "--slow: \(load.slowCount) leaves no client that reads, expected less than --clients")
        }
        if case .window(let window) = pace {
            guard load.churnRate == 0, load.failover.isEmpty else {
                throw UsageError(
                    "--window: cannot stand with --churn or --failover, which change who has to receive a "
                        + "message, expected --rate with them")
            }
            guard window * load.assignment.roomCount <= Self.maximumWindowSlots else {
                throw UsageError(
                    "--window: times --rooms is too large, expected at most \(Self.maximumWindowSlots)")
            }
        }
        guard messageCount == nil || pace != .idle else {
            throw UsageError("--messages: nothing is published, expected --rate or --window with it")
        }
    }

    private static func pace(_ values: OptionValues) throws(UsageError) -> Pace {
        let rate = try values.optional("rate", rateConverter)
        let window = try values.optional("window", IntegerConverter(1...65_536))
        switch (rate, window) {
        case (nil, nil): return .idle
        case (let rate?, nil): return .rate(rate)
        case (nil, let window?): return .window(window)
        default: throw UsageError("--window: cannot stand with --rate, expected one of them")
        }
    }

    /// Digits with or without a fraction: what else `Double` reads (exponents, `nan`) is no rate.
    private static let rateConverter = TextConverter(expected: "a number from 0.01 to 1000000") {
        (text: String) -> Double? in
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }), let rate = Double(text),
            (0.01...1_000_000).contains(rate)
        else { return nil }
        return rate
    }

    private static func load(_ values: OptionValues, pace: Pace) throws(UsageError) -> Load {
        guard let gateways = try values.optional("gateway", ListConverter(EndpointConverter())),
            !gateways.isEmpty
        else { throw UsageError("--gateway: missing, expected --gateway HOST:PORT") }
        let tokenRule = try values.value("token", ChoiceConverter(TokenRule.self))
        let isDurable = try values.flag("durable")
        guard !isDurable || tokenRule == .gateway else {
            throw UsageError("--durable: cannot stand with --token none, expected a Roomcast gateway")
        }
        var window = 0
        if case .window(let count) = pace { window = count }
        let hasHeartbeats = try values.value("heartbeats", SwitchConverter()) && tokenRule == .gateway
        let heartbeatConnections = try values.value(
            "heartbeat-connections", ChoiceConverter(HeartbeatConnections.self))
        guard hasHeartbeats || heartbeatConnections == .shared else {
            throw UsageError(
                "--heartbeat-connections: there are no heartbeats, expected shared with --heartbeats off "
                    + "or --token none")
        }
        return Load(
            gateways: gateways.map(\.description),
            failover: try values.value("failover", ListConverter(EndpointConverter())).map(\.description),
            tokenRule: tokenRule,
            issueKey: try issueKey(values, tokenRule),
            transport: try values.value("transport", ChoiceConverter(TransportRule.self)),
            path: try path(values, tokenRule),
            assignment: RoomAssignment(
                roomCount: try values.value("rooms", IntegerConverter(1...1_000_000)),
                roomsPerClient: try values.value("rooms-per-client", IntegerConverter(1...2))),
            payloadBytes: try values.value(
                "payload",
                ByteSizeConverter(
                    LoadPayload.minimumBytes...(isDurable ? DurableNotice.maximumBytes : 1 << 20))),
            isDurable: isDurable,
            isCompressed: try isCompressed(values),
            window: window,
            connectRate: try values.value("connect-rate", IntegerConverter(1...1_000_000)),
            hasHeartbeats: hasHeartbeats,
            heartbeatConnections: heartbeatConnections,
            slowCount: try values.value("slow", IntegerConverter(0...1_000_000)),
            churnRate: try values.value("churn", IntegerConverter(0...100_000)),
            settleMilliseconds: try values.value(
                "settle", DurationConverter(.milliseconds(100) ... .seconds(600))
            ).wholeMilliseconds)
    }

    private static func isCompressed(_ values: OptionValues) throws(UsageError) -> Bool {
        guard try values.flag("compression") else { return false }
        guard try values.value("transport", ChoiceConverter(TransportRule.self)) != .events else {
            throw UsageError("--compression: cannot stand with --transport events, expected WebSockets")
        }
        guard PermessageDeflate.isBuiltIn else {
            throw UsageError(
                "\(values.originText("compression")): this loadtest is \(PermessageDeflate.absence)")
        }
        return true
    }

    private static func issueKey(_ values: OptionValues, _ tokenRule: TokenRule) throws(UsageError)
        -> String?
    {
        let form = "16 to 256 visible ASCII characters without a comma"
        let key = try values.optional(
            "issue-key",
            TextConverter(expected: form) {
                (16...256).contains($0.utf8.count)
                    && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ",") }
                    ? $0 : nil
            })
        guard key == nil || tokenRule == .gateway else {
            throw UsageError("--issue-key: expected only with --token gateway")
        }
        return key
    }

    private static func path(_ values: OptionValues, _ tokenRule: TokenRule) throws(UsageError) -> String {
        let form = "a path of visible ASCII such as /sub/{room}"
        let path = try values.optional(
            "path",
            TextConverter(expected: form) {
                $0.hasPrefix("/") && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) } ? $0 : nil
            })
        switch (tokenRule, path) {
        case (.gateway, nil): return "/ws"
        case (.none, let path?): return path
        case (.gateway, .some): throw UsageError("--path: expected only with --token none")
        case (.none, nil): throw UsageError("--path: missing, expected --path with --token none")
        }
    }

    private static func target(_ values: OptionValues) throws(UsageError) -> Target {
        let url = try values.optional(
            "publish-url",
            TextConverter(expected: "http://HOST:PORT/path with {room} in it") { HttpPublishURL($0) })
        let isDurable = try values.flag("durable")
        if let url {
            guard !isDurable else {
                throw UsageError("--publish-url: cannot stand with --durable, expected one of them")
            }
            return .http(url)
        }
        let passwordFile = try values.optional("redis-password-file", RedisFile.path)
        let redisURL = try values.value(
            "redis",
            CheckedConverter(expected: RedisURL.expectedForm) { text throws(ValueFault) in
                do throws(RedisURLError) { return try RedisURL(text) } catch {
                    throw ValueFault(error.reason)
                }
            })
        let redis = try RedisTLSOptions.secure(redisURL.withPasswordFile(passwordFile), by: values)
        let prefix = try values.value(
            "prefix", TextConverter(expected: Channels.prefixForm) { Channels.isPrefix($0) ? $0 : nil })
        try RedisPrefix.check(prefix, with: [redis], by: values)
        return isDurable ? .durable(redis, prefix: prefix) : .redis(redis, Channels(prefix: prefix))
    }
}

extension LoadPlan.Load {
    /// Connections that a client holds.
    var connectionsPerClient: Int { heartbeatConnections == .own ? 2 : 1 }

    /// Whether a client, by its number in the run, takes an event stream.
    func isEventStream(client number: Int) -> Bool {
        switch transport {
        case .websocket: false
        case .events: true
        case .mixed: number % 2 == 1
        }
    }
}

/// Where a message of a room is posted.
struct HttpPublishURL: Sendable {
    let endpoint: Endpoint
    /// With `{room}` in it.
    let path: String

    /// - Returns: nil for what is not `http://HOST:PORT/…{room}…`.
    init?(_ text: String) {
        let scheme = "http://"
        guard text.hasPrefix(scheme), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return nil
        }
        let rest = text.dropFirst(scheme.count)
        guard let slash = rest.firstIndex(of: "/"), rest.contains("{room}"),
            let endpoint = Endpoint(rest[..<slash])
        else { return nil }
        self.endpoint = endpoint
        path = String(rest[slash...])
    }
}

/// Room names, the same in every process of a run and in no other run.
enum RoomName {
    static func text(room: Int, run: UInt32) -> String { "load-\(String(run, radix: 16))-\(room)" }

    static func id(room: Int, run: UInt32) -> RoomId {
        guard let id = RoomId(text(room: room, run: run)) else {
            preconditionFailure("room names are valid ids")
        }
        return id
    }

    /// A path with the names of rooms in place of `{room}`, joined by commas.
    static func path(_ template: String, rooms: [Int], run: UInt32) -> String {
        let names = rooms.map { text(room: $0, run: run) }.joined(separator: ",")
        guard let place = template.firstRange(of: "{room}") else { return template }
        return template.replacingCharacters(in: place, with: names)
    }
}

extension String {
    /// The text with a part of it exchanged.
    func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        self[..<range.lowerBound] + text + self[range.upperBound...]
    }
}
