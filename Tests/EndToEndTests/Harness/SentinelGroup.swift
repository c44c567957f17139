// A master, its replica and three sentinels, as small as a real one gets.
import Foundation
import Testing

final class SentinelGroup: Sendable {
    static let masterName = "roomcast"

    let driver: Driver
    /// The first one is the master at the start.
    let servers: [RedisServer]
    let sentinels: [RedisServer]
    private let password: String?

    /// - Parameters:
    ///   - password: of master and replica.
    ///   - sentinelPassword: of the sentinels.
    ///   - isSecured: whether all of them talk in TLS.
    init(
        _ driver: Driver, password: String? = nil, sentinelPassword: String? = nil, isSecured: Bool = false
    ) async throws {
        let certificates = isSecured ? try await Certificates(driver) : nil
        self.driver = driver
        self.password = password
        let authentication = password.map { ["--masterauth", $0] } ?? []
        let master = try await RedisServer(
            driver, password: password,
            options: authentication + ["--repl-diskless-sync-delay", "0", "--dbfilename", "first.rdb"],
            certificates: certificates)
        let replica = try await RedisServer(
            driver, password: password,
            options: authentication + [
                "--replicaof", "127.0.0.1", "\(master.servedPort)", "--dbfilename", "second.rdb",
                "--repl-diskless-sync-delay", "0",
            ], certificates: certificates)
        servers = [master, replica]
        var sentinels: [RedisServer] = []
        for _ in 0..<3 {
            sentinels.append(
                try await RedisServer(
                    driver, sentinelOf: master, named: Self.masterName, password: sentinelPassword))
        }
        self.sentinels = sentinels
        for sentinel in sentinels {
            try await eventually("a sentinel knows all of them") {
                let master =
                    try await sentinel.command("SENTINEL", "MASTER", .string(Self.masterName)).array ?? []
                let fields = Dictionary(
                    stride(from: 0, to: master.count - 1, by: 2).map {
                        (master[$0].string ?? "", master[$0 + 1].string ?? "")
                    }, uniquingKeysWith: { $1 })
                return fields["num-slaves"] == "1" && fields["num-other-sentinels"] == "2"
                    && fields["flags"] == "master"
            }
        }
        try await eventually("the replica is in step") {
            try await replica.command("ROLE")[3] == "connected"
        }
    }

    /// - Parameter first: an address that is asked before the sentinels.
    func url(before first: String? = nil) -> String {
        let hosts = (first.map { [$0] } ?? []) + sentinels.map { "127.0.0.1:\($0.servedPort)" }
        return
            "sentinel\(servers[0].certificates == nil ? "" : "s")://\(hosts.joined(separator: ","))/\(Self.masterName)"
    }

    func startNode(
        _ id: String, options: [String] = [], environment: [String: String] = [:], url: String? = nil
    ) async throws -> GatewayNode {
        try await GatewayNode(
            driver, id: id, redis: servers[0], options: options, environment: environment,
            url: url ?? self.url())
    }

    /// Waits until all sentinels name a server.
    func awaitMaster(_ server: RedisServer) async throws {
        for sentinel in sentinels {
            try await eventually("the sentinels have a new master") {
                try await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", .string(Self.masterName))
                    == [
                        "127.0.0.1", .string("\(server.servedPort)"),
                    ]
            }
        }
    }
}
