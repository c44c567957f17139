import AllocationCounter
import RedisSchema
import Testing

@testable import Gateway

/// A delivery allocates nothing: what a turn allocates is for its messages, however many members get them.
@Suite(.enabled(if: allocations_are_counted(), "a sanitizer brings its own allocator"))
struct AllocationTests {
    private static let turnCount = 100
    private static let memberCount = 100

    /// The allocations of a hundred turns, each of which brings messages to one room or to two.
    private func allocations(
        members: Int, rooms: [String], _ encoding: Encoding, isDurable: Bool, _ use: IoUringUse
    ) throws -> UInt64 {
        let rig = try WorkerRig("--io-uring", use.rawValue)
        let peers = try (0..<members).map { _ in
            let (transport, isCompressed) = (encoding.transport, encoding == .webSocketDeflated)
            return try rooms.count == 1
                ? rig.connect(rooms[0], as: transport, isCompressed: isCompressed)
                : rig.connect(rooms[0], rooms[1], as: transport, isCompressed: isCompressed)
        }
        let ids = rooms.map { RoomId($0)! }
        let messages = (0..<2 * Self.turnCount).map { number in
            message(
                [UInt8](repeating: 0x31, count: 100), in: ids[number % ids.count], order: UInt64(number),
                position: isDurable ? HistoryPosition(Array("k3f9x2ab.1-\(number + 1)".utf8)) : nil,
                deflated: [1, 2, 3])
        }
        // The first turns find the arrays that later ones use again.
        for message in messages.prefix(4) { rig.worker.rooms.deliver(message) }
        rig.worker.turn.flush()
        for peer in peers { peer.read() }
        var count: UInt64 = 0
        for turn in 0..<Self.turnCount {
            let before = allocation_count()
            rig.worker.rooms.deliver(messages[2 * turn])
            rig.worker.rooms.deliver(messages[2 * turn + 1])
            rig.worker.turn.flush()
            count += allocation_count() - before
            for peer in peers { peer.read() }
        }
        #expect(rig.worker.turn.queueBytes == 0, "every write was taken whole")
        return count
    }

    /// 10,000 deliveries of a room's run, and as many of two rooms' messages in their order.
    @Test(arguments: [["a"], ["a", "b"]], IoUringUse.allCases)
    func deliveriesAllocateNothing(rooms: [String], use: IoUringUse) throws {
        for encoding in [Encoding.webSocketText, .webSocketDeflated] {
            try expectNoAllocations(rooms, encoding, isDurable: false, use)
        }
    }

    /// Neither do those of events, with the positions of two rooms behind them or without.
    @Test(arguments: [["a"], ["a", "b"]], [false, true])
    func eventsAllocateNothing(rooms: [String], isDurable: Bool) throws {
        for use in IoUringUse.allCases { try expectNoAllocations(rooms, .event, isDurable: isDurable, use) }
    }

    private func expectNoAllocations(
        _ rooms: [String], _ encoding: Encoding, isDurable: Bool, _ use: IoUringUse
    ) throws {
        let toOne = try allocations(members: 1, rooms: rooms, encoding, isDurable: isDurable, use)
        let toMany = try allocations(
            members: Self.memberCount, rooms: rooms, encoding, isDurable: isDurable, use)
        #expect(toMany == toOne, "\(toMany - min(toMany, toOne)) allocations more for a hundred members")
        // An event is made of parts, and says where it resumes.
        #expect(toOne <= UInt64((encoding == .event ? 64 : 16) * Self.turnCount))
    }

    @Test func allocationsAreSeen() {
        let before = allocation_count()
        let bytes = SharedBytes.copying([1])
        #expect(allocation_count() > before)
        #expect(bytes.byteCount == 1)
    }
}
