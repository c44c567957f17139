// GET /ws: the checks in their order, the rooms, and what the node registers before its 101.
import Foundation
import Testing

@Suite(.cluster(nodes: 2))
struct HandshakeTests {
    private func ask(_ query: String, _ changes: [String: String] = [:], version: String = "HTTP/1.1")
        async throws -> Answer
    {
        let cluster = try Cluster.current
        let text = requestText(
            "/ws\(query)", version: version, headers: handshakeHeaders(replacing: changes))
        return try await cluster.driver.exchange(cluster.node.port, text).answers[0]
    }

    private func expect(
        _ answer: Answer, _ status: Int, _ message: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer.status == status, sourceLocation: sourceLocation)
        #expect(answer.body == #"{"data":"\#(message)"}"#, sourceLocation: sourceLocation)
        #expect(answer.headers["content-type"] == "application/json", sourceLocation: sourceLocation)
    }

    /// Every later check would fail too: neither token nor rooms are there.
    @Test(arguments: [
        ["Upgrade": ""], ["Upgrade": "h2c"], ["Connection": ""], ["Connection": "keep-alive"],
        ["Connection": "upgraded"], ["Sec-WebSocket-Key": ""], ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j"],
        ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZS4="], ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"],
        ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub2!jZQ=="],
    ])
    func firstTheHeadersAreChecked(changes: [String: String]) async throws {
        let answer = try await ask("", changes)
        expect(answer, 400, "Invalid WebSocket handshake")
    }

    @Test(arguments: ["12", "8", "", "14", "013", "13, 8"])
    func wrongVersionIsToldTheRightOne(version: String) async throws {
        let answer = try await ask("", ["Sec-WebSocket-Version": version])
        expect(answer, 400, "Invalid WebSocket handshake")
        #expect(answer.headers["sec-websocket-version"] == "13")
    }

    @Test func http10CannotUpgrade() async throws {
        expect(try await ask("", version: "HTTP/1.0"), 400, "Invalid WebSocket handshake")
    }

    @Test(arguments: ["", "?", "?token=", "?token=&roomIds=a", "?roomIds=a", "?Token=x&roomIds=a"])
    func thenTheTokenMustBeThere(query: String) async throws {
        expect(try await ask(query), 401, "Missing token")
    }

    @Test(arguments: ["", "&roomIds=", "&roomIds=,", "&roomIds=,,,", "&roomids=a"])
    func thenARoomEvenBeforeTheTokenIsLookedUp(query: String) async throws {
        expect(try await ask("?token=unknown\(query)"), 401, "Missing room")
    }

    @Test(arguments: ["unknown", "AAAAAAAAAAAAAAAAAAAAAAAA", "*"])
    func thenTheTokenMustBeRegistered(token: String) async throws {
        expect(try await ask("?token=\(token)&roomIds=a"), 500, "Token error")
    }

    @Test(arguments: [
        String(repeating: "r", count: 129), "%00", "a%00", "%1F", "a%0Ab", "%7F", "%C2%85", "%FF", "a,%FF",
        "%zz", "%",
        String(repeating: "%C3%A9", count: 65),
    ])
    func roomIdsOutsideTheLimitsAreRefused(rooms: String) async throws {
        let token = try await Cluster.current.node.token()
        expect(try await ask("?token=\(token)&roomIds=\(rooms)"), 400, "Invalid request parameters")
    }

    @Test func acceptsWithTheKeyOfTheStandardsExample() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let answer = try await ask("?token=\(token)&roomIds=\(cluster.room())")
        #expect(answer.status == 101)
        #expect(answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(answer.headers["upgrade"]?.lowercased() == "websocket")
        #expect(answer.headers["connection"]?.lowercased() == "upgrade")
        #expect(answer.headers["sec-websocket-extensions"] == nil)
        #expect(answer.headers["sec-websocket-protocol"] == nil)
    }

    @Test(arguments: [
        ["Connection": "keep-alive, Upgrade"], ["Connection": "UPGRADE"], ["Upgrade": "WebSocket"],
        ["Sec-WebSocket-Extensions": "permessage-deflate"], ["Sec-WebSocket-Protocol": "chat"],
    ])
    func headersOfOtherClientsAreAccepted(changes: [String: String]) async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let answer = try await ask("?token=\(token)&roomIds=\(cluster.room())", changes)
        #expect(answer.status == 101)
        // Nothing was agreed on that the node does not do.
        #expect(answer.headers["sec-websocket-extensions"] == nil)
        #expect(answer.headers["sec-websocket-protocol"] == nil)
    }

    @Test func recordTellsNodeAddressRoomsAndTime() async throws {
        let cluster = try Cluster.current
        let (first, second) = (cluster.room("a"), cluster.room("b"))
        let token = try await cluster.nodes[0].token(userId: "ada")
        try await cluster.redis.command("EXPIRE", .string("client:\(token)"), "100")
        let before = Int(Date.now.timeIntervalSince1970 * 1000)
        _ = try await cluster.nodes[1].connect("\(first),\(second)", token: token)
        let record = try await cluster.redis.hash("client:\(token)")
        let after = Int(Date.now.timeIntervalSince1970 * 1000)
        #expect(record["node"] == "node-2")
        #expect(record["ip"] == "127.0.0.1")
        #expect(record["rooms"] == "\(first),\(second)")
        let connectedAt = try #require(record["connectedAt"].flatMap { Int($0) })
        #expect((before...after).contains(connectedAt))
        #expect(record["userId"] == "ada" && record["isLogin"] == "true" && record["ttl"] == "3600")
        let left = try #require(try await cluster.redis.command("TTL", .string("client:\(token)")).int)
        #expect((3590...3600).contains(left))
    }

    /// Empty items and repeats are dropped first, then two rooms count: a third gets nothing.
    @Test func emptyRepeatedAndFurtherRoomsAreIgnored() async throws {
        let cluster = try Cluster.current
        let (first, second, third) = (cluster.room("a"), cluster.room("b"), cluster.room("c"))
        let token = try await cluster.node.token()
        let client = try await cluster.node.connect(",\(first),,\(first),\(second),\(third),", token: token)
        #expect(try await cluster.redis.hash("client:\(token)")["rooms"] == "\(first),\(second)")
        #expect(try await cluster.redis.publish(room: third, #"{"room":3}"#) == 0)
        #expect(try await cluster.redis.publish(room: second, #"{"room":2}"#) == 1)
        #expect(try await cluster.redis.publish(room: first, #"{"room":1}"#) == 1)
        #expect(try await client.next() == .text(#"{"room":2}"#))
        #expect(try await client.next() == .text(#"{"room":1}"#))
    }

    @Test(arguments: [
        String(repeating: "r", count: 128), String(repeating: "é", count: 64), "房间 1", "a&b=c", "x*?[]",
        "\"\\/'",
    ])
    func roomIdsWithinTheLimitsWork(room: String) async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(room.percentEncoded)
        #expect(try await cluster.redis.publish(room: room, #"{"n":1}"#) >= 1)
        #expect(try await client.next() == .text(#"{"n":1}"#))
    }
}
