import EventLoop
import RedisSchema
import Testing

@testable import Gateway

@Suite struct GapTests {
    private let room = RoomId("a")!

    private func at(_ seconds: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000) + .seconds(seconds)
    }

    // MARK: The node's part

    @Test func gapLastsFromTheFirstLossToTheReturnOfEveryRoom() {
        var gap = Gap(isTold: true)
        var ended = gap.end(now: at(1))
        #expect(ended == nil, "no loss, no gap")
        gap.begin(completeUntil: at(2))
        gap.begin(completeUntil: at(5))
        #expect(gap.isOpen)
        ended = gap.end(now: at(9))
        #expect(ended?.duration == .seconds(7))
        ended = gap.end(now: at(10))
        #expect(!gap.isOpen && ended == nil)
    }

    @Test func messagesWaitForTheEndOfTheGapInTheirOrder() throws {
        var gap = Gap(isTold: true)
        #expect(!gap.holdsMessages)
        gap.begin(completeUntil: at(0))
        #expect(gap.holdsMessages)
        for number in 1...3 {
            let isHeld = gap.hold(message([1], in: room, order: UInt64(number)), for: 0b10)
            #expect(isHeld)
        }
        let ended = gap.end(now: at(1))
        let held = try #require(ended).held
        #expect(held.map(\.message.order) == [1, 2, 3])
        #expect(held.allSatisfy { $0.message.room == room && $0.workers == 0b10 })
        #expect(!gap.holdsMessages)
    }

    @Test func nothingWaitsWhereNobodyIsTold() {
        var gap = Gap(isTold: false)
        gap.begin(completeUntil: at(0))
        #expect(!gap.holdsMessages)
    }

    @Test func whatMayWaitIsBounded() {
        var gap = Gap(isTold: true)
        gap.begin(completeUntil: at(0))
        let large = message([UInt8](repeating: 0, count: 16 << 20))
        var count = 0
        while count < 10, gap.hold(large, for: 1) { count += 1 }
        #expect(count == 4, "64 MiB")
        // From the first one that is lost on all are, and they are missing behind those that have waited.
        let isHeld = gap.hold(message([1], in: RoomId("b")!), for: 1)
        #expect(!isHeld)
        let ended = gap.end(now: .now)
        #expect(ended?.held.count == 4)
        #expect(ended?.dropped.rooms == [room, RoomId("b")!])
        #expect(ended.map { $0.dropped.start == large.receivedAt } == true)
        gap.begin(completeUntil: at(0))
        let isHeldAgain = gap.hold(large, for: 1)
        #expect(isHeldAgain)
        let endedAgain = gap.end(now: .now)
        #expect(endedAgain?.dropped.isEmpty == true)
    }

    /// Frames of three bytes take more than forty times as much.
    @Test func whatMayWaitIsMeasuredByMemory() {
        var gap = Gap(isTold: true)
        gap.begin(completeUntil: at(0))
        let small = message([1])
        var count = 0
        while count < 1_000_000, gap.hold(small, for: 1) { count += 1 }
        #expect(
            (64 << 20) / count >= small.encoded(as: .webSocketText).byteCount + SharedBytes.overheadBytes - 1
        )
    }

    // MARK: The worker's part

    private func notice(_ rooms: String..., milliseconds: Int) -> [UInt8] {
        let list = rooms.map { "\"\($0)\"" }.joined(separator: ",")
        let text = "{\"type\":\"gap\",\"data\":{\"rooms\":[\(list)],\"ms\":\(milliseconds)}}"
        return TestPeer.answer(.text, [UInt8](text.utf8))
    }

    @Test func roomNamesAreEscaped() {
        let bytes = GapNotice.bytes(rooms: [RoomId("a\"\\")!, RoomId("房")!], milliseconds: 7)
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"type":"gap","data":{"rooms":["a\"\\","房"],"ms":7}}"#)
    }

    @Test(arguments: IoUringUse.allCases)
    func everyClientOfBeforeIsToldOfItsRoomsAndNobodyElse(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let both = try rig.connect("a", "b")
        let one = try rig.connect("b")
        rig.loseSubscriptions()
        let late = try rig.connect("a")
        rig.worker.tellGap(milliseconds: 1_234)
        for peer in [both, one, late] { peer.read() }
        #expect(both.received == notice("a", "b", milliseconds: 1_234))
        #expect(one.received == notice("b", milliseconds: 1_234))
        #expect(late.received.isEmpty)

        // The next gap concerns the third one, too.
        rig.loseSubscriptions()
        rig.worker.tellGap(milliseconds: 5)
        for peer in [one, late] { peer.read() }
        #expect(one.received.suffix(notice("b", milliseconds: 5).count) == notice("b", milliseconds: 5)[...])
        #expect(late.received == notice("a", milliseconds: 5))
    }

    @Test func whatCameBeforeTheGapGoesBeforeItsNotice() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        rig.loseSubscriptions()
        rig.worker.rooms.deliver(message([1], in: room))
        rig.worker.tellGap(milliseconds: 5)
        rig.worker.rooms.deliver(message([2], in: room))
        rig.worker.turn.flush()
        peer.read()
        #expect(peer.received == [0x81, 1, 1] + notice("a", milliseconds: 5) + [0x81, 1, 2])
    }

    /// Messages that the node has dropped itself are missed by whoever is in their rooms, since when ever.
    @Test(arguments: IoUringUse.allCases)
    func clientsOfRoomsWithDroppedMessagesAreTold(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let both = try rig.connect("a", "b")
        let one = try rig.connect("b", "c")
        let other = try rig.connect("c")
        rig.worker.rooms.deliver(message([1], in: RoomId("b")!))
        rig.worker.tellLoss(of: [room, RoomId("b")!], milliseconds: 77)
        rig.worker.rooms.deliver(message([2], in: RoomId("b")!))
        rig.worker.turn.flush()
        for peer in [both, one, other] { peer.read() }
        #expect(both.received == [0x81, 1, 1] + notice("a", "b", milliseconds: 77) + [0x81, 1, 2])
        #expect(one.received == [0x81, 1, 1] + notice("b", milliseconds: 77) + [0x81, 1, 2])
        #expect(other.received.isEmpty)
    }

    @Test func roomThatIsRefusedIsNoneThatHadAGap() throws {
        let rig = try WorkerRig()
        let both = try rig.connect("a", "b")
        let one = try rig.connect("a")
        rig.loseSubscriptions()
        rig.worker.rooms.refused(room)
        rig.worker.tellGap(milliseconds: 5)
        for peer in [both, one] { peer.read() }
        #expect(both.received == notice("b", milliseconds: 5))
        #expect(one.received.isEmpty)
    }
}
