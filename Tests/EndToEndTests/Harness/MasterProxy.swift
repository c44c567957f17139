// HAProxy in front of two Redis servers, which sends every new connection to the one that says that it is the
// master; old connections stay where they are.
import Foundation
import Testing

struct MasterProxy: Sendable {
    private let driver: Driver
    let port: Int
    let servers: [RedisServer]

    /// Its servers: the second is a replica of the first.
    init(_ driver: Driver) async throws {
        self.driver = driver
        let haproxy = try Installation.system("haproxy", package: "haproxy")
        servers = [
            try await RedisServer(driver, options: ["--repl-diskless-sync-delay", "0"]),
            try await RedisServer(driver, options: ["--repl-diskless-sync-delay", "0"]),
        ]
        port = try await driver.freePort()
        try await servers[1].command("REPLICAOF", "127.0.0.1", .string("\(servers[0].port)"))
        let path = driver.directory.appending(path: "haproxy-\(port).cfg")
        let configuration = """
            defaults
                mode tcp
                timeout connect 5s
                timeout client 1h
                timeout server 1h
            listen redis
                bind 127.0.0.1:\(port)
                option tcp-check
                tcp-check send PING\\r\\n
                tcp-check expect string +PONG
                tcp-check send info\\ replication\\r\\n
                tcp-check expect string role:master
                tcp-check send QUIT\\r\\n
                tcp-check expect string +OK
                server one 127.0.0.1:\(servers[0].port) check inter 200ms fall 1 rise 1
                server two 127.0.0.1:\(servers[1].port) check inter 200ms fall 1 rise 1

            """
        try configuration.write(to: path, atomically: true, encoding: .utf8)
        _ = try await Child(driver, name: "haproxy-\(port)", [haproxy, "-db", "-f", path.path])
        try await leads(to: servers[0])
    }

    /// Waits until every new connection leads to this server. Before its first check the proxy takes both for
    /// masters, in turn.
    private func leads(to server: RedisServer) async throws {
        try await eventually("the proxy leads to the master alone") {
            for _ in 0..<4 {
                let reply = try? await driver.call(
                    "redis_once", ["port": .number(Double(port)), "args": ["INFO", "server"]])
                guard reply?.string?.contains("tcp_port:\(server.port)\r") == true else { return false }
            }
            return true
        }
    }

    var url: String { "redis://127.0.0.1:\(port)" }

    /// The second server becomes the master, and the first one a replica; returns when the proxy knows.
    ///
    /// - Parameter isLinked: whether what is published at the second reaches the subscribers of the first.
    func swapRoles(isLinked: Bool) async throws {
        try await servers[1].command("REPLICAOF", "NO", "ONE")
        let port = isLinked ? servers[1].port : 1
        try await servers[0].command("REPLICAOF", "127.0.0.1", .string("\(port)"))
        try await leads(to: servers[1])
    }
}
