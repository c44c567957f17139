import EventLoop
import Glibc
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

@Suite struct RoomTableTests {
    private func room(_ name: String) -> RoomId { RoomId(name)! }

    /// What a client gets for these one-byte messages.
    private func frames(_ payloads: UInt8...) -> [UInt8] { payloads.flatMap { [0x81, 1, $0] } }

    // MARK: Joining and leaving

    @Test func firstClientSubscribesAndTheLastOneUnsubscribes() throws {
        let rig = try WorkerRig()
        let first = try rig.connect("a", "b")
        let second = try rig.connect("b")
        first.client.close(.goingAway)
        #expect(rig.worker.metrics.rooms.value == 1)
        second.client.close(.goingAway)
        #expect(rig.worker.metrics.rooms.value == 0)
        _ = try rig.connect("a")
        #expect(try rig.subscriberMessages() == ["join a", "join b", "leave a", "leave b", "join a"])
    }

    /// Whoever leaves, the last member takes the seat over: all others stay reachable, and can leave
    /// themselves.
    @Test(arguments: SeededRandom.seeds)
    func membersAreThoseWhoHaveJoinedAndNotLeft(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let rig = try WorkerRig()
        let names = ["a", "b", "c"]
        var present: [(peer: TestPeer, rooms: Set<String>)] = []
        for step in 0..<120 {
            if present.count < 12, Bool.random(using: &random) || present.isEmpty {
                let chosen = Array(
                    names.shuffled(using: &random).prefix(Int.random(in: 1...2, using: &random)))
                let peer = try chosen.count == 1 ? rig.connect(chosen[0]) : rig.connect(chosen[0], chosen[1])
                present.append((peer, Set(chosen)))
            } else {
                present.remove(at: Int.random(in: 0..<present.count, using: &random)).peer.client.close(
                    .goingAway)
            }
            let name = names[step % 3]
            let byte = UInt8(step)
            rig.worker.rooms.deliver(message([byte], in: room(name)))
            rig.worker.turn.flush()
            for (peer, rooms) in present {
                let before = peer.received.count
                peer.read()
                let got = Array(peer.received[before...])
                #expect(got == (rooms.contains(name) ? frames(byte) : []), "seed \(seed), step \(step)")
            }
            #expect(rig.worker.metrics.rooms.value == Set(present.flatMap(\.rooms)).count, "seed \(seed)")
        }
    }

    /// Who waits for a room that Redis refuses is told, and who comes while somebody is still in it as well.
    @Test func refusedRoomTurnsAwayWhoWaitsForIt() throws {
        let rig = try WorkerRig()
        _ = try rig.connect("a")
        let waiting = rig.worker.rooms.prepare([room("a"), room("b")])
        var refusals = 0
        waiting.onRefused = { refusals += 1 }
        rig.worker.rooms.refused(room("a"))
        #expect(refusals == 1)
        rig.worker.rooms.cancel(waiting)
        let next = rig.worker.rooms.prepare([room("a")])
        #expect(next.isRefused)
        rig.worker.rooms.cancel(next)
        rig.worker.rooms.subscribed(room("a"))
        let last = rig.worker.rooms.prepare([room("a")])
        #expect(!last.isRefused && last.isReady)
        rig.worker.rooms.cancel(last)
    }

    #if DEBUG
        /// A worker's rooms and its turn belong to its thread: each of these ends a process of its own.
        @Test func callOnAnotherThreadIsNoticed() async throws {
            let results = [
                await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                    nonisolated(unsafe) let rig = try WorkerRig()
                    try LoopThread(name: "another") { _ in _ = rig.worker.rooms.prepare([]) }.join()
                },
                await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                    nonisolated(unsafe) let rig = try WorkerRig()
                    try LoopThread(name: "another") { _ in rig.worker.turn.add([]) }.join()
                },
                await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                    let rig = try WorkerRig()
                    nonisolated(unsafe) let client = try rig.connect("a").client
                    nonisolated(unsafe) let room = Room(id: try #require(RoomId("b")), leaveCount: 0)
                    try LoopThread(name: "another") { _ in _ = room.add(client) }.join()
                },
            ]
            for result in results {
                let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
                #expect(text.contains("what is confined to a loop is called on its thread"), "\(text)")
            }
        }
    #endif

    // MARK: The road

    @Test(arguments: IoUringUse.allCases)
    func messagesOfATurnAreWrittenAtOnceAndInOrder(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let peers = [try rig.connect("a"), try rig.connect("a")]
        let before = rig.worker.turn.writeCount
        for number in 1...3 { rig.worker.rooms.deliver(message([UInt8(number)], in: room("a"))) }
        rig.worker.turn.flush()
        rig.worker.turn.flush()
        #expect(rig.worker.turn.writeCount - before == 2)
        for peer in peers {
            peer.read()
            #expect(peer.received == frames(1, 2, 3))
        }
        #expect(rig.worker.metrics.framesDelivered.value == 6)
    }

    @Test(arguments: IoUringUse.allCases)
    func clientOfTwoRoomsGetsBothInTheOrderOfTheirComing(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let both = try rig.connect("b", "a")
        let single = try rig.connect("a")
        for (number, name) in [(1, "a"), (2, "b"), (3, "a"), (4, "b")] {
            rig.worker.rooms.deliver(message([UInt8(number)], in: room(name), order: UInt64(number)))
        }
        rig.worker.turn.flush()
        both.read()
        single.read()
        #expect(both.received == frames(1, 2, 3, 4))
        #expect(single.received == frames(1, 3))
        rig.worker.rooms.deliver(message([5], in: room("b")))
        rig.worker.turn.flush()
        both.read()
        #expect(both.received == frames(1, 2, 3, 4, 5))
    }

    /// Where the bytes of a client's backlog lie.
    private func backlog(_ client: Member) -> [UnsafeRawPointer] {
        guard let queue = client.queue else { return [] }
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: Limits.backlogVectorCount) {
            vectors in
            let count = queue.gather(into: vectors)
            return vectors[..<count].compactMap { UnsafeRawPointer($0.iov_base) }
        }
    }

    /// A large message to one room and a small one to the other: three hundred clients that read nothing
    /// hold the messages themselves, not three hundred copies.
    @Test(arguments: IoUringUse.allCases)
    func backlogOfMembersOfTwoRoomsIsMadeOfTheRoomsOwnFrames(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let peers = try (0..<300).map { index in
            // In either order, and with company that is in one room only.
            switch index % 3 {
            case 0: try rig.connect("a", "b", bufferBytes: 4096)
            case 1: try rig.connect("b", "a", bufferBytes: 4096)
            default: try rig.connect("a", bufferBytes: 4096)
            }
        }
        var messages = [
            message([UInt8](repeating: 1, count: 100_000), in: room("a"), order: 1),
            message([2], in: room("b"), order: 2),
            message([UInt8](repeating: 3, count: 50_000), in: room("a"), order: 3),
        ]
        for message in messages { rig.worker.rooms.deliver(message) }
        rig.worker.turn.flush()
        let ranges = messages.map { message in
            let bytes = message.encoded(as: .webSocketText).bytes
            return bytes.baseAddress!..<bytes.baseAddress! + bytes.count
        }
        for (index, peer) in peers.enumerated() where index % 3 < 2 {
            let places = backlog(peer.client)
            #expect(places.count == 3)
            #expect(zip(places, ranges).allSatisfy { $1.contains($0) }, "a copy of its own")
        }
        // The queues' references are the only ones: with the last of them the bytes go.
        weak let large = messages[0].encoded(as: .webSocketText)
        messages = []
        let queues = peers.compactMap(\.client.queue)
        for queue in queues.dropLast(3) { queue.consume(queue.byteCount) }
        #expect(large != nil)
        for queue in queues { queue.consume(queue.byteCount) }
        #expect(large == nil)
    }

    /// More frames than one call takes, of two rooms at random, to sockets that take all, some, or nearly
    /// nothing.
    @Test(arguments: SeededRandom.seeds)
    func membersOfTwoRoomsGetEveryFrameInOrder(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let rig = try WorkerRig("--maximum-queue-bytes", "16MiB")
        let peers = [
            try rig.connect("a", "b"), try rig.connect("b", "a", bufferBytes: 4096),
            try rig.connect("b", "c", bufferBytes: 16_384), try rig.connect("a", "b", bufferBytes: 4096),
        ]
        var expected: [String: [UInt8]] = ["ab": [], "bc": []]
        var order: UInt64 = 0
        for count in [1, 2, Limits.mergedVectorCount, 2 * Limits.mergedVectorCount + 3] {
            for _ in 0..<count {
                order += 1
                let name = ["a", "b", "c"].randomElement(using: &random)!
                let payload = random.bytes(Int.random(in: 1...60, using: &random))
                if name != "c" { expected["ab"]! += TestPeer.answer(.text, payload) }
                if name != "a" { expected["bc"]! += TestPeer.answer(.text, payload) }
                rig.worker.rooms.deliver(message(payload, in: room(name), order: order))
            }
            rig.worker.turn.flush()
        }
        let wanted = ["ab", "ab", "bc", "ab"].map { expected[$0]! }
        try rig.awaitBytes(zip(peers, wanted).map { ($0, $1.count) })
        for (peer, bytes) in zip(peers, wanted) { #expect(peer.received == bytes, "seed \(seed)") }
        #expect(rig.worker.turn.queueBytes == 0)
        #expect(rig.worker.turn.writtenBytes == wanted.reduce(0) { $0 + $1.count })
    }

    /// What a turn has brought in two rooms is refused for its own size no more than what it has brought in
    /// one.
    @Test func turnOfTwoRoomsIsTakenWholeByAClientWithoutBacklog() throws {
        let rig = try WorkerRig("--maximum-queue-bytes", "64KiB")
        let peer = try rig.connect("a", "b", bufferBytes: 4096)
        for number in 1...6 {
            let room = room(number % 2 == 0 ? "a" : "b")
            rig.worker.rooms.deliver(
                message([UInt8](repeating: 7, count: 50_000), in: room, order: UInt64(number)))
        }
        rig.worker.turn.flush()
        #expect(peer.client.phase == .open)
        rig.worker.rooms.deliver(message([1], in: room("a"), order: 7))
        rig.worker.rooms.deliver(message([2], in: room("b"), order: 8))
        rig.worker.turn.flush()
        #expect(peer.client.phase == .failed(.slowConsumer), "its backlog is over the limit")
    }

    @Test func messageForARoomThatHasNobodyIsDropped() throws {
        let rig = try WorkerRig()
        let pending = rig.worker.rooms.prepare([room("a")])
        rig.worker.rooms.deliver(message([1], in: room("a")))
        rig.worker.rooms.deliver(message([2], in: room("b")))
        rig.worker.turn.flush()
        #expect(rig.worker.metrics.framesDelivered.value == 0)
        rig.worker.rooms.cancel(pending)
    }

    /// More clients than the ring takes at once; some are gone, some have a backlog or take a part only.
    @Test(arguments: IoUringUse.allCases)
    func everyClientGetsWholeFramesWhateverItsSocketTakes(_ use: IoUringUse) throws {
        let rig = try WorkerRig("--io-uring", use.rawValue, "--maximum-queue-bytes", "16MiB")
        let peers = try (0..<2 * SendRing.capacity + 3).map { index in
            try rig.connect("a", bufferBytes: index % 3 == 0 ? 4096 : 0)
        }
        let gone = peers[7]
        shutdown(gone.socket.descriptor, Int32(SHUT_RDWR))
        let closing = peers[8]
        closing.client.close(.goingAway)
        let payload = (0..<30_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for sequence in 1...3 {
            rig.worker.rooms.deliver(message(payload, in: room("a"), order: UInt64(sequence)))
            rig.worker.turn.flush()
        }
        let expected = Array(repeating: TestPeer.answer(.text, payload), count: 3).flatMap { $0 }
        let others = peers.filter { $0 !== gone && $0 !== closing }
        let queued = rig.worker.turn.queueBytes
        #expect(queued > 0, "some sockets are too small")
        #expect(gone.client.phase == .failed(.lost))
        try rig.awaitBytes(others.map { ($0, expected.count) })
        #expect(others.allSatisfy { $0.received == expected })
        #expect(rig.worker.turn.queueBytes == 0)
        closing.read()
        #expect(closing.received == TestPeer.closing(.goingAway))
    }

    // MARK: Handshakes on their way

    @Test func joinIsReadyWhenEveryRoomIsConfirmed() throws {
        let rig = try WorkerRig()
        let table = rig.worker.rooms
        let join = table.prepare([room("a"), room("b")])
        var readyCount = 0
        join.onReady = { readyCount += 1 }
        table.subscribed(room("a"))
        table.subscribed(room("a"))
        table.subscribed(room("elsewhere"))
        #expect(!join.isReady)
        #expect(readyCount == 0)
        table.subscribed(room("b"))
        #expect(join.isReady)
        #expect(readyCount == 1)
        #expect(table.prepare([room("b"), room("a")]).isReady, "who comes later need not wait")
        #expect(!table.prepare([room("a"), room("c")]).isReady)
    }

    @Test func roomStaysWhileAHandshakeIsOnItsWay() throws {
        let rig = try WorkerRig()
        let client = try rig.connect("a")
        let join = rig.worker.rooms.prepare([room("a")])
        client.client.close(.goingAway)
        #expect(rig.worker.metrics.rooms.value == 1)
        rig.worker.rooms.cancel(join)
        #expect(rig.worker.metrics.rooms.value == 0)
        #expect(try rig.subscriberMessages() == ["join a", "leave a"])
    }

    @Test func cancelledJoinIsForgottenAndTheOthersAreNot() throws {
        let rig = try WorkerRig()
        let table = rig.worker.rooms
        let (cancelled, kept) = (table.prepare([room("a"), room("b")]), table.prepare([room("a")]))
        var ready: [String] = []
        cancelled.onReady = { ready.append("cancelled") }
        kept.onReady = { ready.append("kept") }
        table.subscribed(room("b"))
        table.cancel(cancelled)
        table.subscribed(room("a"))
        #expect(ready == ["kept"])
        table.cancel(kept)
        #expect(try rig.subscriberMessages() == ["join a", "join b", "leave b", "leave a"])
    }

    /// A handshake holds its join, and its join what it will do in either case: the end breaks the circle.
    @Test(arguments: [true, false]) func joinThatIsOverLetsGoOfItsHandshake(isCancelled: Bool) throws {
        final class Handshake {
            var join: PendingJoin?
            func finish() {}
        }
        let rig = try WorkerRig()
        weak var released: Handshake?
        do {
            let handshake = Handshake()
            let join = rig.worker.rooms.prepare([room("a")])
            handshake.join = join
            join.onReady = { handshake.finish() }
            join.onRefused = { handshake.finish() }
            released = handshake
            if isCancelled { rig.worker.rooms.cancel(join) } else { rig.worker.rooms.subscribed(room("a")) }
        }
        #expect(released == nil)
    }

    /// A confirmation that the feed sent before it knew that the room was left is about the earlier stay:
    /// until the feed knows of the new one, messages pass the worker by.
    @Test func confirmationOfAnEarlierStayCountsForNothing() throws {
        let rig = try WorkerRig()
        let table = rig.worker.rooms
        table.cancel(table.prepare([room("a")]))
        let again = table.prepare([room("a")])
        table.subscribed(room("a"), leaveCount: 0)
        #expect(!again.isReady)
        table.refused(room("a"), leaveCount: 0)
        #expect(!again.isRefused)
        table.subscribed(room("a"), leaveCount: 1)
        #expect(again.isReady)
        table.cancel(again)
    }

    /// A confirmation that came before the loss is worth nothing after it.
    @Test func lossWhilePendingMakesEveryRoomWaitAgain() throws {
        let rig = try WorkerRig()
        let table = rig.worker.rooms
        let join = table.prepare([room("a"), room("b")])
        var readyCount = 0
        join.onReady = { readyCount += 1 }
        table.subscribed(room("a"))
        table.subscriptionsLost(pending: [join])
        table.subscriptionsLost(pending: [join])
        table.subscribed(room("b"))
        #expect(!join.isReady)
        #expect(readyCount == 0)
        #expect(!table.prepare([room("a")]).isReady)
        table.subscribed(room("a"))
        #expect(join.isReady)
        #expect(readyCount == 1)
    }

    /// A room whose subscription is lost keeps its clients: they get what comes when it is back.
    @Test func lossKeepsTheMembers() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        rig.worker.rooms.subscribed(room("a"))
        rig.worker.rooms.subscriptionsLost(pending: [])
        rig.worker.rooms.subscribed(room("a"))
        rig.worker.rooms.deliver(message([7], in: room("a")))
        rig.worker.turn.flush()
        peer.read()
        #expect(peer.received == frames(7))
    }
}
