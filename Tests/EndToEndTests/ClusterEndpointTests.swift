// The forms in which a Redis Cluster names its servers, and its URL.
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterEndpointTests {
    /// Tokens of all masters, from two nodes, a notice of each server, and a revocation.
    private func expectService(_ group: ClusterGroup) async throws {
        var nodes: [GatewayNode] = []
        for id in ["one", "two"] {
            // One seed of the URL is enough.
            nodes.append(
                try await group.startNode(id, url: group.url(seeds: [group.servers[nodes.count]])))
        }
        let client = try await nodes[1].connect("lobby", token: try await nodes[0].token(userId: "leaving"))
        var owners: Set<Int> = []
        while owners.count < 3 {
            let token = try await nodes[0].token()
            owners.insert(try await group.owner(ofKey: "client:\(token)").port)
            #expect(try await nodes[1].heartbeat(token).status == 200)
        }
        for server in group.servers {
            try await group.tell(server, "PUBLISH", "room:lobby", .string("\(server.port)"))
            #expect(try await client.next() == .text("\(server.port)"))
        }
        let environment = group.password.map { ["PUBLISHER_REDIS_PASSWORD": $0] } ?? [:]
        let publisher = try Installation.binary("publisher")
        let published = try await group.driver.run(
            [publisher] + group.connectionOptions + ["--room", "lobby", "--data", "1"],
            environment: environment)
        try #require(published.code == 0, "\(published.errors)")
        #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
        let revoked = try await group.driver.run(
            [publisher, "revoke"] + group.connectionOptions + ["--user", "leaving"], environment: environment
        )
        try #require(revoked.code == 0, "\(revoked.errors)")
        #expect(try await client.closed()?.code == 4003)
    }

    @Test(arguments: [ClusterGroup.Endpoint.address, .hostName, .unknown])
    func serversAreFoundInEveryForm(endpoint: ClusterGroup.Endpoint) async throws {
        try await Driver.with { driver in
            try await expectService(try await ClusterGroup(driver, replicasOfEach: 0, endpoint: endpoint))
        }
    }

    @Test(
        .enabled(if: ServerUnderTest.takesTLS),
        arguments: [ClusterGroup.Endpoint.address, .hostName, .unknown])
    func aClusterMayBeSecured(endpoint: ClusterGroup.Endpoint) async throws {
        try await Driver.with { driver in
            try await expectService(
                try await ClusterGroup(
                    driver, replicasOfEach: 0, password: "cluster-Pa55word", isSecured: true,
                    endpoint: endpoint))
        }
    }
}
