// Redis servers as docker-compose.cluster.yml starts them, with the users of deploy/redis.conf.
import Foundation
import Testing

@Suite(.enabled(if: ServerUnderTest.hasFunctions, "deploy/redis.conf is for Redis 7"))
struct ClusterDeploymentTests {
    private static let passwords = [
        "gateway": "gateway-Pa55word", "publisher": "publisher-Pa55word", "operator": "operator-Pa55word",
        "revoker": "revoker-Pa55word", "observer": "observer-Pa55word",
        "cluster": #"in "quotes\, and with others"#,
    ]

    private func makeCluster(_ driver: Driver, of addresses: [String], attempts: Int = 60) async throws
        -> Completed
    {
        let script = Installation.root.appending(path: "deploy/redis-cluster").path
        return try await driver.run(
            ["sh", script] + addresses,
            environment: [
                "REDISCLI_AUTH": Self.passwords["cluster"] ?? "", "REDIS_CLUSTER_ATTEMPTS": "\(attempts)",
            ])
    }

    @Test func serversBecomeAClusterOnceAndItsUsersDoTheirWork() async throws {
        try await Driver.with { driver in
            var servers: [RedisServer] = []
            for _ in 0..<6 {
                servers.append(
                    try await RedisServer(
                        driver, passwords: Self.passwords, clusterPort: try await driver.freePort()))
            }
            let addresses = servers.map { "127.0.0.1:\($0.port)" }
            let early = try await makeCluster(
                driver, of: addresses.dropLast() + ["127.0.0.1:1"], attempts: 1)
            #expect(early.code == 1 && early.errors.contains("127.0.0.1:1: "), "\(early)")
            let made = try await makeCluster(driver, of: addresses)
            #expect(made.code == 0, "\(made)")
            for server in servers {
                try await eventually("the server is in step with the cluster") {
                    let state = try await server.command("CLUSTER", "INFO").string ?? ""
                    let role = try await server.command("ROLE")
                    return state.contains("cluster_state:ok") && state.contains("cluster_size:3")
                        && (role[0] == "master" || role[3] == "connected")
                }
            }
            let before = try await servers[0].command("CLUSTER", "MYID")
            let again = try await makeCluster(driver, of: addresses)
            #expect(again.code == 0 && again.output.contains("belongs to a cluster"), "\(again)")
            #expect(try await servers[0].command("CLUSTER", "MYID") == before)
            try await expectService(driver, servers)
            for server in servers { #expect(try await server.command("ACL", "LOG") == []) }
        }
    }

    /// All programs, each as its own user.
    private func expectService(_ driver: Driver, _ servers: [RedisServer]) async throws {
        func url(_ user: String) -> String {
            "cluster://\(user)@" + servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        }
        func publisher(_ user: String, _ arguments: String...) async throws -> Completed {
            let completed = try await driver.run(
                [try Installation.binary("publisher")] + arguments + ["--redis", url(user)],
                environment: ["PUBLISHER_REDIS_PASSWORD": Self.passwords[user] ?? ""])
            #expect(completed.code == 0, "\(arguments): \(completed.errors)")
            return completed
        }
        var nodes: [GatewayNode] = []
        for id in ["one", "two"] {
            nodes.append(
                try await GatewayNode(
                    driver, id: id, redis: servers[0],
                    environment: ["GATEWAY_REDIS_PASSWORD": Self.passwords["gateway"] ?? ""],
                    url: url("gateway")))
        }
        let follower = try await Follower(nodes[0], ["kept"])
        var clients: [Client] = []
        for number in 0..<20 {
            let token = try await nodes[0].token(userId: "leaving")
            #expect(try await nodes[1].heartbeat(token).status == 200)
            clients.append(try await nodes[number % 2].connect("lobby", token: token))
        }
        _ = try await publisher("publisher", "--room", "lobby", "--data", "1")
        for client in clients { #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#)) }
        _ = try await publisher("publisher", "--room", "kept", "--data", #""durable""#, "--durable")
        try await follower.read(upTo: "durable", in: "kept")
        let report = try await publisher("observer", "nodes", "--json")
        #expect(report.output.contains(#""one""#) && report.output.contains(#""two""#), "\(report.output)")
        #expect(try await publisher("observer", "rooms").output.contains("lobby"))
        _ = try await publisher("revoker", "revoke", "--user", "leaving")
        for client in clients { #expect(try await client.closed()?.code == 4003) }
    }
}
