// The token as a WebSocket subprotocol, for those who keep it out of URLs. The client is the independent
// one, which like a browser refuses a selection that it has not offered.
import Foundation
import Testing

@Suite(.cluster())
struct SubprotocolTests {
    private func ask(_ query: String, _ offers: String) async throws -> Answer {
        let headers = handshakeHeaders(replacing: ["Sec-WebSocket-Protocol": offers])
        return try await Cluster.current.node.get("/ws?\(query)", headers: headers)
    }

    @Test(arguments: [["roomcast", "token."], ["token.", "roomcast"], ["chat", "token."], ["token."]])
    func tokenIsTakenFromTheOffers(pattern: [String]) async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.node.token()
        let offers = pattern.map { $0 == "token." ? $0 + token : $0 }
        let handshake = try await cluster.node.handshake("roomIds=\(room)", subprotocols: offers)
        guard case .open(let client) = handshake else { throw HarnessError("\(handshake)") }
        #expect(client.subprotocol == (offers.contains("roomcast") ? "roomcast" : "token.\(token)"))
        try await cluster.redis.publish(room: room, "1")
        #expect(try await client.next() == .text("1"))
        #expect(try await cluster.redis.hash("client:\(token)")["rooms"] == room)
    }

    /// Both ways: the token of the query counts, and a browser still gets one of its offers.
    @Test func tokenOfTheQueryWins() async throws {
        let cluster = try Cluster.current
        let (used, unused) = (try await cluster.node.token(), try await cluster.node.token())
        let query = "token=\(used)&roomIds=\(cluster.room())"
        let handshake = try await cluster.node.handshake(query, subprotocols: ["token.\(unused)"])
        guard case .open(let client) = handshake else { throw HarnessError("\(handshake)") }
        #expect(client.subprotocol == "token.\(unused)")
        #expect(try await cluster.redis.hash("client:\(used)")["node"] == "node-1")
        #expect(try await cluster.redis.hash("client:\(unused)")["node"] == nil)
    }

    @Test func clientWithoutTokenInItsOffersGetsTheNameOnly() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let answer = try await ask("token=\(token)&roomIds=\(cluster.room())", "chat, roomcast")
        #expect(answer.status == 101)
        #expect(answer.headers["sec-websocket-protocol"] == "roomcast")
    }

    @Test(arguments: [
        ("roomIds=a", "roomcast", 401, "Missing token"), ("roomIds=a", "token.", 401, "Missing token"),
        ("roomIds=a", "roomcast, Token.AAAAAAAAAAAAAAAAAAAAAAAA", 401, "Missing token"),
        ("token=&roomIds=a", "chat", 401, "Missing token"), ("", "token.unknown", 401, "Missing room"),
        ("roomIds=a", "token.unknown", 500, "Token error"),
        ("roomIds=a", "roomcast, token.AAAAAAAAAAAAAAAAAAAAAAAA", 500, "Token error"),
        ("roomIds=%FF", "token.unknown", 400, "Invalid request parameters"),
    ])
    func checksKeepTheirOrder(query: String, offers: String, status: Int, message: String) async throws {
        let answer = try await ask(query, offers)
        #expect(answer.status == status)
        #expect(answer.body == #"{"data":"\#(message)"}"#)
        #expect(answer.headers["sec-websocket-protocol"] == nil)
    }
}
