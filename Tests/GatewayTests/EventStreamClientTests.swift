// Event streams of a worker: what they get, how they end, and what their peers send.

import EventLoop
import Glibc
import RedisSchema
import Testing

@testable import Gateway

@Suite struct EventStreamClientTests {
    private let epoch = HistoryEpoch(Array("k3f9x2ab".utf8))!

    private func position(_ number: Int64) -> HistoryPosition {
        HistoryPosition(epoch: epoch, id: NoticeId(milliseconds: 1_000, number: number))
    }

    private func reader(_ peer: TestPeer) -> EventStreamReader { EventStreamReader(peer.received) }

    private func deliver(
        _ text: String, _ room: String, order: UInt64, number: Int64? = nil, to rig: WorkerRig
    ) {
        rig.worker.rooms.deliver(
            message(
                Array(text.utf8), in: RoomId(room)!, order: order, position: number.map { position($0) }))
    }

    /// Runs the scenario until the peers have so many events. Once, at a test's end.
    private func arrive(_ rig: WorkerRig, _ counts: [(peer: TestPeer, count: Int)]) throws {
        rig.scenario.step(
            "everything arrives",
            until: {
                for (peer, _) in counts { peer.read() }
                return counts.allSatisfy { reader($0.peer).events.count >= $0.count }
            })
        try rig.scenario.run()
    }

    @Test(arguments: IoUringUse.allCases)
    func bothTransportsOfARoomGetItsNotices(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let stream = try rig.connect("a", as: .events)
        let socket = try rig.connect("a")
        deliver("1", "a", order: 1, to: rig)
        deliver("{\n}", "a", order: 2, to: rig)
        rig.worker.turn.flush()
        try arrive(rig, [(stream, 2)])
        #expect(
            reader(stream).events == [ReceivedEvent(data: "1", id: ""), ReceivedEvent(data: "{\n}", id: "")])
        socket.read()
        #expect(
            socket.received == TestPeer.answer(.text, Array("1".utf8))
                + TestPeer.answer(.text, Array("{\n}".utf8)))
        #expect(rig.worker.metrics.framesDelivered.value == 4)
        #expect(rig.worker.metrics.clients.map(\.value) == [1, 1])
    }

    // MARK: Silence

    @Test func silentStreamGetsAComment() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", as: .events)
        let now = MonotonicInstant.now
        peer.client.beginDeadlines(now)
        peer.client.lookAtDeadlines(now + .milliseconds(24_900))
        peer.read()
        #expect(peer.received.isEmpty)
        peer.client.lookAtDeadlines(now + .milliseconds(25_100))
        peer.read()
        #expect(peer.received == Array(":\n\n".utf8))
        #expect(rig.worker.metrics.pings.value == 0, "those are Pings")
    }

    @Test func streamWithABacklogGetsNoComment() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", as: .events, bufferBytes: 4096)
        peer.client.send(textFrame([UInt8](repeating: 0x61, count: 100_000)))
        let queued = rig.worker.turn.queueBytes
        #expect(queued > 0)
        peer.client.ping()
        #expect(rig.worker.turn.queueBytes == queued)
    }

    // MARK: Positions

    @Test func durableNoticeHasItsPosition() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", as: .events)
        deliver("1", "a", order: 1, number: 7, to: rig)
        deliver("2", "a", order: 2, to: rig)
        rig.worker.turn.flush()
        try arrive(rig, [(peer, 2)])
        let id = position(7).description
        #expect(reader(peer).events == [ReceivedEvent(data: "1", id: id), ReceivedEvent(data: "2", id: id)])
    }

    /// Behind each turn that has moved one of them, and only then.
    @Test(arguments: IoUringUse.allCases)
    func streamOfTwoRoomsEndsATurnWithBothPositions(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let both = try rig.connect("a", "b", as: .events)
        let reverse = try rig.connect("b", "a", as: .events)
        let one = try rig.connect("a", as: .events)
        let socket = try rig.connect("a", "b")
        var ids: [String] = []
        func turn(_ messages: [(String, String, Int64?)]) {
            for (text, room, number) in messages {
                deliver(text, room, order: UInt64(ids.count * 10 + Int(text)!), number: number, to: rig)
            }
            rig.worker.turn.flush()
            both.read()
            ids.append(reader(both).lastEventId)
        }
        turn([("1", "b", nil)])
        turn([("1", "b", 4)])
        turn([("1", "a", 7), ("2", "b", nil), ("3", "b", 5)])
        turn([("1", "a", nil), ("2", "b", nil)])
        turn([("1", "a", 8)])
        #expect(
            ids == [
                "", ",\(position(4))", "\(position(7)),\(position(5))", "\(position(7)),\(position(5))",
                "\(position(8)),\(position(5))",
            ])
        try arrive(rig, [(both, 8), (reverse, 8), (one, 3)])
        #expect(reader(both).events.map(\.data) == ["1", "1", "1", "2", "3", "1", "2", "1"])
        #expect(reader(reverse).events.map(\.data) == reader(both).events.map(\.data))
        #expect(reader(reverse).lastEventId == "\(position(5)),\(position(8))")
        #expect(reader(one).lastEventId == "\(position(8))")
        socket.read()
        #expect(socket.received.count == 8 * 3, "no WebSocket hears of positions")
    }

    // MARK: Resuming

    private func answer(
        _ room: String, since: Int64, _ numbers: [Int64] = [], isComplete: Bool = true, isLost: Bool = false
    ) throws -> RoomAnswer<Message> {
        let id = try #require(RoomId(room))
        var replay = Replay<Message>(since: position(since).id)
        let entries = numbers.map { number in
            HistoryEntry(
                id: position(number).id,
                frame: message(
                    Array(#"{"id":"1000-\#(number)","room":"\#(room)","n":1}"#.utf8), in: id,
                    // As before the epoch was another.
                    position: HistoryPosition(Array("oldepoch.1000-\(number)".utf8))),
                memoryBytes: 1)
        }
        let isWhole = replay.append(entries, maximumBytes: 1 << 20)
        #expect(isWhole)
        replay.isComplete = isComplete
        return RoomAnswer(
            room: id, position: position(since), isLost: isLost, replay: replay,
            source: isLost ? .lost : .ring)
    }

    /// Wherever the connection ends, its last id says how far it has come in both rooms.
    @Test func whatWasMissedComesWithThePositionsOfAllRooms() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect(
            "a", "b", as: .events,
            resumed: [
                try answer("a", since: 3, [4, 5]), try answer("b", since: 7, [8], isComplete: false),
            ])
        deliver("plain", "a", order: 1, to: rig)
        rig.worker.turn.flush()
        rig.worker.connections.resumed(
            1, [try answer("a", since: 5, isComplete: true), try answer("b", since: 8, [9])])
        deliver("live", "b", order: 2, number: 10, to: rig)
        rig.worker.turn.flush()
        try arrive(rig, [(peer, 7)])
        let events = reader(peer).events
        #expect(events[0].data.hasPrefix(#"{"type":"resume","data":{"rooms":[{"room":"a","since":"#))
        let numbers: [(Int64, Int64)] = [(3, 7), (4, 7), (5, 7), (5, 8), (5, 9), (5, 9)]
        let pairs = numbers.map { "\(position($0)),\(position($1))" }
        #expect(events.dropLast().map(\.id) == pairs)
        #expect(events[5].data == "plain")
        #expect(events[6].data == "live" && events[6].id == "\(position(10))", "it is shared")
        #expect(reader(peer).lastEventId == "\(position(5)),\(position(10))")
    }

    @Test func lossIsToldWithThePositionsOfAllRooms() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect(
            "a", "b", as: .events, resumed: [try answer("a", since: 1), try answer("b", since: 2)])
        let plain = try rig.connect("a", as: .events)
        let lost = HistoryPosition(Array("newepoch.1000-9".utf8))!
        rig.worker.tellHistoryLost([ResumedRoom(room: RoomId("a")!, since: lost, isLost: true)])
        deliver("end", "a", order: 1, to: rig)
        rig.worker.turn.flush()
        try arrive(rig, [(peer, 3), (plain, 1)])
        let told = reader(peer).events[1]
        #expect(
            told.data == #"{"type":"resume","data":{"rooms":[{"room":"a","since":"\#(lost)","lost":true}]}}"#
        )
        #expect(told.id == "\(lost),\(position(2))")
        #expect(reader(plain).events.map(\.data) == ["end"])
    }

    // MARK: The end

    @Test(arguments: [CloseReason.goingAway, .heartbeatTimeout, .replaced, .revoked])
    func goodbyeIsTheLastEvent(_ reason: CloseReason) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", as: .events)
        deliver("1", "a", order: 1, to: rig)
        rig.worker.turn.flush()
        peer.client.close(reason)
        #expect(rig.closedCount(reason) == 1)
        #expect(rig.worker.metrics.clients.map(\.value) == [0, 0])
        rig.scenario.step(
            "its side ends",
            until: {
                peer.read()
                return peer.hasEnded
            })
        rig.scenario.step("the peer has gone, and the socket is closed", until: { !peer.client.isWatching })
        {
            #expect(peer.client.isWatching, "a reset would take the goodbye along")
            peer.socket.shutdownWriting()
        }
        try rig.scenario.run()
        #expect(reader(peer).events.map(\.name) == ["message", "close"])
    }

    /// One that does not read is told behind the event that is begun.
    @Test func slowConsumerGetsTheBegunEventAndTheReason() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", as: .events, bufferBytes: 4096)
        let text = String(repeating: "x", count: 10_000)
        var count: UInt64 = 0
        while peer.client.isOpen, count < 100 {
            count += 1
            deliver(text, "a", order: count, to: rig)
            _ = rig.worker.turn.run()
        }
        #expect(rig.closedCount(.slowConsumer) == 1)
        rig.scenario.step(
            "its side ends",
            until: {
                peer.read()
                return peer.hasEnded
            })
        try rig.scenario.run()
        let events = reader(peer).events
        #expect(events.last?.data == #"{"code":1013,"reason":"slow consumer"}"#)
        #expect(events.dropLast().allSatisfy { $0.data == text })
        #expect(events.count > 1 && events.count < Int(count))
    }

    // MARK: What the peer sends

    /// It is dropped, in shares of a turn, and changes nothing.
    @Test func whatThePeerSendsIsDropped() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", as: .events)
        let junk = [UInt8](repeating: 0x81, count: 100_000)
        var sentBytes = 0
        rig.scenario.step(
            "everything is taken",
            until: {
                if sentBytes < junk.count,
                    case .bytes(let count) = junk[sentBytes...].withUnsafeBytes({
                        peer.socket.write($0)
                    })
                {
                    sentBytes += count
                }
                return sentBytes == junk.count && !peer.client.socket.hasUnreadBytes
            })
        rig.scenario.step(
            "a notice comes",
            until: {
                peer.read()
                return !peer.received.isEmpty
            }
        ) {
            deliver("1", "a", order: 1, to: rig)
            rig.worker.turn.flush()
        }
        try rig.scenario.run()
        #expect(reader(peer).events.map(\.data) == ["1"])
        #expect(peer.client.isOpen)
    }

    @Test func endOfThePeersSideEndsTheStream() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", as: .events)
        rig.scenario.step("it is gone", until: { rig.closedCount(.lost) == 1 }) {
            peer.socket.shutdownWriting()
        }
        try rig.scenario.run()
        #expect(!peer.client.isWatching)
        #expect(rig.worker.rooms.all.isEmpty)
    }
}
