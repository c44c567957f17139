// What one connection must receive of one room, and what it did receive. A pure value, owned by the
// connection.

/// What has become of the deliveries, added up over connections.
struct DeliveryCounts: Codable, Equatable, Sendable {
    /// Messages that had to arrive.
    var expected = 0
    /// Intact messages of the right room that arrived for the first time.
    var received = 0
    var lost = 0
    var duplicated = 0
    var outOfOrder = 0
    /// Of a room that the client is not in, or of another run.
    var misrouted = 0
    /// Wrong length, shape or checksum.
    var corrupt = 0

    static func += (left: inout DeliveryCounts, right: DeliveryCounts) {
        left.expected += right.expected
        left.received += right.received
        left.lost += right.lost
        left.duplicated += right.duplicated
        left.outOfOrder += right.outOfOrder
        left.misrouted += right.misrouted
        left.corrupt += right.corrupt
    }

    /// Whether each message arrived once, in order, intact.
    var isPerfect: Bool { lost + duplicated + outOfOrder + misrouted + corrupt == 0 }
}

/// Follows the sequence numbers of one room on one connection.
///
/// Required is what was sent from the moment the connection stood. What was sent just before may come too:
/// the gateway had subscribed by then. So the first number may be any up to the first required one.
struct RoomLedger: Sendable {
    /// What an arrival was.
    enum Arrival: Equatable {
        /// The next in order, or one that follows a gap.
        case new
        /// Behind its place: it was counted as missing until now.
        case late
        case duplicate
    }

    /// Beyond this many gaps the connection only counts: its verdict is clear.
    private static let maximumMissingCount = 4096

    let room: Int
    private var next: Int
    private var hasStarted = false
    /// Numbers that were passed over; allocated by the first gap.
    private var missing: Set<Int> = []
    private var uncountedMissing = 0
    private(set) var duplicatedCount = 0
    private(set) var outOfOrderCount = 0
    private(set) var receivedCount = 0

    /// - Parameter firstRequired: the first sequence number that has to arrive.
    init(room: Int, firstRequired: Int) {
        self.room = room
        next = firstRequired
    }

    /// Books an arrival.
    /// - Complexity: O(1); O(gap) when numbers were passed over.
    mutating func receive(_ sequence: Int) -> Arrival {
        if sequence == next {
            hasStarted = true
            next += 1
            receivedCount += 1
            return .new
        }
        if !hasStarted {
            hasStarted = true
            next = min(next, sequence)
        }
        if sequence >= next {
            passOver(next..<sequence)
            next = sequence + 1
            receivedCount += 1
            return .new
        }
        if missing.remove(sequence) != nil {
            outOfOrderCount += 1
            receivedCount += 1
            return .late
        }
        duplicatedCount += 1
        return .duplicate
    }

    /// How many of the numbers below `end` have not come.
    func missingCount(before end: Int) -> Int {
        missing.count + uncountedMissing + max(0, end - next)
    }

    /// The verdict on a connection that had to receive the numbers below `end`.
    func counts(requiredBefore end: Int) -> DeliveryCounts {
        var counts = DeliveryCounts()
        counts.received = receivedCount
        counts.lost = missingCount(before: end)
        counts.expected = counts.received + counts.lost
        counts.duplicated = duplicatedCount
        counts.outOfOrder = outOfOrderCount
        return counts
    }

    private mutating func passOver(_ numbers: Range<Int>) {
        let room = max(0, RoomLedger.maximumMissingCount - missing.count)
        missing.formUnion(numbers.prefix(room))
        uncountedMissing += max(0, numbers.count - room)
    }
}
