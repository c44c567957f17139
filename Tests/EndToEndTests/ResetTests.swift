// Connections that end by a reset, at every stage of their life: nothing of them stays in the node.
import Foundation
import Testing

@Suite struct ResetTests {
    private static let count = 20

    enum Stage: String, CaseIterable {
        case afterConnecting, withinTheHead, behindAnAnswerThatIsUnread, whileRedisIsAsked,
            rightAfterTheUpgrade
        case withinAFrame, withinAMessage, withMessagesUnread, afterItsClose, afterTheClose, afterAViolation
    }

    @Test(arguments: Stage.allCases)
    func resetLeavesNothingBehind(stage: Stage) async throws {
        try await Cluster.with(options: ["--unsubscribe-grace", "100ms"]) { cluster in
            try await cluster.node.expectService(cluster)
            try await eventually("only the node's own descriptors are open") {
                try await cluster.node.metrics()["roomcast_http_connections"] == 0
            }
            let descriptors = try cluster.node.child.descriptorCount
            if stage == .whileRedisIsAsked {
                try await Self.abandonHandshakes(cluster)
            } else {
                for connection in try await Self.connections(cluster, at: stage) {
                    try await connection.reset()
                }
            }
            try await cluster.node.expectNobody(descriptors: descriptors)
            try await cluster.node.expectService(cluster)
            // The registrations of those that are gone hold nobody back either.
            #expect(try await cluster.node.ready().status == 200)
        }
    }

    /// Resets handshakes that wait for a frozen Redis. After 2 s the node itself refuses them: where a slow
    /// machine takes longer than that between the request and the reset, another one is tried.
    private static func abandonHandshakes(_ cluster: Cluster) async throws {
        let rejected = "roomcast_handshakes_rejected_total"
        let token = try await cluster.node.token()
        try await cluster.redis.first.signal(SIGSTOP)
        var begunCount = 0
        try await eventually("handshakes are abandoned") {
            for _ in 0..<4 {
                try await connection(cluster, at: .whileRedisIsAsked, token: token).reset()
                begunCount += 1
            }
            try await eventually("the handshakes are over") {
                try await cluster.node.metrics()[rejected] == Double(begunCount)
            }
            let abandoned =
                try await cluster.node.metrics().samples[rejected + #"{reason="abandoned"}"#] ?? 0
            return begunCount >= count && abandoned > 0
        }
        try await cluster.redis.first.signal(SIGCONT)
    }

    /// Connections that have come as far as `stage`, which the node is known to have seen where that can be
    /// told.
    private static func connections(_ cluster: Cluster, at stage: Stage) async throws -> [RawConnection] {
        var tokens: [String] = []
        for _ in 0..<count { tokens.append(try await cluster.node.token()) }
        var connections: [RawConnection] = []
        for token in tokens { connections.append(try await connection(cluster, at: stage, token: token)) }
        if stage == .afterConnecting || stage == .behindAnAnswerThatIsUnread {
            try await eventually("the node has them") {
                try await cluster.node.metrics()["roomcast_http_connections"] >= Double(count)
            }
        }
        return connections
    }

    private static func connection(
        _ cluster: Cluster, at stage: Stage, token: String
    ) async throws -> RawConnection {
        let node = cluster.node
        let upgrade = requestText(
            "/ws?token=\(token)&roomIds=\(cluster.room())", headers: handshakeHeaders())
        switch stage {
        case .afterConnecting: return try await RawConnection(cluster.driver, port: node.port)
        case .withinTheHead: return try await begun(node, with: "GET /ws?token=")
        case .behindAnAnswerThatIsUnread:
            let raw = try await RawConnection(cluster.driver, port: node.port)
            try await raw.send(requestText("/nowhere") + requestText("/heartbeat?token=\(token)"))
            return raw
        case .whileRedisIsAsked: return try await begun(node, with: upgrade)
        default: return try await socket(cluster, at: stage, token: token)
        }
    }

    /// A connection whose first request has been answered; `text` came in the same segment, so it has been
    /// read.
    private static func begun(_ node: GatewayNode, with text: String) async throws -> RawConnection {
        let raw = try await RawConnection(node.driver, port: node.port)
        try await raw.send(requestText("/nowhere") + text)
        let answer = try await raw.receive(until: "\r\n\r\n").bytes
        #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 404 "))
        return raw
    }

    private static func socket(
        _ cluster: Cluster, at stage: Stage, token: String
    ) async throws -> RawConnection {
        let room = cluster.room()
        let raw = try await cluster.node.rawSocket(room, token: token)
        let ping = Frame.client(9, [UInt8(ascii: "p")])
        switch stage {
        case .withinAFrame: try await expectPong(raw, ping + Frame.client(2, [1, 2, 3, 4]).dropLast())
        case .withinAMessage:
            try await expectPong(raw, Frame.client(1, [0xe6], fin: false) + ping + ping.dropLast(3))
        case .withMessagesUnread:
            try await cluster.redis.publishSequence(room: room, count: 50, paddingBytes: 1000)
        case .afterItsClose: try await raw.send(Frame.close(1000))
        case .afterTheClose:
            // Its own Close frame is not answered: a newer connection of the token has come.
            let newer = try await cluster.node.rawSocket(room, token: token)
            #expect(try Frame.parse(try await raw.receive(closeFrameBytes).bytes).first?.closeCode == 4001)
            try await newer.reset()
        case .afterAViolation:
            try await raw.send(Frame.client(1, [0x61], masked: false))
            #expect(try Frame.parse(try await raw.receive().bytes).map(\.closeCode) == [1002])
        default: break
        }
        return raw
    }

    /// Of the Close frame 4001 with its reason.
    private static let closeFrameBytes = 2 + 2 + "replaced by a newer connection".utf8.count

    private static func expectPong(_ raw: RawConnection, _ bytes: [UInt8]) async throws {
        try await raw.send(bytes)
        #expect(try await raw.receive(3).bytes == [0x8a, 1, UInt8(ascii: "p")])
    }
}
