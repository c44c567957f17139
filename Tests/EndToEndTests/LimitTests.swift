// Limits that protect a node and its other clients: slow consumers and the number of connections.
import Foundation
import Testing

@Suite struct LimitTests {
    /// 4 MB for a client that reads nothing, of which the kernel's buffers take a part and its queue 64 KiB.
    @Test(arguments: ["auto", "off"])
    func slowConsumerIsClosedWhileOthersGetEverything(ioUring: String) async throws {
        try await Cluster.with(
            options: ["--maximum-queue-bytes", "64KiB", "--io-uring", ioUring]
        ) { cluster in
            let room = cluster.room()
            let slow = try await cluster.node.rawSocket(room, receiveBufferBytes: 4096)
            var others: [Client] = []
            for _ in 0..<3 { others.append(try await cluster.node.connect(room)) }
            // In portions that the others have taken before the next comes, so that only one is slow.
            for _ in 0..<40 {
                let start = try await others[0].receivedCount()
                try await cluster.redis.publishSequence(room: room, count: 10, paddingBytes: 10000)
                for client in others {
                    try await eventually("the portion has arrived") {
                        try await client.receivedCount() == start + 10
                    }
                }
            }
            try await eventually("the slow consumer is counted") {
                try await cluster.node.metrics().samples[#"roomcast_closes_total{code="1013"}"#] == 1
            }
            let (bytes, end) = try await slow.receive()
            let frames = try Frame.parse(bytes)
            #expect(frames.last?.closeCode == 1013)
            #expect(frames.dropLast().allSatisfy { $0.isText })
            let numbers = frames.dropLast().map { JSON(parsing: $0.text)?["data"]["n"].int }
            #expect(numbers.enumerated().allSatisfy { $1 == $0 % 10 }, "a gap before the close")
            #expect(numbers.count < 400)
            #expect(end != nil)
            try await slow.close()
            for client in others {
                #expect(try await client.closed(within: .zero) == nil)
                #expect(try await client.receivedCount() == 400)
            }
            try await eventually("its queue is given back") {
                try await cluster.node.metrics()["roomcast_queue_bytes"] == 0
            }
        }
    }

    @Test func payloadOverTheMaximumReachesNobodyAndTheNextOneArrives() async throws {
        try await Cluster.with(options: ["--maximum-payload-bytes", "1KiB"]) { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            func text(bytes: Int) -> String { "\"" + String(repeating: "x", count: bytes - 2) + "\"" }
            for size in [1025, 1024, 100_000, 2] {
                try await cluster.redis.publish(room: room, text(bytes: size))
            }
            #expect(try await client.next() == .text(text(bytes: 1024)))
            #expect(try await client.next() == .text(text(bytes: 2)))
            #expect(try await client.receivedCount() == 2)
            let samples = try await cluster.node.metrics().samples
            #expect(samples[#"roomcast_payloads_held_back_total{reason="too_large"}"#] == 2)
            #expect(samples[#"roomcast_payloads_held_back_total{reason="not_json"}"#] == 0)
        }
    }

    /// Whoever asks: what a node issues has an end, and each who is sent away is told when to come back.
    @Test func tokensOverTheRateAreRefusedForAWhile() async throws {
        try await Cluster.with(options: ["--token-rate", "2", "--unused-token-ttl", "5m"]) { cluster in
            var refused: [Answer] = []
            for _ in 0..<200 where refused.isEmpty {
                let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
                    for _ in 0..<8 {
                        group.addTask { try await cluster.node.get("/get/token?isLogin=true&userId=a") }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                refused += answers.filter { $0.status != 200 }
            }
            #expect(!refused.isEmpty)
            for answer in refused {
                #expect(answer.status == 429)
                #expect(answer.body == #"{"data":"Too many requests"}"#)
                #expect((1...30).contains(answer.headers["retry-after"].flatMap { Int($0) } ?? 0))
            }
            let samples = try await cluster.node.metrics().samples
            #expect(samples[#"roomcast_tokens_limited_total{limit="node"}"#] == Double(refused.count))
            #expect(samples[#"roomcast_tokens_limited_total{limit="address"}"#] == 0)
            var token = ""
            var start = ContinuousClock.now
            try await eventually("there is one again") {
                start = .now
                token = try await cluster.node.token()
                return true
            }
            try await cluster.redis.expectLife(of: token, .seconds(300), since: start)
            start = .now
            #expect(try await cluster.node.heartbeat(token).status == 200)
            try await cluster.redis.expectLife(of: token, .seconds(3600), since: start)
        }
    }

    @Test func connectionsOverTheMaximumAreTurnedAwayUntilOneLeaves() async throws {
        try await Cluster.with(options: ["--maximum-connections", "4"]) { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            var clients: [Client] = []
            for _ in 0..<4 { clients.append(try await cluster.node.connect(room)) }
            let target = "/ws?token=\(token)&roomIds=\(room)"
            let refused = try await cluster.node.get(target, headers: handshakeHeaders())
            #expect(refused.status == 503)
            #expect(refused.headers["retry-after"].flatMap { Int($0) } != nil)
            #expect(refused.body == #"{"data":"service unavailable"}"#)
            for client in clients { #expect(try await client.ping("kept")) }
            _ = try await clients[0].close()
            try await eventually("there is room again") {
                (try? await cluster.node.connect(room, token: token)) != nil
            }
        }
    }

    /// A peer that breaks the protocol, keeps its socket, and comes again: what it holds is what it may
    /// hold.
    @Test func addressHoldsNoMoreDescriptorsThanItMayHaveConnections() async throws {
        try await Cluster.with(options: ["--maximum-connections-per-address", "5"]) { cluster in
            let node = cluster.node
            let room = cluster.room()
            let token = try await node.token()
            try await eventually("the token's request is over") {
                try await node.metrics()["roomcast_http_connections"] <= 1
            }
            let descriptors = try node.child.descriptorCount
            let request = requestText("/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
            var held: [RawConnection] = []
            var refusedCount = 0
            // A node whose machine is slow ends some of them meanwhile: until it has refused one.
            for index in 0..<1_000 where index < 60 || refusedCount == 0 {
                let raw = try await RawConnection(cluster.driver, port: node.port)
                try await raw.send(request)
                let head = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
                if head.hasPrefix("HTTP/1.1 101 ") {
                    // No mask. Its Close frame is never answered.
                    try await raw.send(Frame.client(1, [0x61], masked: false))
                    held.append(raw)
                } else {
                    #expect(head.hasPrefix("HTTP/1.1 429 "))
                    refusedCount += 1
                    try await raw.close()
                }
                // One for the request of a moment ago, one for that of the metrics.
                try await eventually("no more descriptors are open than places are taken") {
                    try node.child.descriptorCount <= descriptors + 5 + 2
                }
            }
            #expect(refusedCount > 0, "the node ends them faster than they come: the test proves nothing")
            for raw in held { try await raw.close() }
            try await eventually("there is room again") {
                (try? await node.connect(room, token: token)) != nil
            }
        }
    }
}
