// Tokens that are bound to rooms: they enter those and no others, on every node and after every loss of
// Redis.
import Foundation
import Testing

@Suite(.cluster(nodes: 2))
struct RoomBindingTests {
    private func token(_ rooms: String) async throws -> String {
        let answer = try await Cluster.current.node.get("/get/token?isLogin=true&userId=ada&rooms=\(rooms)")
        guard answer.status == 200, let token = answer.data else { throw HarnessError("\(answer)") }
        return token
    }

    private func expectRefused(_ node: GatewayNode, _ token: String, _ rooms: String) async throws {
        guard case .refused(let answer) = try await node.handshake("token=\(token)&roomIds=\(rooms)") else {
            Issue.record("\(rooms) were let in")
            return
        }
        #expect(answer.status == 403)
        #expect(answer.body == #"{"data":"Room not allowed"}"#)
        #expect(answer.headers["content-type"] == "application/json")
    }

    @Test func boundTokenEntersItsRoomsAndNoOthers() async throws {
        let cluster = try Cluster.current
        let (first, second, other) = (cluster.room("a"), cluster.room("b"), cluster.room("c"))
        let token = try await token("\(first),\(second),\(first)")
        #expect(try await cluster.redis.hash("client:\(token)")["allowedRooms"] == "\(first),\(second)")
        for rooms in [
            other, "\(first),\(other)", "\(other),\(first)", "\(first)x", String(first.dropLast()),
        ] {
            try await expectRefused(cluster.nodes[1], token, rooms)
        }
        // Repeats are dropped, and what stands behind the second room is ignored, before the rooms are
        // looked at.
        let client = try await cluster.nodes[1].connect(
            "\(second),\(second),,\(first),\(other)", token: token)
        try await cluster.redis.publish(room: first, "1")
        #expect(try await client.next() == .text("1"))
        let rejected = #"roomcast_handshakes_rejected_total{reason="room_not_allowed"}"#
        #expect(try await cluster.nodes[1].metrics().samples[rejected] ?? 0 >= 5)
    }

    @Test func refusedAttemptLeavesTheConnectionBeforeAlone() async throws {
        let cluster = try Cluster.current
        let (room, other) = (cluster.room("a"), cluster.room("b"))
        let token = try await token(room)
        let client = try await cluster.nodes[0].connect(room, token: token)
        let before = try await cluster.redis.hash("client:\(token)")
        for node in cluster.nodes { try await expectRefused(node, token, "\(room),\(other)") }
        #expect(try await cluster.redis.hash("client:\(token)") == before)
        try await cluster.redis.publish(room: room, "1")
        #expect(try await client.next() == .text("1"))
        #expect(try await client.closed(within: .zero) == nil)
    }

    @Test func tokenWithoutRoomsEntersAny() async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect("\(cluster.room("a")),\(cluster.room("b"))")
        #expect(try await client.ping("connected"))
    }

    /// The checks before it keep their order.
    @Test func otherChecksComeFirst() async throws {
        let cluster = try Cluster.current
        let token = try await token("a")
        let parts = [("token=\(token)", 401), ("token=\(token)&roomIds=%FF", 400), ("roomIds=b", 401)]
        for (query, status) in parts {
            let answer = try await cluster.node.get("/ws?\(query)", headers: handshakeHeaders())
            #expect(answer.status == status, "\(query)")
        }
        try await cluster.redis.command("DEL", .string("client:\(token)"))
        let answer = try await cluster.node.get("/ws?token=\(token)&roomIds=b", headers: handshakeHeaders())
        #expect(answer.body == #"{"data":"Token error"}"#)
    }

    @Test(arguments: ["", ",", "%00", "a,%0A", (1...33).map { "r\($0)" }.joined(separator: ",")])
    func listsOfAnotherFormAreRefused(rooms: String) async throws {
        let answer = try await Cluster.current.node.get("/get/token?isLogin=true&userId=ada&rooms=\(rooms)")
        #expect(answer.status == 400)
        #expect(answer.body == #"{"data":"Invalid request parameters"}"#)
    }

    @Test func bindingOutlivesARedisThatComesBackEmpty() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let answer = try await cluster.node.get("/get/token?isLogin=false&deviceId=tv&rooms=a,b%20c")
            let token = try #require(answer.data)
            let client = try await cluster.nodes[0].connect("a", token: token)
            try await cluster.redis.stop()
            _ = try await cluster.redis.restart()
            try await eventually("the record is written again") {
                try await cluster.redis.hash("client:\(token)")["node"] == "node-1"
            }
            #expect(try await cluster.redis.hash("client:\(token)")["allowedRooms"] == "a,b c")
            for node in cluster.nodes {
                try await eventually("ready") { try await node.ready().status == 200 }
            }
            try await expectRefused(cluster.nodes[1], token, "b")
            let newer = try await cluster.nodes[1].connect("b%20c", token: token)
            #expect(try await newer.ping("connected"))
            #expect(try await client.closed()?.code == 4001)
        }
    }
}
