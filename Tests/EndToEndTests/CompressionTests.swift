// permessage-deflate (RFC 7692) with the compression of Python's websockets on the other side: which frames a
// client gets, and what it may send.
import Foundation
import Testing

extension Installation {
    /// Whether the programs under test have it: they are built as the tests are.
    #if Compression
        static let hasCompression = true
    #else
        static let hasCompression = false
    #endif
}

/// What a text of some length compresses to is some tenth of it.
private func notice(_ number: Int, count: Int) -> String {
    let head = #"{"type":"notice","data":{"n":\#(number),"pad":""#
    let words = "Dear passengers, the train to the north leaves from platform \(number % 9) instead. "
    var pad = ""
    while head.utf8.count + pad.utf8.count + 3 < count { pad += words }
    return head + pad.prefix(max(0, count - head.utf8.count - 3)) + #""}}"#
}

@Suite(.enabled(if: Installation.hasCompression, "built without the package trait Compression"))
struct CompressionTests {
    private static let options = ["--compression", "on"]
    private static let agreed =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    private func connect(
        _ node: GatewayNode, _ rooms: String, compression: Bool = true
    ) async throws -> Client {
        let query = "token=\(try await node.token())&roomIds=\(rooms)"
        guard case .open(let client) = try await node.handshake(query, compression: compression) else {
            throw HarnessError("refused")
        }
        return client
    }

    /// The frames that a raw client of a room gets.
    private func frames(_ raw: RawConnection, bytes count: Int) async throws -> [Frame.Received] {
        try Frame.parse(try await raw.receive(count).bytes)
    }

    @Test func everyMemberOfARoomGetsTheSameNotices() async throws {
        try await Cluster.with(nodes: 2, options: Self.options) { cluster in
            let room = cluster.room()
            var clients: [Client] = []
            for node in cluster.nodes {
                for compression in [true, false, true] {
                    let client = try await connect(node, room, compression: compression)
                    #expect(client.extensions == (compression ? Self.agreed : nil))
                    clients.append(client)
                }
            }
            // Repeats over more than the window of 4 KiB among them, and what cannot be compressed.
            let far = notice(1, count: 5_000) + "  " + notice(2, count: 5_000)
            var texts = [50, 255, 256, 257, 512, 4_096, 40_000, 70_000].enumerated().map {
                notice($0.offset, count: $0.element)
            }
            texts.append("[" + far.replacing("}  {", with: "},{") + "]")
            texts.append(
                #""\#(Data((0..<600).map { _ in UInt8.random(in: 0...255) }).base64EncodedString())""#)
            for text in texts { try await cluster.redis.publish(room: room, text) }
            for client in clients {
                for text in texts { #expect(try await client.next() == .text(text)) }
            }
            for node in cluster.nodes {
                let metrics = try await node.metrics()
                #expect(metrics.samples["roomcast_compressed_connections"] == 2)
                #expect((metrics.samples["roomcast_messages_compressed_total"] ?? 0) >= 7)
                #expect(metrics.samples["roomcast_frames_delivered_total"] == Double(3 * texts.count))
            }
        }
    }

    /// On the wire: what is small, and what comes to others, is as it was published.
    @Test func framesAreCompressedFromTheSmallestSizeOn() async throws {
        let options = Self.options + ["--compression-minimum-bytes", "300"]
        try await Cluster.with(options: options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let offer = ["Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"]
            let compressed = try await node.rawSocket(room, headers: offer)
            let plain = try await node.rawSocket(room)
            let texts = [notice(1, count: 299), notice(2, count: 300)]
            for text in texts { try await cluster.redis.publish(room: room, text) }
            let asPublished = try await frames(plain, bytes: 299 + 300 + 8)
            #expect(asPublished.map(\.text) == texts)
            let small = try await frames(compressed, bytes: 299 + 4)
            #expect(small.map(\.text) == [texts[0]])
            let head = try await compressed.receive(2).bytes
            #expect(head[0] == 0xC1)
            // Two bytes of length follow if it is not short.
            var length = Int(head[1])
            if length == 126 {
                let bytes = try await compressed.receive(2).bytes
                length = Int(bytes[0]) << 8 | Int(bytes[1])
            }
            #expect(length < 250)
            #expect(try await compressed.receive(length).bytes.count == length)
        }
    }

    @Test func bothRoomsOfAClientComeInOrder() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            let (left, right) = (cluster.room("left"), cluster.room("right"))
            let both = try await connect(cluster.node, "\(left),\(right)")
            let plain = try await connect(cluster.node, "\(left),\(right)", compression: false)
            let single = try await connect(cluster.node, right)
            let texts = (0..<60).map { notice($0, count: $0.isMultiple(of: 3) ? 100 : 900) }
            for (number, text) in texts.enumerated() {
                try await cluster.redis.publish(room: number.isMultiple(of: 2) ? left : right, text)
            }
            for text in texts {
                #expect(try await both.next() == .text(text))
                #expect(try await plain.next() == .text(text))
            }
            for number in stride(from: 1, to: 60, by: 2) {
                #expect(try await single.next() == .text(texts[number]))
            }
        }
    }

    @Test func whatWasMissedComesCompressedToo() async throws {
        try await Cluster.with(nodes: 2, options: Self.options) { cluster in
            let (left, right) = (cluster.room("left"), cluster.room("right"))
            let padding = String(repeating: "the train is late ", count: 40)
            func publish(_ range: Range<Int>) async throws {
                for number in range {
                    for room in [left, right] {
                        try await cluster.redis.publishDurably(room: room, "n\(number) " + padding)
                    }
                }
            }
            let followers = [
                try await Follower(cluster.nodes[0], [left, right], compression: true),
                try await Follower(cluster.nodes[1], [left, right]),
            ]
            for round in 0..<3 {
                let start = round * 10
                try await publish(start..<start + 5)
                for follower in followers {
                    try await follower.read(upTo: "n\(start + 4) " + padding, in: right)
                    try await follower.close()
                }
                try await publish(start + 5..<start + 10)
                for (index, follower) in followers.enumerated() {
                    try await follower.comeBack(to: cluster.nodes[(round + index + 1) % 2])
                    try await follower.read(upTo: "n\(start + 9) " + padding, in: right)
                }
            }
            for follower in followers {
                for room in [left, right] {
                    #expect(follower.notices(of: room) == (0..<30).map { "n\($0) " + padding })
                    #expect(follower.lossCount(of: room) == 0)
                }
            }
        }
    }

    /// A client compresses what it sends; the limits are those of what comes out of it.
    @Test func messagesOfClientsAreInflatedWithinTheLimit() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let client = try await connect(node, room)
            try await client.send(notice(1, count: 65_536))
            try await client.send(Array(repeating: 0, count: 65_536))
            try await client.send("")
            #expect(try await client.ping("after"))
            for (send, code) in [("text", 1009), ("binary", 1009)] {
                let other = try await connect(node, room)
                if send == "text" {
                    try await other.send(notice(1, count: 65_537))
                } else {
                    // Some 10 KiB on the wire.
                    try await other.send(Array(repeating: 0, count: 10 << 20))
                }
                #expect(try await other.closed()?.code == code)
            }
            #expect(try await client.ping("still"))
        }
    }

    static let violations: [(String, [UInt8], Int)] = [
        ("not deflated", Frame.client(1, [0xff, 0xff], reserved: 4), 1007),
        ("cut off", Frame.client(1, [0xf2, 0x48, 0xcd], reserved: 4), 1007),
        // "Hello" of the standard, and its second message with context takeover.
        (
            "of a context",
            Frame.client(1, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], reserved: 4)
                + Frame.client(1, [0xf2, 0x00, 0x11, 0x00, 0x00], reserved: 4), 1007
        ),
        // One byte, 0xff, that is stored.
        (
            "text that is not UTF-8",
            Frame.client(1, [0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00], reserved: 4), 1007
        ),
        ("ping", Frame.client(9, [0x00], reserved: 4), 1002),
        ("other bit", Frame.client(1, [0x00], reserved: 6), 1002),
        (
            "continuation",
            Frame.client(1, [0xf2], fin: false, reserved: 4) + Frame.client(0, [0x48], reserved: 4), 1002
        ),
    ]

    @Test func violationsEndTheConnectionWithTheirCode() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            for (name, bytes, code) in Self.violations {
                let raw = try await cluster.node.rawSocket(
                    cluster.room(), headers: ["Sec-WebSocket-Extensions": "permessage-deflate"])
                try await raw.send(bytes)
                let (received, end) = try await raw.receive()
                #expect(try Frame.parse(received).map(\.closeCode) == [code], "\(name)")
                #expect(end != nil, "\(name)")
                try await raw.close()
            }
        }
    }

    /// The whole life of a cluster's notices with `loadtest`, whose clients check every byte.
    @Test func loadTestChecksCompressedDeliveries() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            let command = [
                try Installation.binary("loadtest"), "--gateway", "127.0.0.1:\(cluster.node.port)",
                "--redis",
                cluster.redis.url, "--clients", "20", "--rooms", "3", "--rooms-per-client", "2", "--payload",
                "600B", "--window", "4", "--messages", "200", "--warmup", "0s", "--compression", "--json",
                "--quiet",
            ]
            let done = try await cluster.driver.run(command)
            #expect(done.code == 0, "\(done.output) \(done.errors)")
            let metrics = try await cluster.node.metrics()
            #expect((metrics.samples["roomcast_messages_compressed_total"] ?? 0) >= 200)
            // Far less than 600 bytes each.
            let delivered = try #require(metrics.samples["roomcast_frames_delivered_total"])
            #expect(metrics["roomcast_written_bytes_total"] < delivered * 400)
        }
    }

    @Test func gatewayThatDeclinesIsRefusedByALoadTestThatAsks() async throws {
        try await Cluster.with { cluster in
            let command = [
                try Installation.binary("loadtest"), "--gateway", "127.0.0.1:\(cluster.node.port)",
                "--redis",
                cluster.redis.url, "--clients", "2", "--duration", "100ms", "--compression", "--quiet",
            ]
            let done = try await cluster.driver.run(command)
            #expect(done.code != 0)
            #expect((done.output + done.errors).contains("compression declined"), "\(done.output)")
        }
    }
}

/// The build that has no zlib says so.
@Suite(.enabled(if: !Installation.hasCompression, "built with the package trait Compression"))
struct NoCompressionTests {
    @Test(arguments: [
        ("gateway", ["--compression", "on"]), ("loadtest", ["--gateway", "127.0.0.1:1", "--compression"]),
    ])
    func optionThatNeedsZlibIsRefused(program: String, options: [String]) async throws {
        let driver = try Driver()
        let done = try await driver.run([try Installation.binary(program)] + options)
        await driver.stop()
        #expect(done.code == 2)
        #expect(done.errors.contains("--compression") && done.errors.contains("trait Compression"))
        #expect(done.output.isEmpty)
    }
}
