// When each command that waits for a reply must have it. Pure value.

import EventLoop

/// A queue of deadlines, oldest first: replies come in the order of the commands.
struct ReplyDeadlines {
    /// Below this many answered ones it is not worth while to close up.
    private static let minimumGapCount = 64

    private var deadlines: [MonotonicInstant] = []
    /// How many at the front are answered.
    private var answeredCount = 0

    /// Commands that wait for their reply.
    var count: Int { deadlines.count - answeredCount }

    /// How many deadlines are in memory: never more than twice `count`, and a few.
    var storedCount: Int { deadlines.count }

    /// The deadline of the oldest command that waits.
    var first: MonotonicInstant? { count > 0 ? deadlines[answeredCount] : nil }

    mutating func append(_ deadline: MonotonicInstant) { deadlines.append(deadline) }

    /// The oldest command has its reply.
    ///
    /// - Complexity: O(1) amortised: what closing up moves is at most what was answered since the last time.
    mutating func removeFirst() {
        precondition(count > 0, "no command waits for this reply")
        answeredCount += 1
        guard answeredCount >= max(Self.minimumGapCount, count) else { return }
        deadlines.removeFirst(answeredCount)
        answeredCount = 0
    }

    mutating func removeAll() { self = ReplyDeadlines() }
}
