// The WebSocket protocol as a peer sees it: control frames, what a client says, and which faults close with
// what.
import Testing

@Suite(.cluster())
struct ProtocolTests {
    @Test func pingIsAnsweredWithItsOwnPayload() async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(cluster.room())
        for payload in ["", "abc", String(repeating: "p", count: 125)] {
            #expect(try await client.ping(payload))
        }
    }

    @Test func pongThatNobodyAskedForIsIgnored() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let raw = try await cluster.node.rawSocket(room)
        try await raw.send(Frame.client(10, Array("x".utf8)) + Frame.client(9, Array("y".utf8)))
        #expect(try await raw.receive(3).bytes == [0x8a, 1, UInt8(ascii: "y")])
        try await raw.close()
    }

    @Test(arguments: [(1000, "bye"), (1001, ""), (3000, "library"), (4999, "application")])
    func closeIsEchoed(code: Int, reason: String) async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(cluster.room())
        #expect(try await client.close(code, reason)?.code == code)
    }

    @Test func emptyCloseIsAnsweredAndEndsTheConnection() async throws {
        let cluster = try Cluster.current
        let raw = try await cluster.node.rawSocket(cluster.room())
        try await raw.send(Frame.client(8))
        let (bytes, end) = try await raw.receive()
        #expect(try Frame.parse(bytes).map(\.firstByte) == [0x88])
        #expect(end == .eof)
        try await raw.close()
    }

    @Test func whatAClientSaysReachesNobody() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let (talker, listener) = (try await cluster.node.connect(room), try await cluster.node.connect(room))
        try await talker.send(#"{"type":"notice","data":{}}"#)
        try await talker.send([0, 1, 0xff])
        try await talker.send("not json")
        // The pong proves that the node has read all of it.
        #expect(try await talker.ping("after"))
        try await cluster.redis.publish(room: room, "1")
        for client in [talker, listener] {
            #expect(try await client.next() == .text("1"))
            #expect(try await client.receivedCount() == 1)
        }
    }

    private static let letter: [UInt8] = [UInt8(ascii: "a")]
    private static let full = [UInt8](repeating: UInt8(ascii: "a"), count: 65536)

    static let faults: [(String, [UInt8], Int)] = [
        ("no mask", Frame.client(1, letter, masked: false), 1002),
        ("reserved bit 1", Frame.client(1, letter, reserved: 4), 1002),
        ("reserved bit 2", Frame.client(1, letter, reserved: 2), 1002),
        ("reserved bit 3", Frame.client(2, letter, reserved: 1), 1002),
        ("data opcode 3", Frame.client(3, letter), 1002),
        ("control opcode 11", Frame.client(11), 1002),
        ("fragmented ping", Frame.client(9, letter, fin: false), 1002),
        ("ping of 126 bytes", Frame.client(9, Array(full.prefix(126))), 1002),
        ("continuation of nothing", Frame.client(0, letter), 1002),
        ("text within a message", Frame.client(1, letter, fin: false) + Frame.client(1, letter), 1002),
        ("length not the shortest", [0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0x61], 1002),
        ("length with the top bit", [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], 1002),
        ("close of one byte", Frame.client(8, [3]), 1002),
        ("close code 999", Frame.close(999), 1002),
        ("close code 1004", Frame.close(1004), 1002),
        ("close code 1005", Frame.close(1005), 1002),
        ("close code 1006", Frame.close(1006), 1002),
        ("close code 1015", Frame.close(1015), 1002),
        ("close code 2999", Frame.close(2999), 1002),
        ("close code 5000", Frame.close(5000), 1002),
        ("text not UTF-8", Frame.client(1, [0xff]), 1007),
        ("text that ends within a character", Frame.client(1, [0xe6, 0x88]), 1007),
        ("surrogate", Frame.client(1, [0xed, 0xa0, 0x80]), 1007),
        ("fragments that do not join", Frame.client(1, [0xe6], fin: false) + Frame.client(0, [0x61]), 1007),
        ("close reason not UTF-8", Frame.close(1000, [0xff]), 1007),
        ("message of 64 KiB and a byte", Frame.client(2, full + letter), 1009),
        (
            "fragments of 64 KiB and a byte", Frame.client(2, full, fin: false) + Frame.client(0, letter),
            1009
        ),
        (
            "announcement of 8 EiB",
            [0x82, 0xff, 0x7f] + [UInt8](repeating: 0xff, count: 7) + [0, 0, 0, 0],
            1009
        ),
    ]

    @Test(arguments: faults)
    func faultClosesWithItsCode(name: String, bytes: [UInt8], code: Int) async throws {
        let cluster = try Cluster.current
        let raw = try await cluster.node.rawSocket(cluster.room())
        try await raw.send(bytes)
        let (received, end) = try await raw.receive()
        let frames = try Frame.parse(received)
        #expect(frames.count == 1)
        #expect(frames.first?.closeCode == code)
        #expect(end != nil, "the connection is still open")
        try await raw.close()
    }

    static let harmless: [(String, [UInt8])] = [
        ("64 KiB", Frame.client(2, full)),
        ("64 KiB in two", Frame.client(1, Array(full.dropLast()), fin: false) + Frame.client(0, letter)),
        ("empty text", Frame.client(1)),
        (
            "a character over two fragments",
            Frame.client(1, [0xe6, 0x88], fin: false) + Frame.client(0, [0xbf])
        ),
        (
            "pong within a message",
            Frame.client(1, letter, fin: false) + Frame.client(10) + Frame.client(0, letter)
        ),
        (
            "many empty fragments",
            Frame.client(1, fin: false) + (0..<50).flatMap { _ in Frame.client(0, fin: false) }
                + Frame.client(0)
        ),
    ]

    @Test(arguments: harmless)
    func whatTheProtocolAllowsKeepsTheConnection(name: String, bytes: [UInt8]) async throws {
        let cluster = try Cluster.current
        let raw = try await cluster.node.rawSocket(cluster.room())
        try await raw.send(bytes + Frame.client(9, Self.letter))
        #expect(try await raw.receive(3).bytes == [0x8a, 1, UInt8(ascii: "a")])
        try await raw.close()
    }

    @Test func frameMayArriveByteByByte() async throws {
        let cluster = try Cluster.current
        let raw = try await cluster.node.rawSocket(cluster.room())
        for byte in Frame.client(1, Array("héllo".utf8)) + Frame.client(9, Self.letter) {
            try await raw.send([byte])
        }
        #expect(try await raw.receive(3).bytes == [0x8a, 1, UInt8(ascii: "a")])
        try await raw.close()
    }

    /// A frame in the same segment as the request head belongs to the WebSocket.
    @Test func frameSentTogetherWithTheRequestIsRead() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        let head = requestText("/ws?token=\(token)&roomIds=\(cluster.room())", headers: handshakeHeaders())
        try await raw.send(Array(head.utf8) + Frame.client(9, Self.letter))
        let answer = try await raw.receive(until: "\r\n\r\n").bytes
        #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 101 "))
        #expect(try await raw.receive(3).bytes == [0x8a, 1, UInt8(ascii: "a")])
        try await raw.close()
    }
}
