// The time in which a node does not hear Redis. Loop-confined: belongs to the subscriber's loop.

import EventLoop
import Notices

/// Since when messages may be missing, and those that came again before every room was back.
///
/// What is published in a gap is lost for this node's clients. Where they are to be told, what comes to rooms that
/// are back waits until all are: the word of the gap goes before it, once.
struct Gap {
    /// The bytes of messages that may wait; rooms come back in a fraction of a second.
    private static let maximumHeldBytes = 64 << 20

    /// From here on messages may be missing; nil while none are.
    private(set) var start: MonotonicInstant?
    private let isTold: Bool
    private var held: [(room: RoomId, workers: RoomSubscriptions.Workers, frame: SharedFrame)] = []
    private var heldBytes = 0

    /// - Parameter isTold: whether clients are told.
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

    /// Keeps a message for the end; false if there are too many.
    mutating func hold(_ frame: SharedFrame, room: RoomId, workers: RoomSubscriptions.Workers) -> Bool {
        guard heldBytes < Gap.maximumHeldBytes else { return false }
        heldBytes += frame.byteCount
        held.append((room, workers, frame))
        return true
    }

    /// Every room is back: how long the gap was, and what has waited.
    mutating func end(
        now: MonotonicInstant
    ) -> (duration: Duration, held: [(room: RoomId, workers: RoomSubscriptions.Workers, frame: SharedFrame)])? {
        guard let start else { return nil }
        let ended = (now - start, held)
        self = Gap(isTold: isTold)
        return ended
    }
}
