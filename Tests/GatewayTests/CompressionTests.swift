import AllocationCounter
import EventLoop
import RedisSchema
import TestSupport
import Testing
import WebSocket

@testable import Gateway

/// Members that take compressed messages beside members that do not, and what they send themselves.
@Suite(.enabled(if: PermessageDeflate.isBuiltIn, "built without the package trait Compression"))
struct CompressionTests {
    private func room(_ name: String) -> RoomId { RoomId(name)! }

    private func compressor(_ rig: WorkerRig, minimumBytes: Int = 256) -> MessageCompressor {
        MessageCompressor(
            minimumBytes: minimumBytes, state: rig.node.state, metrics: rig.node.metrics.feeds[0])
    }

    private func payload(_ count: Int) -> [UInt8] { Array(repeating: 0x61, count: count) }

    // MARK: What is compressed

    @Test func messagesAreCompressedWhileAClientTakesThem() throws {
        let rig = try WorkerRig()
        let compressor = compressor(rig)
        func isCompressed() -> Bool { payload(300).withUnsafeBytes { compressor.frame(of: $0) } != nil }
        _ = try rig.connect("a")
        #expect(!isCompressed(), "no client takes them")
        let first = try rig.connect("a", isCompressed: true)
        let second = try rig.connect("b", isCompressed: true)
        #expect(isCompressed())
        #expect(NodeReport(node: rig.node, address: "").compressed == 2)
        first.client.disconnect()
        #expect(isCompressed() && rig.node.state.compressedClientCount == 1)
        second.client.disconnect()
        #expect(!isCompressed() && rig.node.state.compressedClientCount == 0)
        #expect(rig.node.metrics.feeds[0].messagesCompressed.value == 2)
    }

    @Test func sizesAndGainDecide() throws {
        let rig = try WorkerRig()
        _ = try rig.connect("a", isCompressed: true)
        let compressor = compressor(rig)
        for (count, isCompressed) in [
            (255, false), (256, true), (Limits.compressedPayloadBytes, true),
            (Limits.compressedPayloadBytes + 1, false),
        ] {
            let frame = payload(count).withUnsafeBytes { compressor.frame(of: $0) }
            #expect((frame != nil) == isCompressed, "\(count)")
            #expect(frame.map { $0.bytes[0] == 0xC1 && $0.byteCount < count } != false)
        }
        var random = SeededRandom(seed: 1)
        #expect(random.bytes(4_096).withUnsafeBytes { compressor.frame(of: $0) } == nil)
    }

    @Test func memoryOfAMessageIsThatOfItsFrames() {
        let plain = message(payload(300))
        let both = message(payload(300), deflated: payload(20))
        #expect(plain.memoryBytes == 304 + SharedBytes.overheadBytes)
        #expect(both.memoryBytes == plain.memoryBytes + 22 + SharedBytes.overheadBytes)
        #expect(plain.encoded(as: .webSocketDeflated) === plain.encoded(as: .webSocketText))
    }

    // MARK: Delivery

    /// What a member gets for two messages of which only the second has a compressed frame.
    private let plainFrames: [UInt8] = [0x81, 1, 1, 0x81, 1, 2]
    private let compressedFrames: [UInt8] = [0x81, 1, 1, 0xC1, 1, 9]

    @Test(arguments: IoUringUse.allCases)
    func membersOfOneRoomGetTheirOwnFrames(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let plain = [try rig.connect("a"), try rig.connect("a")]
        let compressed = try (0..<2).map { _ in try rig.connect("a", isCompressed: true) }
        let before = rig.worker.turn.writeCount
        rig.worker.rooms.deliver(message([1]))
        rig.worker.rooms.deliver(message([2], deflated: [9]))
        rig.worker.turn.flush()
        #expect(rig.worker.turn.writeCount - before == 4, "one write a member")
        #expect(rig.worker.metrics.framesDelivered.value == 8)
        for (peers, expected) in [(plain, plainFrames), (compressed, compressedFrames)] {
            for peer in peers {
                peer.read()
                #expect(peer.received == expected)
            }
        }
        // Each audience closes its gaps by itself.
        plain[0].client.close(.goingAway)
        compressed[0].client.close(.goingAway)
        rig.worker.rooms.deliver(message([2], deflated: [9]))
        rig.worker.turn.flush()
        plain[1].read()
        compressed[1].read()
        #expect(plain[1].received == plainFrames + [0x81, 1, 2])
        #expect(compressed[1].received == compressedFrames + [0xC1, 1, 9])
    }

    /// Members that are held out, because both of their rooms have messages, get theirs too.
    @Test(arguments: IoUringUse.allCases)
    func membersOfTwoRoomsGetTheirOwnFramesInOrder(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let plain = try rig.connect("a", "b")
        let compressed = try rig.connect("a", "b", isCompressed: true)
        let other = try rig.connect("b", isCompressed: true)
        rig.worker.rooms.deliver(message([2], in: room("b"), order: 2, deflated: [9]))
        rig.worker.rooms.deliver(message([1], in: room("a"), order: 1))
        rig.worker.rooms.deliver(message([2], in: room("a"), order: 3, deflated: [9]))
        rig.worker.turn.flush()
        for peer in [plain, compressed, other] { peer.read() }
        #expect(plain.received == plainFrames + [0x81, 1, 2])
        #expect(compressed.received == compressedFrames + [0xC1, 1, 9])
        #expect(other.received == [0xC1, 1, 9])
    }

    /// A backlog holds the compressed frames, and its limit counts them.
    @Test func slowMemberHasAShorterBacklog() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let plain = try rig.connect("a", bufferBytes: 4096)
        let compressed = try rig.connect("a", isCompressed: true, bufferBytes: 4096)
        for _ in 0..<20 {
            rig.worker.rooms.deliver(message(payload(10_000), deflated: payload(100)))
            rig.worker.turn.flush()
        }
        #expect(plain.client.phase == .failed(.slowConsumer))
        #expect(compressed.client.phase == .open)
    }

    @Test func historyAndNoticesOfTheNodeWorkWithIt() throws {
        let rig = try WorkerRig()
        let epoch = HistoryEpoch(Array("k3f9x2ab".utf8))!
        func position(_ number: Int64) -> HistoryPosition {
            HistoryPosition(epoch: epoch, id: NoticeId(milliseconds: 1_000 + number, number: number))
        }
        var replay = Replay<Message>(since: position(3).id)
        let missed = HistoryEntry(
            id: position(4).id, frame: message([1, 2, 3], deflated: [9]) as Message?, memoryBytes: 1)
        let isWhole = replay.append([missed], maximumBytes: 1 << 20)
        #expect(isWhole)
        let answer = RoomAnswer(
            room: room("a"), position: position(3), isLost: false, replay: replay, source: .ring)
        let peer = try rig.connect("a", isCompressed: true, resumed: [answer])
        rig.worker.rooms.deliver(message([4], deflated: [8]))
        rig.worker.turn.flush()
        var last = Replay<Message>(since: position(4).id)
        last.isComplete = true
        rig.worker.connections.resumed(
            1,
            [
                RoomAnswer(
                    room: room("a"), position: position(4), isLost: false, replay: last, source: .ring)
            ])
        rig.worker.rooms.deliver(message([5], deflated: [7]))
        rig.worker.turn.flush()
        peer.read()
        // The node's own word is short, and comes as it is.
        #expect(peer.received.first == 0x81)
        #expect(peer.received.suffix(9) == [0xC1, 1, 9, 0xC1, 1, 8, 0xC1, 1, 7])
        var notice = GapNotice(milliseconds: 5)
        #expect(notice.frame(for: peer.client)?.bytes.first == 0x81)
    }

    // MARK: What clients send

    /// A masked frame of a compressed message.
    private func frame(_ opcode: Opcode, _ payload: [UInt8], isFinal: Bool = true) -> [UInt8] {
        var output: [UInt8] = []
        payload.withUnsafeBytes {
            FrameEncoder.append(
                opcode, payload: $0, isFinal: isFinal, isCompressed: opcode != .continuation,
                maskingKey: MaskingKey(networkOrder: 0x37FA_213D), to: &output)
        }
        return output
    }

    private func deflated(_ message: [UInt8]) throws -> [UInt8] {
        let deflater = Deflater()
        return try #require(message.withUnsafeBytes { bytes in deflater.deflate(bytes) { Array($0) } })
    }

    @Test func messagesOfAClientAreInflatedAndDropped() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", isCompressed: true)
        let wire = frame(.text, try deflated(payload(65_536)))
        peer.send(wire + wire)
        for byte in wire { peer.send([byte]) }
        peer.send(.text, [0x61])
        peer.send(.ping, [0x70])
        peer.read()
        #expect(peer.received == TestPeer.answer(.pong, [0x70]))
        #expect(peer.client.phase == .open)
    }

    @Test func whatInflatesTooFarOrNotAtAllEndsTheConnection() throws {
        let rig = try WorkerRig("--maximum-message-bytes", "1KiB")
        for (bytes, reason) in [
            (frame(.text, try deflated(payload(1_025))), CloseReason(failure: .messageTooBig)),
            (frame(.text, try deflated(payload(50 << 20))), CloseReason(failure: .messageTooBig)),
            (frame(.text, [0xFF, 0xFF]), CloseReason(failure: .invalidPayload)),
            (
                frame(.text, try deflated(Array(repeating: 0xFF, count: 64))),
                CloseReason(failure: .invalidPayload)
            ),
        ] {
            let peer = try rig.connect("a", isCompressed: true)
            let before = rig.closedCount(reason)
            peer.send(bytes)
            peer.read()
            #expect(peer.received == TestPeer.closing(reason))
            #expect(rig.closedCount(reason) == before + 1)
        }
        let peer = try rig.connect("a")
        peer.send(frame(.text, try deflated(payload(100))))
        peer.read()
        #expect(peer.received == TestPeer.closing(CloseReason(failure: .protocolError)), "not negotiated")
    }

    /// A few bytes are much to inflate. What is plain costs nothing, and has no such limit.
    @Test func tooManyCompressedMessagesEndTheConnection() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", isCompressed: true)
        let (limit, bomb) = (Limits.controlFrameBurstCount, frame(.text, try deflated(payload(1_000))))
        peer.send((0..<20 * limit).flatMap { _ in TestPeer.frame(.text, [0x61]) })
        peer.send((0..<limit).flatMap { _ in bomb })
        #expect(peer.client.phase == .open)
        peer.send((0..<10 * limit).flatMap { _ in bomb })
        peer.read()
        #expect(rig.closedCount(.tooManyControlFrames) == 1)
        #expect(peer.received == TestPeer.closing(.tooManyControlFrames))
    }

    /// zlib's state is some 7 KiB and a window of 32 KiB: no client has one, whether it has sent a message or
    /// not. In a process of its own, as the allocator counts for all threads.
    @Test(.enabled(if: allocations_are_counted(), "a sanitizer brings its own allocator"))
    func nothingIsKeptForAConnection() async {
        await #expect(processExitsWith: .success) {
            let rig = try WorkerRig()
            var frames: [[UInt8]] = [TestPeer.frame(.text, Array(repeating: 0x61, count: 60_000)), []]
            Array(repeating: UInt8(0x61), count: 60_000).withUnsafeBytes { message in
                Deflater().deflate(message) {
                    FrameEncoder.append(
                        .text, payload: $0, isCompressed: true, maskingKey: MaskingKey(networkOrder: 1),
                        to: &frames[1])
                }
            }
            // What the worker has for all of them.
            try rig.connect("a", isCompressed: true).send(frames[1])
            let used = try [false, true].map { isCompressed in
                let before = allocated_bytes()
                for _ in 0..<100 {
                    let peer = try rig.connect("a", isCompressed: isCompressed)
                    peer.send(frames[isCompressed ? 1 : 0])
                    precondition(peer.client.phase == .open, "its message is read")
                }
                return allocated_bytes() - before
            }
            precondition(used[1] < used[0] + 100 * 200, "memory of a hundred clients: \(used)")
        }
    }
}
