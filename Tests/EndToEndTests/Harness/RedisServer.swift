// A private server (see `Installation.redisServer`) on a free port; unless it is the deployed one, nothing is written
// to disk, so a restart comes back empty.
import Foundation
import Testing

final class RedisServer: Sendable {
    /// It keeps whatever it has answered, also when it is killed. With `everysec` it may not: while the disk is busy
    /// with an fsync, Redis answers before it writes.
    static let keepingAll = ["--appendonly", "yes", "--appendfsync", "always"]

    let driver: Driver
    let port: Int
    /// The user of `command`; nil is Redis' user `default`.
    private let user: String?
    let password: String?
    /// With which the programs under test connect; nil when they do so without TLS.
    let certificates: Certificates?
    /// The port to which they connect; `port` is always a plain one, for the test.
    let servedPort: Int
    private let command: [String]
    private let environment: [String: String]
    let first: Child

    init(
        _ driver: Driver, password: String? = nil, options: [String] = [], certificates: Certificates? = nil
    ) async throws {
        self.driver = driver
        self.password = password
        self.certificates = certificates
        user = nil
        environment = [:]
        let port = try await driver.freePort()
        self.port = port
        servedPort = certificates == nil ? port : try await driver.freePort()
        command =
            [
                try Installation.redisServer(), "--port", "\(port)",
                "--bind", "127.0.0.1", "--save", "", "--dir", driver.directory.path,
            ] + (password.map { ["--requirepass", $0] } ?? []) + options
            + (certificates?.serverOptions(port: servedPort) ?? [])
        first = try await Child(driver, name: "redis-\(port)", command)
        try await ready(first)
    }

    /// As it is deployed: with deploy/redis.conf and its users, started by deploy/redis-start. It keeps its data over
    /// a restart.
    /// - Parameters:
    ///   - passwords: of the users; `command` is the operator's.
    ///   - clusterPort: of its bus; with one it is a server of a Redis Cluster.
    init(_ driver: Driver, passwords: [String: String], clusterPort: Int? = nil) async throws {
        self.driver = driver
        user = "operator"
        password = passwords["operator"]
        certificates = nil
        port = try await driver.freePort()
        servedPort = port
        _ = try Installation.redisServer()
        let directory = driver.directory.appending(path: clusterPort.map { "cluster-\($0)" } ?? "").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        command =
            [
                "sh", Installation.root.appending(path: "deploy/redis-start").path, directory,
                "--port", "\(port)", "--dir", directory,
            ] + (clusterPort.map { ["--cluster-enabled", "yes", "--cluster-port", "\($0)"] } ?? [])
        environment = Dictionary(
            uniqueKeysWithValues: passwords.map { ("ROOMCAST_\($0.uppercased())_PASSWORD", $1) })
        first = try await Child(driver, name: "redis-\(port)", command, environment: environment)
        try await ready(first)
    }

    /// A sentinel of a master.
    init(
        _ driver: Driver, sentinelOf master: RedisServer, named name: String, password: String?
    ) async throws {
        self.driver = driver
        self.password = password
        certificates = master.certificates
        user = nil
        environment = [:]
        let port = try await driver.freePort()
        self.port = port
        servedPort = certificates == nil ? port : try await driver.freePort()
        let path = driver.directory.appending(path: "sentinel-\(port).conf")
        var lines = [
            "port \(port)", "bind 127.0.0.1", "dir \(driver.directory.path)",
            "sentinel monitor \(name) 127.0.0.1 \(master.servedPort) 2",
            "sentinel down-after-milliseconds \(name) 3000", "sentinel failover-timeout \(name) 10000",
        ]
        if let password { lines += ["requirepass \(password)", "sentinel sentinel-pass \(password)"] }
        if let password = master.password { lines.append("sentinel auth-pass \(name) \(password)") }
        // A sentinel writes what it learns into this file.
        try (lines.joined(separator: "\n") + "\n").write(to: path, atomically: true, encoding: .utf8)
        command =
            [
                try Installation.redisServer(), path.path, "--sentinel",
            ] + (certificates?.serverOptions(port: servedPort) ?? [])
        first = try await Child(driver, name: "sentinel-\(port)", command)
        try await ready(first)
    }

    var url: String { "redis\(certificates == nil ? "" : "s")://127.0.0.1:\(servedPort)" }

    /// With which a program connects.
    var connectionOptions: [String] { ["--redis", url] + authorityOptions }
    /// By which a program trusts this server.
    var authorityOptions: [String] { certificates.map { ["--redis-ca", $0.path("ca.crt")] } ?? [] }

    /// Ends the first process and waits for its end.
    func stop(_ signal: Int32 = SIGKILL) async throws {
        try await first.signal(signal)
        guard try await first.exitCode() != nil else {
            throw HarnessError("redis-server did not end on signal \(signal)")
        }
    }

    /// Starts again on the same port.
    func restart() async throws -> Child {
        let child = try await Child(driver, name: "redis-\(port)", command, environment: environment)
        try await ready(child)
        return child
    }

    /// Starts again on the same port, with what was saved, and does not wait until it is of use.
    func startAgain() async throws {
        _ = try await Child(driver, name: "redis-\(port)", command, environment: environment)
    }

    @discardableResult
    func command(_ arguments: JSON...) async throws -> JSON {
        try await command(arguments, user: user, password: password)
    }

    /// A command of any user, over a connection of that user; an error reply is `{"error": …}`.
    @discardableResult
    func command(_ arguments: [JSON], user: String?, password: String?) async throws -> JSON {
        var request: [String: JSON] = ["port": .number(Double(port)), "args": .array(arguments)]
        if let user { request["user"] = .string(user) }
        if let password { request["password"] = .string(password) }
        return try await driver.call("redis", request)
    }

    /// The fields of a hash.
    func hash(_ key: String) async throws -> [String: String] {
        let flat = (try await command("HGETALL", .string(key)).array ?? []).compactMap(\.string)
        return Dictionary(
            uniqueKeysWithValues: stride(from: 0, to: flat.count, by: 2).map { (flat[$0], flat[$0 + 1]) })
    }

    /// Whether a token's record lives as long as it was given to when something set it anew, at `start` or
    /// later.
    func expectLife(
        of token: String, _ lifetime: Duration, since start: ContinuousClock.Instant,
        _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let left = Duration.seconds(try await command("TTL", .string("client:\(token)")).int ?? 0)
        // Whole seconds, rounded.
        let shortest = lifetime - (ContinuousClock.now - start) - .seconds(1)
        #expect((shortest...lifetime).contains(left), comment, sourceLocation: sourceLocation)
    }

    /// Publishes and returns how many subscribed connections (one a node) took it.
    @discardableResult
    func publish(room: String, _ text: String) async throws -> Int {
        try await command("PUBLISH", .string("room:\(room)"), .string(text)).int ?? -1
    }

    /// Numbered notices `{"type":"notice","data":{"n":0...}}`, pipelined.
    func publishSequence(room: String, count: Int, paddingBytes: Int = 0) async throws {
        let arguments: [String: JSON] = [
            "port": .number(Double(port)), "channel": .string("room:\(room)"),
            "count": .number(Double(count)),
            "padding": .number(Double(paddingBytes)),
        ]
        try await driver.call("publish_sequence", arguments)
    }

    /// Waits until `process` answers.
    private func ready(_ process: Child) async throws {
        try await eventually("redis-server answers on port \(port)") {
            if let code = try await process.exitCode(within: .zero) {
                throw Hopeless("redis-server ended with \(code): \(process.output)")
            }
            return try await command("PING") == "PONG"
        }
    }
}
