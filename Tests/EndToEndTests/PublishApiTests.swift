// POST /api/publish of the admin listener: what reaches clients and histories, and what a backend is told.
import Foundation
import Testing

@Suite struct PublishApiTests {
    private static let key = "0123456789-abcdef"
    private static let keyed = ["GATEWAY_ADMIN_KEY": key]

    private func publish(_ node: GatewayNode, _ body: String) async throws -> Answer {
        let head = requestText(
            "/api/publish", method: "POST",
            headers: [
                "Content-Type": "application/json", "Content-Length": "\(body.utf8.count)",
                "Authorization": "Bearer \(Self.key)",
            ])
        return try await node.driver.exchange(node.adminPort, head + body).answers[0]
    }

    private func frames(_ cluster: Cluster, _ room: String) async throws -> [String] {
        let entries = try await cluster.redis.command("XRANGE", .string("room:\(room)"), "-", "+")
        return (entries.array ?? []).compactMap { $0[1][1].string }
    }

    @Test func noticeReachesEveryRoomOnce() async throws {
        try await Cluster.with(nodes: 2, environment: Self.keyed) { cluster in
            let (first, second) = (cluster.room("a"), cluster.room("b"))
            let one = try await cluster.nodes[0].connect(first)
            let two = try await cluster.nodes[1].connect(second)
            let answer = try await publish(
                cluster.node, #"{"rooms":["\#(first)","\#(second)","\#(first)"],"type":"t","data":{"n": 1}}"#
            )
            #expect(answer.status == 200)
            #expect(
                answer.body
                    == #"{"rooms":[{"room":"\#(first)","nodes":1},{"room":"\#(second)","nodes":1}]}"#)
            for client in [one, two] {
                #expect(try await client.next() == .text(#"{"type":"t","data":{"n": 1}}"#))
            }
            try await cluster.redis.publish(room: first, "2")
            #expect(try await one.next() == .text("2"))
            #expect(try await frames(cluster, first) == [])
        }
    }

    /// The node's Redis has no library yet, so it loads it, or sends the source where it may not.
    @Test(arguments: [true, false])
    func durableNoticeIsKeptAndPushedOnce(mayLoad: Bool) async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            try await cluster.redis.command("FUNCTION", "FLUSH")
            if !mayLoad { try await cluster.redis.command("ACL", "SETUSER", "default", "-function|load") }
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            let body = #"{"room":"\#(room)","data":1,"durable":true,"once":"k"}"#
            let first = try #require(JSON(parsing: try await publish(cluster.node, body).body))["rooms"][0]
            let frame = try #require(try await frames(cluster, room).first)
            let id = try #require(first["id"].string)
            #expect(first["nodes"] == 1 && first["known"].isNull)
            #expect(frame == #"{"id":"\#(id)","room":"\#(room)","type":"notice","data":1}"#)
            #expect(try await client.next() == .text(frame))
            let again = try await publish(cluster.node, body)
            #expect(again.status == 200)
            #expect(
                again.body == #"{"rooms":[{"room":"\#(room)","nodes":null,"id":"\#(id)","known":true}]}"#)
            #expect(try await frames(cluster, room) == [frame])
            try await cluster.redis.publish(room: room, "2")
            #expect(try await client.next() == .text("2"), "nothing came between")
            let life = try await cluster.redis.command("PTTL", .string("room:\(room)")).int ?? 0
            #expect((3_600_000...4_500_000).contains(life))
        }
    }

    @Test func refusalOfARoomIsToldBesideTheOthers() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            let (typed, good) = (cluster.room("typed"), cluster.room("good"))
            try await cluster.redis.command("SET", .string("room:\(typed)"), "x")
            let client = try await cluster.node.connect(typed)
            let answer = try await publish(
                cluster.node, #"{"rooms":["\#(typed)","\#(good)"],"data":1,"durable":true}"#)
            #expect(answer.status == 503)
            #expect(answer.headers["retry-after"] == "1")
            let told = try #require(JSON(parsing: answer.body))
            #expect(told["data"] == "service unavailable")
            #expect(told["rooms"][0]["error"].string?.hasPrefix("WRONGTYPE") == true)
            #expect(told["rooms"][0]["id"].isNull)
            #expect(told["rooms"][1]["id"].string != nil)
            try await cluster.redis.publish(room: typed, "2")
            #expect(try await client.next() == .text("2"), "what is refused is not pushed")
            #expect(cluster.node.child.errorOutput.contains("notice not published"))
        }
    }

    @Test func requestsWithoutSenseNameTheirFault() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            for (body, detail) in [
                (#"{"room":"a","data":1,"durabel":true}"#, "a member is none of"),
                (#"{"room":"a"}"#, "data is missing"),
                (#"{"room":"a","data":1,"once":"k"}"#, "for durable notices only"),
                (
                    #"{"room":"a","data":"\#(String(repeating: "x", count: 65_536))","durable":true}"#,
                    "65536 bytes"
                ),
            ] {
                let answer = try await publish(cluster.node, body)
                #expect(answer.status == 400)
                #expect(answer.data == "Invalid request parameters")
                #expect(answer.headers["roomcast-detail"]?.contains(detail) == true)
            }
            #expect(try await cluster.redis.command("EXISTS", "room:a") == 0)
        }
    }

    @Test func absenceOfRedisIsTold() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            try await cluster.redis.stop()
            let answer = try await publish(cluster.node, #"{"room":"a","data":1,"durable":true}"#)
            #expect(answer.status == 503)
            #expect(answer.data == "service unavailable")
            #expect(JSON(parsing: answer.body)?["rooms"][0]["error"].string != nil)
        }
    }

    /// As the Redis user of deploy/redis.conf.
    @Test func deployedNodePublishesDurably() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let passwords = [
                "gateway": "gateway-Pa55word", "publisher": "publisher-Pa55word",
                "operator": "operator-Pa55word",
            ]
            let redis = try await RedisServer(cluster.driver, passwords: passwords)
            let node = try await GatewayNode(
                cluster.driver, id: "one", redis: redis,
                environment: Self.keyed.merging(["GATEWAY_REDIS_PASSWORD": "gateway-Pa55word"]) { $1 },
                url: "redis://gateway@127.0.0.1:\(redis.port)")
            for known in [false, true] {
                let answer = try await publish(node, #"{"room":"a","data":1,"durable":true,"once":"k"}"#)
                #expect(answer.status == 200, "\(answer.body)")
                #expect(answer.body.contains("known") == known)
            }
            #expect(try await redis.command("FUNCTION", "LIST").array?.count == 1)
            #expect(try await redis.command("ACL", "LOG") == [])
        }
    }
}
