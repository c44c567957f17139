// From PUBLISH to the sockets: who gets a message, with which bytes, in which order, and what is held back.
import Foundation
import Testing

@Suite(.cluster(nodes: 2))
struct PushTests {
    @Test func reachesEveryClientOfTheRoomOnEveryNodeAndNobodyElse() async throws {
        let cluster = try Cluster.current
        let (room, other) = (cluster.room(), cluster.room("other"))
        var inside: [Client] = []
        for node in cluster.nodes { for _ in 0..<4 { inside.append(try await node.connect(room)) } }
        let outside = try await cluster.node.connect(other)
        #expect(try await cluster.redis.publish(room: room, #"{"type":"notice","data":{}}"#) == 2)
        for client in inside { #expect(try await client.next() == .text(#"{"type":"notice","data":{}}"#)) }
        #expect(try await cluster.redis.publish(room: other, #"{"type":"notice","data":1}"#) == 1)
        #expect(try await outside.next() == .text(#"{"type":"notice","data":1}"#))
        #expect(try await outside.receivedCount() == 1)
    }

    /// The 101 may leave only when Redis has confirmed the subscription of this very room: each round takes
    /// a room that nobody has been in, and publishes in the turn in which the client has read the 101.
    @Test func whatIsPublishedRightAfterTheUpgradeIsDelivered() async throws {
        let cluster = try Cluster.current
        for round in 0..<25 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<8 {
                    group.addTask {
                        let node = cluster.nodes[lane % cluster.nodes.count]
                        let room = cluster.room("fresh")
                        let token = try await node.token()
                        let handshake = try await cluster.driver.handshake(
                            "ws://127.0.0.1:\(node.port)/ws?token=\(token)&roomIds=\(room)",
                            publishing: (cluster.redis.port, "room:\(room)", #"{"round":\#(round)}"#))
                        guard case .open(let client) = handshake else {
                            throw HarnessError("refused: \(handshake)")
                        }
                        #expect(try await client.next() == .text(#"{"round":\#(round)}"#))
                        _ = try await client.close()
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func bytesArriveUnchanged() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        let payloads = [
            #"{"type":"notice","data":{}}"#, " {\t\"a\" :\r\n 1 } \n", "42", "-0.0e+10", #""text""#, "null",
            "true",
            "[]", #"{"a":{"a":{}},"a":[1,[2]]}"#, #"{"escaped":"\u00e9\ud83d\ude00\/\\\""}"#,
            #"{"plain":"é 房间 😀 \#u{2028}\#u{7f}"}"#, "\"" + String(repeating: "é", count: 1 << 19) + "\"",
        ]
        for payload in payloads {
            try await cluster.redis.publish(room: room, payload)
            let event = try await client.next()
            #expect(event == .text(payload), "\(payload.prefix(60))")
        }
        #expect(try await client.receivedCount() == payloads.count)
    }

    /// Sizes around the steps of the length field, up to 1 MiB.
    @Test func everyMessageIsOneUnfragmentedTextFrame() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let raw = try await cluster.node.rawSocket(room)
        for size in [2, 125, 126, 127, 65535, 65536, 1 << 20] {
            let payload = "\"" + String(repeating: "x", count: size - 2) + "\""
            try await cluster.redis.publish(room: room, payload)
            let headerBytes = size > 65535 ? 10 : size > 125 ? 4 : 2
            let bytes = try await raw.receive(headerBytes + size).bytes
            let frames = try Frame.parse(bytes)
            #expect(frames.count == 1)
            #expect(frames.first?.isText == true)
            #expect(frames.first?.payload == Array(payload.utf8), "\(size) bytes")
        }
        try await raw.close()
    }

    private static let unfit: [[UInt8]] = [
        [], Array("not json".utf8), Array(#"{"a":1} x"#.utf8), Array("{'a':1}".utf8),
        Array(#"{"a":01}"#.utf8),
        Array(#"{"a":NaN}"#.utf8), Array(#"{"a":1,}"#.utf8), Array(#"{"a":"#.utf8), Array("\"\n\"".utf8),
        Array(" ".utf8), Array(#""\x""#.utf8), [0xff, 0xfe], [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22],
        [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xe2, 0x82, 0x22], [0x22, 0xf5, 0x80, 0x80, 0x80, 0x22],
    ]

    @Test func whatIsNotUtf8OrNotJsonIsHeldBackAndCounted() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        let before = try await cluster.node.metrics()["roomcast_payloads_held_back_total"]
        for (index, payload) in Self.unfit.enumerated() {
            try await cluster.redis.command("PUBLISH", .string("room:\(room)"), .bytes(payload))
            try await cluster.redis.publish(room: room, "\(index)")
            let event = try await client.next()
            #expect(event == .text("\(index)"), "after \(payload)")
        }
        #expect(try await client.receivedCount() == Self.unfit.count)
        let dropped = try await cluster.node.metrics()["roomcast_payloads_held_back_total"] - before
        #expect(dropped == Double(Self.unfit.count))
    }

    @Test func aClientInTwoRoomsGetsOneMessageForEachRoom() async throws {
        let cluster = try Cluster.current
        let (first, second) = (cluster.room("a"), cluster.room("b"))
        let client = try await cluster.node.connect("\(first),\(second)")
        for n in 0..<10 {
            try await cluster.redis.publish(room: first, "\(n)")
            try await cluster.redis.publish(room: second, "\(n)")
        }
        var counts: [Event: Int] = [:]
        for _ in 0..<20 { counts[try await client.next(), default: 0] += 1 }
        #expect(counts == Dictionary(uniqueKeysWithValues: (0..<10).map { (Event.text("\($0)"), 2) }))
    }

    @Test func orderOfARoomIsTheOrderOfPublish() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        var clients: [Client] = []
        for node in cluster.nodes { for _ in 0..<3 { clients.append(try await node.connect(room)) } }
        try await cluster.redis.publishSequence(room: room, count: 1000)
        for received in try await cluster.driver.sequences(clients, count: 1000) {
            #expect(received == ReceivedSequence(count: 1000, firstWrong: nil))
        }
    }

    @Test func aRoomGoesOnForOthersWhenOneLeaves() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let (leaving, staying) = (try await cluster.node.connect(room), try await cluster.node.connect(room))
        _ = try await leaving.close()
        try await cluster.redis.publish(room: room, "1")
        #expect(try await staying.next() == .text("1"))
    }
}
