// A Redis Cluster whose servers freeze, come and go, behind nodes with clients.
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterMembersTests {
    /// A node, and for each server of `masters` a client whose token lies there.
    private struct Visitors {
        let node: GatewayNode
        let room: String
        var tokens: [(owner: RedisServer, token: String)] = []
        var clients: [Client] = []

        init(_ group: ClusterGroup, _ node: GatewayNode, room: String, masters: [RedisServer]) async throws {
            (self.node, self.room) = (node, room)
            while tokens.count < masters.count {
                let token = try await node.token()
                let owner = try await group.owner(ofKey: "client:\(token)")
                guard !tokens.contains(where: { $0.owner === owner }) else { continue }
                tokens.append((owner, token))
                clients.append(try await node.connect(room, token: token))
            }
        }

        /// What is published at a server reaches all of them.
        func expectNotice(_ text: String, publishedAt server: RedisServer) async throws {
            try await server.publish(room: room, text)
            for client in clients { #expect(try await client.next() == .text(text)) }
        }

        func token(at server: RedisServer) throws -> String {
            try #require(tokens.first { $0.owner === server }?.token)
        }
    }

    /// How many connections of nodes a server has, without those that are subscribed.
    ///
    /// - Parameter role: only those of workers, say; empty means all.
    private func commandConnections(
        _ group: ClusterGroup, _ server: RedisServer, of role: String = ""
    ) async throws -> Int {
        let list = try await group.tell(server, "CLIENT", "LIST", "TYPE", "normal").string ?? ""
        return list.split(separator: "\n").count { $0.contains("name=roomcast-\(role)") }
    }

    /// 503 for its slots alone, until it goes on; no client is closed.
    @Test func aFrozenMasterCostsItsOwnTokensOnly() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0)
            let node = try await group.startNode("cold")
            let visitors = try await Visitors(group, node, room: "lobby", masters: group.servers)
            let feed = try #require(try await group.subscribed(to: "room:lobby").first)
            let frozen = try #require(group.servers.first { $0 !== feed })
            let others = group.servers.filter { $0 !== frozen }
            try await group.freeze(frozen)
            let cold = try visitors.token(at: frozen)
            #expect(try await node.heartbeat(cold).status == 503)
            for other in others {
                let warm = try visitors.token(at: other)
                for _ in 0..<5 { #expect(try await node.heartbeat(warm).status == 200) }
            }
            try await visitors.expectNotice("1", publishedAt: feed)
            try await eventually("the missing slots are counted") {
                try await node.ready().body.contains("slots of the redis cluster cannot be reached")
            }
            #expect(try await node.ready().status == 200, "two of three masters are enough")
            try await group.thaw(frozen)
            try await group.agreement()
            try await eventually("its tokens work again") { try await node.heartbeat(cold).status == 200 }
            for server in group.servers {
                try await visitors.expectNotice("\(server.port)", publishedAt: server)
            }
            #expect(try await node.metrics()["roomcast_closes_total"] == 0)
        }
    }

    /// Connections go to a new master when it has slots, and end when it has none any more.
    @Test func connectionsFollowTheMasters() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0)
            let node = try await group.startNode("following")
            let old = group.servers[0]
            let visitors = try await Visitors(group, node, room: "lobby", masters: group.servers)
            let token = try visitors.token(at: old)
            let slot = try await group.slot(ofKey: "client:\(token)")
            let fresh = try await group.add()
            for target in [fresh, old] {
                try await group.move(slot: slot, to: target) { _ in
                    let answer = try await node.heartbeat(token)
                    #expect(answer.status == 200)
                }
                try await group.agreement()
                #expect(try await node.heartbeat(token).status == 200)
                if target === fresh {
                    try await eventually("both workers are connected with the new master") {
                        try await commandConnections(group, fresh, of: "worker") == 2
                    }
                    try await eventually("four masters") {
                        try await node.metrics()[#"roomcast_redis_masters{state="up"}"#] == 4
                    }
                    try await visitors.expectNotice("1", publishedAt: fresh)
                }
            }
            try await group.remove(fresh)
            try await eventually("no command connection is left with the old one") {
                try await commandConnections(group, fresh) == 0
            }
            try await eventually("three masters") {
                try await node.metrics()[#"roomcast_redis_masters{state="up"}"#] == 3
            }
            #expect(try await node.metrics()["roomcast_redis_reachable_slots"] == 16_384)
            try await visitors.expectNotice("2", publishedAt: old)
            #expect(try await node.ready().status == 200)
            #expect(try await node.metrics()["roomcast_redis_redirections_total"] > 0)
            #expect(try await node.metrics()["roomcast_closes_total"] == 0)
        }
    }
}
