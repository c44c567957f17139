import EventLoop
import Glibc
import Testing
import WebSocket

@testable import Gateway

@Suite struct WebSocketClientTests {
    private let goodbye: [UInt8] = [0x03, 0xE8]  // 1000

    private func payload(_ number: Int, count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number) }
    }

    // MARK: Backlog

    /// A socket that takes 4 KiB at a time, and 40 frames of up to 20 KB: nearly every write is a partial
    /// one.
    @Test func backlogLeavesInOrderAsThePeerReads() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "16MiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        var expected: [UInt8] = []
        for number in 0..<40 {
            let frame = textFrame(payload(number, count: number * 500))
            expected += frame.bytes
            peer.client.send(frame)
        }
        #expect(rig.worker.turn.queueBytes > 0)
        #expect(rig.worker.turn.queueBytes + rig.worker.turn.writtenBytes == expected.count)
        rig.scenario.step(
            "everything arrives",
            until: {
                peer.read()
                return peer.received.count >= expected.count && rig.worker.turn.queueBytes == 0
            })
        try rig.scenario.run()
        #expect(peer.received == expected)
        #expect(rig.worker.turn.writtenBytes == expected.count)
        #expect(peer.client.phase == .open)
        // Without backlog again: a write goes straight out.
        peer.client.send(textFrame([1]))
        peer.read()
        #expect(peer.received.suffix(3) == [0x81, 1, 1])
    }

    @Test func slowConsumerGetsTheBegunFrameAndTheReason() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        let frame = textFrame(payload(1, count: 10_000))
        var sentCount = 0
        while peer.client.phase == .open, sentCount < 100 {
            peer.client.send(frame)
            sentCount += 1
        }
        #expect(peer.client.phase == .failed(.slowConsumer))
        // The limit may be passed by one frame, and one more is refused.
        #expect((7...10).contains(sentCount))
        peer.client.send(frame)
        #expect(rig.worker.turn.queueBytes <= 65_536 + frame.byteCount)
        peer.client.turnEnded()
        #expect(peer.client.phase == .closing)
        #expect(rig.closedCount(.slowConsumer) == 1)
        #expect(rig.worker.turn.queueBytes < frame.byteCount + 100)
        let closing = TestPeer.closing(.slowConsumer)
        rig.scenario.step(
            "the close arrives",
            until: {
                peer.read()
                return peer.received.suffix(closing.count).elementsEqual(closing)
            })
        try rig.scenario.run()
        let whole = peer.received.count - closing.count
        #expect(whole % frame.byteCount == 0, "only whole frames come before the close")
        #expect((1..<sentCount).contains(whole / frame.byteCount))
        #expect(rig.worker.turn.queueBytes == 0)
        peer.send(.close, goodbye)
        #expect(!peer.client.isWatching)
    }

    /// The peer reads nothing until its time for the closing handshake is over: it still learns the reason.
    @Test func whoReadsTooLateStillFindsTheCloseFrame() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        let frame = textFrame(payload(1, count: 5_000))
        while peer.client.phase == .open { peer.client.send(frame) }
        peer.client.turnEnded()
        #expect(peer.client.isWatching, "its Close frame does not fit into the socket")
        peer.client.deadlinePassed()
        #expect(!peer.client.isWatching, "no descriptor waits for it any longer")
        #expect(rig.worker.turn.queueBytes == 0)
        peer.read()
        #expect(peer.hasEnded)
        let closing = TestPeer.closing(.slowConsumer)
        #expect(peer.received.suffix(closing.count).elementsEqual(closing))
        #expect(
            (peer.received.count - closing.count) % frame.byteCount == 0, "only whole frames come before it")
        #expect(rig.closedCount(.slowConsumer) == 1)
        #expect(rig.closedCount(.lost) == 0)
    }

    /// What is begun may be longer than what one write moves.
    @Test func longBegunFrameIsCompletedBeforeTheLateCloseFrame() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        let frame = textFrame(payload(1, count: 300_000))
        while peer.client.phase == .open { peer.client.send(frame) }
        peer.client.turnEnded()
        peer.client.deadlinePassed()
        #expect(!peer.client.isWatching)
        #expect(rig.worker.turn.queueBytes == 0)
        peer.read()
        let closing = TestPeer.closing(.slowConsumer)
        #expect(peer.received == Array(frame.bytes) + closing)
    }

    /// A limit that no single message fits: who keeps up gets it all the same.
    @Test func frameOverTheLimitIsTakenWhenNothingWaits() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        let frame = textFrame(payload(3, count: 500_000))
        peer.client.send(frame)
        #expect(peer.client.phase == .open)
        try rig.awaitBytes([(peer, frame.byteCount)])
        #expect(peer.received == Array(frame.bytes))
    }

    /// A frame of three bytes takes more than forty times as much: the limit is one of memory.
    @Test func limitCountsWhatFramesTakeBesideTheirBytes() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        peer.client.send(textFrame(payload(1, count: 20_000)))
        var sentCount = 0
        while peer.client.phase == .open, sentCount < 30_000 {
            peer.client.send(textFrame([1]))
            sentCount += 1
        }
        #expect(peer.client.phase == .failed(.slowConsumer))
        #expect(
            (300...512).contains(sentCount), "\(sentCount) frames of \(SharedBytes.overheadBytes + 3) bytes")
    }

    @Test func vanishedPeerIsFoundByTheWrite() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        shutdown(peer.socket.descriptor, Int32(SHUT_RD))
        peer.client.send(textFrame([1]))
        #expect(peer.client.phase == .failed(.lost))
        #expect(peer.client.isWatching, "the caller may be walking through the room")
        peer.client.turnEnded()
        #expect(!peer.client.isWatching)
        #expect(rig.closedCount(.lost) == 1)
        #expect(rig.worker.connections.members.isEmpty)
    }

    /// A Pong that cannot leave fails the client; the Close behind the Ping must not end it a second time.
    @Test func closeBehindAFailedWriteLeavesTheClientToItsWorker() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        shutdown(peer.socket.descriptor, Int32(SHUT_RD))
        peer.send(TestPeer.frame(.ping) + TestPeer.frame(.close, goodbye))
        #expect(peer.client.phase == .failed(.lost))
        #expect(peer.client.isWatching, "it is still a member of its room")
        peer.client.turnEnded()
        #expect(!peer.client.isWatching)
        #expect(rig.worker.connections.members.isEmpty)
        #expect(rig.closedCount(.lost) == 1)
        #expect(rig.closedCount(.closedByPeer) == 0)
    }

    // MARK: Its place

    /// Whether the node has room for one more client.
    private func hasPlace(_ rig: WorkerRig) -> Bool {
        guard rig.node.state.admitClient() else { return false }
        rig.node.state.releaseClient()
        return true
    }

    /// A client that is being closed has its descriptor still: its place is free when that is.
    @Test(arguments: [true, false]) func placeIsGivenBackWithTheDescriptor(isViolation: Bool) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        for _ in 0..<999 { try #require(rig.node.state.admitClient()) }
        if isViolation { peer.send([0xFF, 0xFF]) } else { peer.client.close(.goingAway) }
        #expect(rig.worker.connections.members.isEmpty)
        #expect(peer.client.isWatching)
        #expect(!hasPlace(rig))
        peer.client.deadlinePassed()
        #expect(!peer.client.isWatching)
        #expect(hasPlace(rig))
    }

    // MARK: Closing handshake

    @Test(arguments: [[], [0x03, 0xE8], [0x03, 0xE9, 0x62, 0x79, 0x65], [0x0F, 0xA0]] as [[UInt8]])
    func closeOfThePeerIsAnsweredByItsCode(payload: [UInt8]) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        peer.send(.close, payload)
        #expect(!peer.client.isWatching)
        peer.read()
        #expect(peer.received == TestPeer.answer(.close, Array(payload.prefix(2))))
        #expect(peer.hasEnded)
        #expect(rig.closedCount(.closedByPeer) == 1)
        #expect(rig.worker.connections.members.isEmpty)
    }

    @Test func ourCloseWaitsForThePeers() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        peer.client.close(.goingAway)
        peer.client.close(.replaced)
        peer.client.send(textFrame([1]))
        peer.send(.ping, [1])
        peer.read()
        #expect(peer.received == TestPeer.closing(.goingAway), "nothing comes behind a close")
        #expect(!peer.hasEnded)
        #expect(rig.worker.connections.members.isEmpty)
        peer.send(.close, [0x03, 0xE9])
        peer.read()
        #expect(peer.hasEnded)
        #expect(peer.received == TestPeer.closing(.goingAway), "a close is answered once")
        #expect(rig.closedCount(.goingAway) == 1)
        #expect(rig.closedCount(.replaced) + rig.closedCount(.closedByPeer) + rig.closedCount(.lost) == 0)
    }

    @Test func peerThatNeverAnswersIsDroppedAtTheDeadline() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        peer.client.close(.heartbeatTimeout)
        #expect(peer.client.isWatching)
        peer.client.deadlinePassed()
        peer.read()
        #expect(peer.received == TestPeer.closing(.heartbeatTimeout))
        #expect(peer.hasEnded)
        #expect(rig.closedCount(.heartbeatTimeout) == 1)
        #expect(rig.closedCount(.lost) == 0)
    }

    @Test(arguments: [true, false])
    func backlogComesBeforeTheClose(isPeerFirst: Bool) throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "1MiB")
        let peer = try rig.connect("a", bufferBytes: 4096)
        let frame = textFrame(payload(1, count: 60_000))
        for _ in 0..<3 { peer.client.send(frame) }
        if isPeerFirst { peer.send(.close, goodbye) } else { peer.client.close(.goingAway) }
        #expect(peer.client.isWatching)
        let closing = isPeerFirst ? TestPeer.answer(.close, goodbye) : TestPeer.closing(.goingAway)
        let expected = Array(frame.bytes) + Array(frame.bytes) + Array(frame.bytes) + closing
        try rig.awaitBytes([(peer, expected.count)])
        #expect(peer.received == expected)
        #expect(peer.client.isWatching == !isPeerFirst)
        #expect(rig.worker.turn.queueBytes == 0)
        if !isPeerFirst { peer.send(.close, goodbye) }
        peer.read()
        #expect(peer.hasEnded)
    }

    @Test func endWithoutCloseIsALoss() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        shutdown(peer.socket.descriptor, Int32(SHUT_WR))
        peer.client.socketIsReadable()
        #expect(!peer.client.isWatching)
        #expect(rig.closedCount(.lost) == 1)
        #expect(rig.worker.connections.members.isEmpty)
    }

    // MARK: What the peer sends

    @Test(arguments: [0, 1, 125])
    func pingIsAnsweredByItsPayload(count: Int) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        let bytes = payload(9, count: count)
        peer.send(.ping, bytes)
        for byte in TestPeer.frame(.ping, bytes) { peer.send([byte]) }
        peer.read()
        #expect(peer.received == TestPeer.answer(.pong, bytes) + TestPeer.answer(.pong, bytes))
    }

    @Test func ofThePingsOfOneReadTheLatestIsAnswered() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        let before = rig.worker.turn.writeCount
        peer.send(
            (1...100).flatMap { TestPeer.frame(.ping, payload($0, count: $0)) }
                + TestPeer.frame(.text, [0x61]))
        #expect(rig.worker.turn.writeCount - before == 1)
        peer.read()
        #expect(peer.received == TestPeer.answer(.pong, payload(100, count: 100)))
    }

    @Test func pingBeforeACloseIsAnsweredBeforeIt() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        peer.send(TestPeer.frame(.ping, [7]) + TestPeer.frame(.close, goodbye))
        peer.read()
        #expect(peer.received == TestPeer.answer(.pong, [7]) + TestPeer.answer(.close, goodbye))
    }

    /// A peer that pings and reads nothing is owed one Pong.
    @Test func pongThatCannotLeaveIsReplacedByTheNextOne() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", bufferBytes: 4096)
        let frame = textFrame(payload(1, count: 60_000))
        peer.client.send(frame)
        let before = rig.worker.turn.queueBytes
        for number in 1...200 { peer.send(.ping, [UInt8(number)]) }
        #expect(rig.worker.turn.queueBytes == before + 3)
        let expected = Array(frame.bytes) + TestPeer.answer(.pong, [200])
        try rig.awaitBytes([(peer, expected.count)])
        #expect(peer.received == expected)
        #expect(rig.worker.turn.queueBytes == 0)
    }

    /// A socket that is full without any backlog: the Pongs themselves begin it, and it stays one of two
    /// Pongs, the one that has begun to leave and the next one.
    @Test func pongsToAPeerThatReadsNothingTakeNoMemory() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", bufferBytes: 4096)
        let bytes = payload(1, count: 125)
        for _ in 0..<Limits.controlFrameBurstCount { peer.send(.ping, bytes) }
        #expect(peer.client.phase == .open)
        let queue = try #require(peer.client.queue, "the socket takes everything: the test proves nothing")
        #expect(queue.memoryBytes <= 2 * (127 + SharedBytes.overheadBytes))
    }

    @Test(arguments: [Opcode.ping, .pong]) func tooManyControlFramesEndTheConnection(opcode: Opcode) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        let limit = Limits.controlFrameBurstCount
        // Those of a second or so are allowed on top, the time in which this test sends them.
        peer.send((0..<limit).flatMap { _ in TestPeer.frame(opcode) })
        #expect(peer.client.phase == .open)
        peer.send((0..<10 * limit).flatMap { _ in TestPeer.frame(opcode) } + TestPeer.frame(.close, goodbye))
        #expect(peer.client.phase == .closing)
        #expect(rig.closedCount(.tooManyControlFrames) == 1)
        #expect(CloseReason.tooManyControlFrames.description == "1008")
        peer.read()
        #expect(
            peer.received.suffix(TestPeer.closing(.tooManyControlFrames).count)
                == TestPeer.closing(.tooManyControlFrames)[...])
        #expect(peer.hasEnded, "our side is shut down")
        #expect(peer.client.isWatching)
        shutdown(peer.socket.descriptor, Int32(SHUT_WR))
        peer.client.socketIsReadable()
        #expect(!peer.client.isWatching)
    }

    /// One call reads a share, and leaves the rest for the next turn.
    @Test func oneReadTakesAShareOfWhatThePeerSends() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        let frame = TestPeer.frame(.binary, payload(1, count: 60_000))
        #expect(frame.withUnsafeBytes { peer.socket.write($0) } == .bytes(frame.count))
        peer.client.socketIsReadable()
        var rest: Int32 = 0
        #expect(ioctl(peer.client.socket.descriptor, UInt(FIONREAD), &rest) == 0)
        #expect(Int(rest) == frame.count - 16 * 1024)
    }

    @Test func messagesAndPongsOfThePeerChangeNothing() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        peer.send(.text, Array("hello".utf8))
        peer.send(.binary, payload(1, count: 65_536))
        peer.send(.pong, [1, 2])
        peer.read()
        #expect(peer.received.isEmpty)
        #expect(peer.client.phase == .open)
    }

    static let violations: [(String, [UInt8], CloseReason)] = [
        ("unmasked", [0x81, 0x01, 0x61], .protocolError),
        ("reserved bit", [0xC1, 0x80, 0, 0, 0, 0], .protocolError),
        ("unknown opcode", [0x83, 0x80, 0, 0, 0, 0], .protocolError),
        ("fragmented ping", [0x09, 0x80, 0, 0, 0, 0], .protocolError),
        ("illegal close code", TestPeer.frame(.close, [0x03, 0xED]), .protocolError),
        ("text that is no UTF-8", TestPeer.frame(.text, [0xFF]), .invalidPayload),
        ("too long", [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], .messageTooBig),
    ]

    /// The Close frame must arrive although bytes of the peer are unread, so its end is awaited.
    @Test(arguments: violations)
    func violationIsAnsweredByItsCode(name: String, bytes: [UInt8], reason: CloseReason) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        peer.send(bytes + TestPeer.frame(.ping))
        peer.send(.close, goodbye)
        peer.read()
        #expect(peer.received == TestPeer.closing(reason), "\(name)")
        #expect(peer.hasEnded, "our side is shut down")
        #expect(peer.client.isWatching)
        #expect(rig.closedCount(reason) == 1)
        #expect(rig.worker.connections.members.isEmpty)
        shutdown(peer.socket.descriptor, Int32(SHUT_WR))
        peer.client.socketIsReadable()
        #expect(!peer.client.isWatching)
        #expect(rig.closedCount(.lost) == 0)
    }
}
