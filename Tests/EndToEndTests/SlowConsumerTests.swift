// Clients that stop reading or fall silent: what they cost, how they are found, what they are told.
import Foundation
import Testing

@Suite struct SlowConsumerTests {
    private func lostCount(_ node: GatewayNode) async throws -> Double? {
        try await node.metrics().samples[#"roomcast_closes_total{code="lost"}"#]
    }

    /// 100 clients that read nothing, each with a backlog of more than half a MiB of the same messages.
    @Test func backlogOfManyIsHeldInMemoryOnce() async throws {
        try await Cluster.with { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let reader = try await node.connect(room)
            for _ in 0..<100 { _ = try await node.rawSocket(room, receiveBufferBytes: 4096) }
            let before = try node.child.residentBytes
            // In portions that the reader has taken before the next comes, so that it is none of the slow.
            for portion in 1...8 {
                try await cluster.redis.publishSequence(room: room, count: 10, paddingBytes: 10_000)
                try await eventually("the portion has arrived") {
                    try await reader.receivedCount() == portion * 10
                }
            }
            let queued = try await node.metrics()["roomcast_queue_bytes"]
            #expect(queued > 40 * 1_048_576, "they are behind")
            let grown = try node.child.residentBytes - before
            #expect(grown < Int(queued) / 4, "\(grown) bytes for \(queued) that wait")
        }
    }

    /// How much the node grows by a message of 100 KB to one room and a small one to another, in one turn,
    /// with clients in both that read nothing.
    private func growth(clients: Int) async throws -> Int {
        var growth = 0
        try await Cluster.with { cluster in
            let node = cluster.node
            let (large, small) = (cluster.room("large"), cluster.room("small"))
            let token = try await node.token()
            for _ in 0..<clients / 2 {
                _ = try await node.rawSocket("\(large),\(small)", receiveBufferBytes: 4096)
                _ = try await node.rawSocket("\(small),\(large)", receiveBufferBytes: 4096)
            }
            let memory = try node.peakMemoryBytes
            let publishing = """
                redis.call('PUBLISH', KEYS[1], string.format('"%s"', string.rep('x', 100000)))
                redis.call('PUBLISH', KEYS[2], '"small"')
                """
            try await cluster.redis.command(
                "EVAL", .string(publishing), "2", .string("room:\(large)"), .string("room:\(small)"))
            try await eventually("everybody has it") {
                try await node.metrics()["roomcast_frames_delivered_total"] == Double(2 * clients)
            }
            growth = try node.peakMemoryBytes - memory
            #expect(try await node.heartbeat(token).status == 200)
        }
        return growth
    }

    /// Copies of their own would take 80 MB more for eight hundred clients more.
    @Test func membersOfTwoRoomsShareWhatTheyHaveStillToGet() async throws {
        let (few, many) = (try await growth(clients: 200), try await growth(clients: 1_000))
        if !Installation.isSanitized { #expect(many - few < 20_000_000, "\(few) and \(many) bytes more") }
    }

    /// Its time for the closing handshake is over when it reads again: the node has no descriptor for it any
    /// more, and it learns the reason all the same.
    @Test func whoReadsAgainTooLateIsToldWhy() async throws {
        // However late it reads: the kernel keeps what is left for it.
        let options = ["--maximum-queue-bytes", "64KiB", "--tcp-user-timeout", "10m"]
        try await Cluster.with(options: options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let slow = try await node.rawSocket(room, receiveBufferBytes: 4096)
            // The first message is begun, and its rest fills the socket for good.
            try await cluster.redis.publishSequence(room: room, count: 3, paddingBytes: 200_000)
            try await eventually("the slow consumer is counted") {
                try await node.metrics().samples[#"roomcast_closes_total{code="1013"}"#] == 1
            }
            try await eventually("its descriptor is closed") { try await node.orphanCount() == 1 }
            let (bytes, end) = try await slow.receive()
            let frames = try Frame.parse(bytes)
            #expect(frames.last?.closeCode == 1013)
            #expect(frames.count > 1 && frames.dropLast().allSatisfy { $0.isText })
            #expect(end == .eof)
            try await slow.close()
        }
    }

    /// Its token beats by other connections, so that nothing but TCP can tell that nobody is there.
    @Test(.enabled(if: SocketFilter.isPermitted, SocketFilter.advice))
    func silentPeerIsFoundByProbes() async throws {
        try await Cluster.with(options: ["--tcp-keep-alive", "1s", "--tcp-user-timeout", "1s"]) { cluster in
            let gone = try await cluster.node.rawSocket(cluster.room())
            let there = try await cluster.node.connect(cluster.room())
            try await gone.deafen()
            try await eventually("the silent connection is gone") { try await lostCount(cluster.node) == 1 }
            #expect(try await there.ping("still here"), "a quiet peer that answers probes stays")
        }
    }

    @Test(.enabled(if: SocketFilter.isPermitted, SocketFilter.advice))
    func peerThatAcknowledgesNothingIsCut() async throws {
        try await Cluster.with(options: ["--tcp-user-timeout", "1s"]) { cluster in
            let room = cluster.room()
            let gone = try await cluster.node.rawSocket(room)
            let there = try await cluster.node.connect(room)
            try await gone.deafen()
            try await cluster.redis.publish(room: room, "1")
            try await eventually("the dead connection is gone") { try await lostCount(cluster.node) == 1 }
            #expect(try await there.next() == .text("1"))
            #expect(try await there.ping("still here"))
        }
    }
}
