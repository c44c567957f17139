// A token has one live connection: the newest, on whichever node. A token whose key was deleted has none.
import Testing

@Suite(.cluster(nodes: 2))
struct OneConnectionTests {
    @Test(arguments: [(0, 0), (0, 1), (1, 0)])
    func newerConnectionReplacesTheOlder(first: Int, second: Int) async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.node.token()
        let older = try await cluster.nodes[first].connect(room, token: token)
        let newer = try await cluster.nodes[second].connect(room, token: token)
        #expect(try await older.closed()?.code == 4001)
        // What the older leaves behind must not harm the newer: its room, its record, its beats.
        #expect(try await cluster.redis.publish(room: room, "1") >= 1)
        #expect(try await newer.next() == .text("1"))
        #expect(try await cluster.redis.hash("client:\(token)")["node"] == cluster.nodes[second].id)
        #expect(try await cluster.nodes[first].heartbeat(token).status == 200)
        #expect(try await newer.ping("still there"))
    }

    @Test func newerConnectionMayTakeOtherRooms() async throws {
        let cluster = try Cluster.current
        let (before, after) = (cluster.room("before"), cluster.room("after"))
        let token = try await cluster.node.token()
        let older = try await cluster.nodes[0].connect(before, token: token)
        let newer = try await cluster.nodes[1].connect(after, token: token)
        #expect(try await older.closed()?.code == 4001)
        #expect(try await cluster.redis.hash("client:\(token)")["rooms"] == after)
        try await cluster.redis.publish(room: before, "1")
        try await cluster.redis.publish(room: after, "2")
        #expect(try await newer.next() == .text("2"))
    }

    @Test func ofTenAtOnceExactlyOneSurvives() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.node.token()
        let clients = try await withThrowingTaskGroup(of: Client.self) { group in
            for index in 0..<10 {
                group.addTask { try await cluster.nodes[index % 2].connect(room, token: token) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        var open: [Client] = []
        try await eventually("nine are closed") {
            open = []
            for client in clients where try await client.closed(within: .zero) == nil { open.append(client) }
            return open.count <= 1
        }
        #expect(open.count == 1)
        for client in clients where client.id != open.first?.id {
            #expect(try await client.closed(within: .zero)?.code == 4001)
        }
        try await cluster.redis.publish(room: room, "1")
        #expect(try await open.first?.ping("alive") == true)
        var got = 0
        for client in clients where try await client.receivedCount() > 0 { got += 1 }
        #expect(got == 1)
    }

    @Test func aTokenConnectsAgainAfterAnOrderlyClose() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.node.token()
        _ = try await cluster.nodes[0].connect(room, token: token).close()
        let again = try await cluster.nodes[1].connect(room, token: token)
        try await cluster.redis.publish(room: room, "1")
        #expect(try await again.next() == .text("1"))
    }

    @Test func differentTokensOfOneUserStayConnected() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        var clients: [Client] = []
        for node in cluster.nodes {
            clients.append(try await node.connect(room, token: try await node.token(userId: "ada")))
        }
        try await cluster.redis.publish(room: room, "1")
        for client in clients { #expect(try await client.next() == .text("1")) }
    }
}

/// With deadlines of 8 s, so that the check after which a revocation shows comes soon.
@Suite(.cluster(nodes: 2, options: ["--heartbeat-timeout", "8s"]))
struct RevocationTests {
    @Test func deletedTokenIsClosedAtTheNextCheck() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let (closing, pace) = try await Pace.during(cluster.driver, cluster.redis) {
            let revoked = try await cluster.node.connect(cluster.room(), token: token)
            try await cluster.redis.command("DEL", .string("client:\(token)"))
            return try #require(try await revoked.closed())
        }
        #expect(closing.code == 4003)
        #expect(closing.after < pace.allows(.seconds(10)))
        #expect(try await cluster.redis.command("EXISTS", .string("client:\(token)")) == 0)
    }

    @Test func othersStayWhenOneIsRevoked() async throws {
        let cluster = try Cluster.current
        let (gone, kept) = (try await cluster.node.token(), try await cluster.node.token())
        let revoked = try await cluster.node.connect(cluster.room(), token: gone)
        let other = try await cluster.node.connect(cluster.room(), token: kept)
        try await cluster.redis.command("DEL", .string("client:\(gone)"))
        var closing: Closing?
        try await eventually("the revoked one is closed") {
            #expect(try await cluster.nodes[1].heartbeat(kept).status == 200)
            closing = try await revoked.closed(within: .milliseconds(500))
            return closing != nil
        }
        #expect(closing?.code == 4003)
        #expect(try await other.closed(within: .zero) == nil)
    }
}
