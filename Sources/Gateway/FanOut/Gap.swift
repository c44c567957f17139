// The time in which a node does not hear Redis. Loop-confined: belongs to its feed's loop.

import EventLoop
import RedisSchema
import System

/// Since when messages may be missing, and those that came again before every room was back.
///
/// What is published in a gap is lost for this node's clients. If they get gap notices, what comes to rooms
/// that are back waits until all are: the word of the gap goes before it, once. If more comes than may wait,
/// the rest is lost, which is a second gap behind what has waited.
struct Gap {
    /// From here on messages may be missing; nil while none are.
    private(set) var start: MonotonicInstant?
    private let isTold: Bool
    private var held: [(message: Message, workers: RoomSubscriptions.Workers)] = []
    private var heldBytes = 0
    private var dropped = Loss()

    /// - Parameter isTold: whether clients get gap notices.
    init(isTold: Bool) {
        self.isTold = isTold
    }

    var isOpen: Bool { start != nil }

    /// Whether messages wait for the end.
    var holdsMessages: Bool { isTold && isOpen }

    /// The connection is lost; if one was lost before every room was back, it is the same gap.
    ///
    /// - Parameter completeUntil: until when nothing is missing.
    mutating func begin(completeUntil: MonotonicInstant) {
        if start == nil { start = completeUntil }
    }

    /// Keeps a message for the end; false if there are too many, and it is lost. From the first one that is
    /// lost on all are: what is missing then stands in one place.
    mutating func hold(_ message: Message, for workers: RoomSubscriptions.Workers) -> Bool {
        guard dropped.isEmpty, heldBytes < Limits.gapHoldBytes else {
            dropped.add(message)
            return false
        }
        heldBytes += message.memoryBytes
        held.append((message, workers))
        return true
    }

    /// How a gap has ended.
    struct End {
        let duration: Duration
        /// What has waited.
        let held: [(message: Message, workers: RoomSubscriptions.Workers)]
        /// What was lost behind it.
        let dropped: Loss
    }

    /// Every room is back.
    mutating func end(now: MonotonicInstant) -> End? {
        guard let start else { return nil }
        let ended = End(duration: now - start, held: held, dropped: dropped)
        self = Gap(isTold: isTold)
        return ended
    }
}

extension Duration {
    /// The length of a gap in milliseconds, rounded up, as it is never to be too short.
    var gapMilliseconds: Int64 { (self + .nanoseconds(999_999)).wholeMilliseconds }
}

/// Messages that the node itself has dropped: of which rooms, and since when.
struct Loss {
    private(set) var rooms: Set<RoomId> = []
    private(set) var start: MonotonicInstant?

    var isEmpty: Bool { start == nil }

    mutating func add(_ message: Message) {
        rooms.insert(message.room)
        if start == nil { start = message.receivedAt }
    }

    /// How long messages were missing until now.
    func duration(now: MonotonicInstant) -> Duration { start.map { now - $0 } ?? .zero }
}
