// Opted-in members of a worker: catching up, losses, and what a worker that is too slow does to them.

import EventLoop
import RedisSchema
import Testing
import WebSocket

@testable import Gateway

@Suite struct CatchUpTests {
    private let epoch = HistoryEpoch(Array("k3f9x2ab".utf8))!

    private func position(_ number: Int64) -> HistoryPosition {
        HistoryPosition(epoch: epoch, id: NoticeId(milliseconds: 1_000 + number, number: number))
    }

    private func message(_ room: String, _ text: String, order: UInt64, isDurable: Bool) throws -> Message {
        let room = try #require(RoomId(room))
        return Array(text.utf8).withUnsafeBytes {
            Message(room: room, order: order, receivedAt: .now, isDurable: isDurable, payload: $0)
        }
    }

    /// An answer with notices behind a position.
    private func answer(
        _ room: String, since: Int64, _ texts: [String] = [], isComplete: Bool, isLost: Bool = false
    ) throws -> RoomAnswer<Message> {
        var replay = Replay<Message>(since: position(since).id)
        let entries = try texts.enumerated().map { index, text in
            HistoryEntry(
                id: position(since + Int64(index) + 1).id,
                frame: try message(room, text, order: 0, isDurable: true), memoryBytes: 1)
        }
        let isWhole = replay.append(entries, maximumBytes: 1 << 20)
        #expect(isWhole)
        replay.isComplete = isComplete
        return RoomAnswer(
            room: try #require(RoomId(room)), position: position(since), isLost: isLost, replay: replay,
            source: isLost ? .lost : .ring)
    }

    private func resume(_ rooms: [(String, Int64, Bool)]) -> String {
        let entries = rooms.map { room, number, isLost in
            #"{"room":"\#(room)","since":"\#(position(number))","lost":\#(isLost)}"#
        }
        return #"{"type":"resume","data":{"rooms":[\#(entries.joined(separator: ","))]}}"#
    }

    private func texts(_ peer: TestPeer) throws -> [String] {
        var decoder = FrameDecoder(.client, maximumMessageBytes: 1 << 20)
        var texts: [String] = []
        var bytes = peer.received
        bytes.withUnsafeMutableBytes { buffer in
            var input = buffer
            while let event = decoder.next(&input) {
                switch event {
                case .messageStart: texts.append("")
                case .messageBytes(let part): texts[texts.count - 1] += String(decoding: part, as: UTF8.self)
                case .close(let code, _): texts.append("close \(code?.rawValue ?? 0)")
                default: break
                }
            }
        }
        return texts
    }

    private func read(_ rig: WorkerRig, _ peers: [TestPeer], until isThere: @escaping () -> Bool) throws {
        rig.scenario.step(
            "everything arrives",
            until: {
                for peer in peers { peer.read() }
                return isThere()
            })
        try rig.scenario.run()
    }

    /// Plain notices wait behind what was missed, in their order; durable ones come with it.
    @Test func whatComesWhileAClientCatchesUpFollows() throws {
        let rig = try WorkerRig()
        let first = try answer("a", since: 3, ["4", "5"], isComplete: false)
        let peer = try rig.connect("a", resumed: [first])
        let worker = rig.worker
        worker.rooms.deliver(try message("a", "plain 1", order: 1, isDurable: false))
        worker.rooms.deliver(try message("a", "8", order: 2, isDurable: true))
        worker.rooms.deliver(try message("a", "plain 2", order: 3, isDurable: false))
        worker.turn.flush()
        worker.connections.resumed(1, [try answer("a", since: 5, ["6", "7"], isComplete: false)])
        worker.connections.resumed(1, [try answer("a", since: 7, ["8"], isComplete: true)])
        worker.rooms.deliver(try message("a", "9", order: 4, isDurable: true))
        worker.turn.flush()
        let expected = [resume([("a", 3, false)]), "4", "5", "6", "7", "8", "plain 1", "plain 2", "9"]
        try read(rig, [peer]) { (try? texts(peer).count) == expected.count }
        #expect(try texts(peer) == expected)
        #expect(worker.connections.catchingUp.isEmpty)
    }

    @Test func whatIsNoLongerKeptIsToldOnTheWay() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect(
            "a", "b",
            resumed: [
                try answer("a", since: 1, ["2"], isComplete: false),
                try answer("b", since: 7, isComplete: true),
            ])
        rig.worker.connections.resumed(
            1,
            [
                try answer("a", since: 90, isComplete: true, isLost: true),
                try answer("b", since: 7, ["8"], isComplete: true),
            ])
        let expected = [resume([("a", 1, false), ("b", 7, false)]), "2", resume([("a", 90, true)]), "8"]
        try read(rig, [peer]) { (try? texts(peer).count) == expected.count }
        #expect(try texts(peer) == expected)
    }

    @Test func clientThatLeavesWhileItCatchesUpGivesUpItsQuestion() throws {
        let rig = try WorkerRig()
        let first = try answer("a", since: 3, ["4"], isComplete: false)
        let peer = try rig.connect("a", resumed: [first])
        peer.client.close(.goingAway)
        #expect(rig.worker.connections.catchingUp.isEmpty)
        #expect(rig.worker.rooms.all.isEmpty)
        #expect(
            try rig.subscriberMessages() == ["join a", "resume [a]", "leave a", "cancel resume"])
    }

    /// Too many plain notices behind a client that does not take what it has missed.
    @Test func clientThatDoesNotCatchUpIsASlowConsumer() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "16KiB")
        let first = try answer("a", since: 3, ["4"], isComplete: false)
        let peer = try rig.connect("a", resumed: [first])
        let text = String(repeating: "x", count: 1_000)
        for order in 1...20 {
            rig.worker.rooms.deliver(try message("a", text, order: UInt64(order), isDurable: false))
            _ = rig.worker.turn.run()
        }
        try read(rig, [peer]) { (try? texts(peer).last) == "close 1013" }
        #expect(rig.closedCount(.slowConsumer) == 1)
        #expect(try texts(peer) == [resume([("a", 3, false)]), "4", "close 1013"])
    }

    @Test func lossIsToldOnceToEachThatHasOptedIn() throws {
        let rig = try WorkerRig()
        let complete = [
            try answer("a", since: 1, isComplete: true), try answer("b", since: 2, isComplete: true),
        ]
        let both = try rig.connect("a", "b", resumed: complete)
        let other = try rig.connect("c", resumed: [])
        let plain = try rig.connect("a")
        rig.worker.tellHistoryLost([
            ResumedRoom(room: RoomId("a")!, since: position(5), isLost: true),
            ResumedRoom(room: RoomId("b")!, since: position(6), isLost: true),
        ])
        for (index, room) in ["a", "c"].enumerated() {
            rig.worker.rooms.deliver(try message(room, "end", order: UInt64(index), isDurable: false))
        }
        rig.worker.turn.flush()
        try read(rig, [both, other, plain]) {
            [both, other, plain].allSatisfy { (try? texts($0).last) == "end" }
        }
        #expect(
            try texts(both) == [
                resume([("a", 1, false), ("b", 2, false)]), resume([("a", 5, true), ("b", 6, true)]), "end",
            ])
        #expect(try texts(other) == ["end"])
        #expect(try texts(plain) == ["end"])
    }

    /// What a worker that is too far behind has dropped, opted-in members get when they come back.
    @Test func overloadSendsOptedInMembersAway() throws {
        let rig = try WorkerRig()
        let concerned = try rig.connect("a", resumed: [])
        let other = try rig.connect("b", resumed: [])
        let plain = try rig.connect("a")
        rig.worker.turn.onNews?(.messagesLost(rooms: [RoomId("a")!], milliseconds: 5))
        try read(rig, [concerned, other, plain]) { (try? texts(concerned).last) == "close 1013" }
        #expect(try texts(other).isEmpty)
        #expect(try texts(plain).isEmpty)
        #expect(rig.closedCount(.slowConsumer) == 1)
    }

    /// They come back slice by slice; one that waits for its slice gets nothing that stands behind the hole,
    /// in none of its rooms.
    @Test func overloadSendsAwayInSlicesAndNothingComesBehindTheHole() throws {
        let rig = try WorkerRig()
        let count = 2 * Limits.dismissalSliceCount + 1
        let concerned = try (0..<count).map { _ in try rig.connect("a", "b", resumed: []) }
        let plain = try rig.connect("a")
        rig.worker.rooms.deliver(try message("a", "before", order: 1, isDurable: true))
        rig.worker.turn.onNews?(.messagesLost(rooms: [RoomId("a")!], milliseconds: 5))
        #expect(rig.closedCount(.slowConsumer) == Limits.dismissalSliceCount)
        // More is lost while they wait, and one of them goes by itself.
        rig.worker.turn.onNews?(.messagesLost(rooms: [RoomId("a")!], milliseconds: 5))
        #expect(rig.closedCount(.slowConsumer) == Limits.dismissalSliceCount)
        let leaving = try #require(concerned.firstIndex { $0.client.isOpen })
        concerned[leaving].client.close(.goingAway)
        for (order, room) in ["a", "b"].enumerated() {
            rig.worker.rooms.deliver(try message(room, "behind", order: UInt64(order + 2), isDurable: true))
        }
        rig.worker.tellHistoryLost([ResumedRoom(room: RoomId("a")!, since: position(9), isLost: true)])
        try read(rig, concerned + [plain]) {
            concerned.allSatisfy { (try? texts($0).last)?.hasPrefix("close") == true }
        }
        for (index, member) in concerned.enumerated() {
            #expect(try texts(member) == ["before", index == leaving ? "close 1001" : "close 1013"])
        }
        #expect(try texts(plain) == ["before", "behind"])
        #expect(rig.closedCount(.slowConsumer) == UInt64(count - 1))
    }
}
