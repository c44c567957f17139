// One gateway process with its ports, and what a test asks of it.
import Foundation
import Testing

final class GatewayNode: Sendable {
    let driver: Driver
    let child: Child
    let id: String
    let port: Int
    let adminPort: Int

    /// The limits that a busy machine could reach where a test is about something else. The command line
    /// wins over them; an empty variable brings back the default.
    private static let unhurried = [
        "GATEWAY_HEARTBEAT_TIMEOUT": "10m", "GATEWAY_KEEP_ALIVE_TIMEOUT": "1h",
        "GATEWAY_REDIS_SILENCE_TIMEOUT": "60s",
        "GATEWAY_REQUEST_TIMEOUT": "5m", "GATEWAY_PING_INTERVAL": "off",
    ]

    init(
        _ driver: Driver, id: String, redis: RedisServer, options: [String] = [],
        environment: [String: String] = [:],
        url: String? = nil, wrapper: [String] = [], workers: Int? = 2, trustsRedis: Bool = true,
        awaitReady: Bool = true
    ) async throws {
        self.driver = driver
        self.id = id
        let listen = options.contains("--listen") ? [] : ["--listen", "127.0.0.1:0"]
        let command =
            wrapper + [try Installation.binary("gateway")] + listen + [
                "--admin-listen", "127.0.0.1:0", "--node-id", id, "--redis", url ?? redis.url,
            ] + (trustsRedis && url?.hasPrefix("redis://") != true ? redis.authorityOptions : [])
            + (workers.map { ["--workers", "\($0)"] } ?? [])
            + options
        var variables = Self.unhurried.merging(environment) { _, own in own }
        if let password = redis.password, variables["GATEWAY_REDIS_PASSWORD"] == nil {
            variables["GATEWAY_REDIS_PASSWORD"] = password
        }
        let child = try await Child(driver, name: id, command, environment: variables)
        self.child = child
        var ports: (Int?, Int?)
        try await eventually("\(id) logs where it listens") {
            if let code = try await child.exitCode(within: .zero) {
                throw Hopeless("\(id) ended with \(code): \(child.errorOutput.suffix(2000))")
            }
            ports = (
                loggedPort(after: "listening on ", in: child), loggedPort(after: "admin on ", in: child)
            )
            return ports.0 != nil && ports.1 != nil
        }
        guard case (let port?, let adminPort?) = ports else {
            throw HarnessError("\(id): \(child.errorOutput)")
        }
        (self.port, self.adminPort) = (port, adminPort)
        guard awaitReady else { return }
        try await eventually("\(id) is ready") { try await self.ready().status == 200 }
    }

    func get(_ target: String, headers: [String: String] = [:]) async throws -> Answer {
        try await driver.request(port, target, headers: headers)
    }

    func heartbeat(_ token: String) async throws -> Answer { try await get("/heartbeat?token=\(token)") }
    func ready() async throws -> Answer { try await driver.request(adminPort, "/readyz") }
    func metrics() async throws -> Metrics {
        try Metrics(try await driver.request(adminPort, "/metrics").body)
    }

    /// A new token of a logged-in user.
    func token(userId: String = "user-1") async throws -> String {
        let answer = try await get("/get/token?isLogin=true&userId=\(userId.percentEncoded)")
        guard answer.status == 200, let token = answer.data else {
            throw HarnessError("no token from \(id): \(answer.status) \(answer.body)")
        }
        return token
    }

    /// Opens a socket; `token` nil: a new one.
    /// - Throws: `HarnessError` when the handshake is refused.
    func connect(_ rooms: String, token: String? = nil, headers: [String: String] = [:]) async throws
        -> Client
    {
        var used = token
        if used == nil { used = try await self.token() }
        switch try await handshake("token=\(used ?? "")&roomIds=\(rooms)", headers: headers) {
        case .open(let client): return client
        case .refused(let answer): throw HarnessError("\(id) refused: \(answer.status) \(answer.body)")
        }
    }

    func handshake(
        _ query: String, headers: [String: String] = [:], subprotocols: [String] = [],
        compression: Bool = false
    ) async throws -> Handshake {
        try await driver.handshake(
            "ws://127.0.0.1:\(port)/ws?\(query)", headers: headers, subprotocols: subprotocols,
            compression: compression)
    }
}

/// The port of "…ing on HOST:PORT" in the log of `child`.
func loggedPort(after words: String, in child: Child) -> Int? {
    let log = child.errorOutput
    guard let start = log.range(of: words)?.upperBound else { return nil }
    let address = log[start...].prefix { !$0.isWhitespace && $0 != "\"" && $0 != "," }
    return address.split(separator: ":").last.flatMap { Int($0) }
}
