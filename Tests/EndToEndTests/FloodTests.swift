// Peers that send too slowly, too much, or in pieces too small: they get what is due to them, and nobody
// else pays.
import Foundation
import Testing

@Suite struct FloodTests {
    private static let slowHead = "GET /heartbeat?token=x HTTP/1.1\r\nHost: a\r\nX: "

    /// Time is the subject: a head has 3 s, however it dribbles in.
    @Test func slowHeadsAreCutAfterTheRequestTimeout() async throws {
        try await Cluster.with(options: ["--request-timeout", "3s", "--unsubscribe-grace", "100ms"]) {
            cluster in
            let node = cluster.node
            let descriptors = try node.child.descriptorCount
            let all = try await node.driver.trickle(
                node.port, Self.slowHead, count: 300, interval: .milliseconds(150))
            #expect(all.count == 300)
            #expect(all.allSatisfy { $0.status == 408 && $0.isClosed })
            #expect(all.map(\.after).min() ?? .zero >= .seconds(2.9))
            try await node.expectNobody(descriptors: descriptors)
        }
    }

    @Test func slowHeadsKeepNobodyWaiting() async throws {
        let options = ["--request-timeout", "5m", "--unsubscribe-grace", "100ms"]
        try await Cluster.with(options: options) { cluster in
            let node = cluster.node
            let descriptors = try node.child.descriptorCount
            async let trickled = node.driver.trickle(
                node.port, Self.slowHead, count: 300, interval: .milliseconds(150))
            try await eventually("all of them are there") {
                try await node.metrics()["roomcast_http_connections"] >= 300
            }
            for _ in 0..<3 { try await node.expectService(cluster) }
            #expect(try await node.metrics()["roomcast_http_connections"] >= 300, "they are still there")
            try await node.driver.call("trickle_end", [:])
            #expect(try await trickled.allSatisfy { $0.status == 0 && !$0.isClosed })
            try await node.expectNobody(descriptors: descriptors)
        }
    }

    /// Time is the subject: a head behind an answered request has the request timeout too, not the
    /// keep-alive time.
    @Test func headThatBeginsInTheSegmentOfAnotherRequestIsCutAsWell() async throws {
        try await Cluster.with(options: ["--request-timeout", "5s"]) { cluster in
            let token = try await cluster.node.token()
            for first in ["/nowhere", "/heartbeat?token=\(token)"] {
                let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
                try await raw.send(requestText(first) + "GET /heartbeat?tok")
                let (bytes, end) = try await raw.receive()
                let answers = String(decoding: bytes, as: UTF8.self)
                #expect(answers.hasPrefix(first == "/nowhere" ? "HTTP/1.1 404 " : "HTTP/1.1 200 "))
                #expect(answers.contains("HTTP/1.1 408 "))
                #expect(end == .eof)
                try await raw.close()
            }
        }
    }

    /// Time is the subject: a body that is announced and dribbles keeps its connection no longer than a head
    /// does.
    @Test func bodyThatDribblesIsCutAfterTheRequestTimeout() async throws {
        try await Cluster.with(options: ["--request-timeout", "5s"]) { cluster in
            let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
            let clock = ContinuousClock()
            let begun = clock.now
            try await raw.send(requestText("/heartbeat?token=x", headers: ["Content-Length": "60000"]) + "x")
            let body = #"{"data":"token error"}"#
            #expect(!(try await raw.receive(until: body).bytes).isEmpty)
            try await eventually("the connection is closed") {
                try await raw.send("x")
                return try await raw.receive(1, within: .milliseconds(100)).end != nil
            }
            #expect(clock.now - begun >= .seconds(5))
            try await raw.close()
        }
    }

    /// 10 MB of requests, sent before any is answered. While Redis is silent the first one waits, and the
    /// node takes no more than a little of the rest. It waits for 2 s: where a slow machine takes longer to
    /// send, the first ones may be refused.
    @Test func tenThousandPipelinedHeartbeatsAreAnsweredInOrderInBoundedMemory() async throws {
        try await Cluster.with { cluster in
            let node = cluster.node
            try await node.expectService(cluster)
            let token = try await node.token()
            let padding = ["X-Padding": String(repeating: "x", count: 900)]
            let targets = [
                "/heartbeat?token=\(token)", "/heartbeat?token=AAAAAAAAAAAAAAAAAAAAAAAA",
                "/heartbeat?token=x",
                "/heartbeat", "/heartbeat?token=%zz",
            ]
            let memory = try node.peakMemoryBytes
            let silentSince = ContinuousClock.now
            try await cluster.redis.first.signal(SIGSTOP)
            let flood = try await node.driver.flood(
                node.port, targets.map { requestText($0, headers: padding) }, repeats: 2000,
                stall: .milliseconds(400))
            try await cluster.redis.first.signal(SIGCONT)
            #expect(flood.allBytes > 9_000_000)
            #expect(flood.takenBytes < 2_000_000, "the node has read what it could not answer")
            let isRefusalDue = ContinuousClock.now - silentSince >= .seconds(2)
            let expected = (0..<2000).flatMap { _ in [200, 500, 500, 500, 400] }
            let statuses = zip(expected, try await flood.end(count: 10_000)).map { expected, status in
                isRefusalDue && status == 503 ? expected : status
            }
            #expect(statuses == expected)
            let growth = try node.peakMemoryBytes - memory
            // A sanitizer keeps what was freed.
            if !Installation.isSanitized { #expect(growth < 3_000_000, "\(growth) bytes more") }
            try await node.expectService(cluster)
        }
    }

    /// More pings than any client needs end the connection; until then the node keeps one Pong for it, not
    /// thousands.
    @Test func floodOfPingsEndsTheConnectionAndTakesNoMemory() async throws {
        try await Cluster.with(options: ["--unsubscribe-grace", "100ms"]) { cluster in
            let node = cluster.node
            try await node.expectService(cluster)
            let descriptors = try node.child.descriptorCount
            let memory = try node.peakMemoryBytes
            // Empty ones: what they cost is not their bytes.
            let portion = (0..<10_000).flatMap { _ in Frame.client(9) }
            for count in 1...20 {
                let raw = try await node.rawSocket(cluster.room(), receiveBufferBytes: 4096)
                try await eventually("it is closed for its pings") {
                    let closed = try await node.metrics().samples[#"roomcast_closes_total{code="1008"}"#]
                    if closed == Double(count) { return true }
                    try await raw.send(portion)
                    return false
                }
                let (bytes, end) = try await raw.receive()
                let frames = try Frame.parse(bytes)
                #expect(frames.last?.closeCode == 1008)
                // A Pong for each read at most, and a Ping takes six bytes: far fewer than there were pings.
                #expect(frames.count < 2_000)
                #expect(end != nil)
                try await raw.close()
            }
            let growth = try node.peakMemoryBytes - memory
            if !Installation.isSanitized { #expect(growth < 3_000_000, "\(growth) bytes more") }
            try await node.expectNobody(descriptors: descriptors)
        }
    }

    @Test func conversationMayComeByteByByte() async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let token = try await cluster.node.token()
            let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
            let before = requestText("/heartbeat?token=\(token)", headers: ["Content-Length": "5"]) + "hello"
            let upgrade = requestText("/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
            let euro = Array("€".utf8)
            let frames =
                Frame.client(1, [euro[0]], fin: false) + Frame.client(9, Array("a ping within".utf8))
                + Frame.client(0, Array(euro[1...])) + Frame.client(2, [UInt8](repeating: 7, count: 300))
            #expect(try await raw.dribble(Array((before + upgrade).utf8) + frames))
            let answer = try await raw.receive(until: "\r\n\r\n{}").bytes
            #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 200 "))
            let opened = try await raw.receive(until: "\r\n\r\n").bytes
            #expect(String(decoding: opened, as: UTF8.self).hasPrefix("HTTP/1.1 101 "))
            #expect(try await raw.receive(15).bytes == [0x8a, 13] + Array("a ping within".utf8))
            try await cluster.redis.publish(room: room, "1")
            #expect(try await raw.receive(3).bytes == [0x81, 1, UInt8(ascii: "1")])
            #expect(try await raw.dribble(Frame.close(1000, Array("bye".utf8))))
            let (bytes, end) = try await raw.receive()
            #expect(try Frame.parse(bytes).map(\.closeCode) == [1000])
            #expect(end == .eof)
            try await raw.close()
        }
    }
}
