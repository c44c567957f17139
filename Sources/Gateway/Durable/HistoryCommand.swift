// What the durable rooms of a node ask of their surroundings. Pure values.

import RedisSchema

/// A question to Redis for the reader's connection. Replies go back under the ticket.
struct HistoryCommand: Equatable {
    enum Question: Equatable {
        /// `TIME`, then `XREVRANGE room:<id> + - COUNT 1`.
        case tail
        /// `XRANGE room:<id> <from> + COUNT <count>`.
        case range(from: NoticeId, count: Int)
        /// `TIME`, then `XINFO STREAM room:<id>`.
        case state
    }

    let ticket: UInt64
    let room: RoomId
    let question: Question
}

/// What a client gets of one of its rooms.
struct RoomAnswer<Frame: Equatable> {
    enum Source: Int, CaseIterable, Sendable { case fresh, current, ring, read, lost }

    let room: RoomId
    /// The position to tell, and from which `replay` goes on.
    let position: HistoryPosition
    let isLost: Bool
    let replay: Replay<Frame>
    let source: Source
}

/// What has to be done, in this order.
enum DurableAction<Frame: Equatable> {
    /// Run `epoch.lua` on the reader's connection with a fresh epoch and the one that is in doubt; `epochAnswered` has
    /// the number.
    case askEpoch(slot: Int, UInt64, inDoubt: HistoryEpoch?)
    case ask(HistoryCommand)
    /// Ask for an echo on the subscriber's connection; `echoAnswered` has the number. In a cluster publish one at
    /// the masters of these slots; `echoAnswered` is called for each slot, after a while even if none has come.
    case askEcho(UInt64, slots: [Int])
    /// Hand a notice that the node itself had missed, or held, to all members of the room.
    case deliver(RoomId, Frame)
    /// Tell opted-in members of these rooms where their histories go on, one notice for each of them:
    /// between what was delivered before and after.
    case tellLost([ResumedRoom], LossCause)
    /// Answer a handshake, or give a replay's next part. If all its rooms are complete, the client joins
    /// them here: between what was delivered before and after.
    case resumed(ResumeId, [RoomAnswer<Frame>])
}

/// A connection that resumes.
struct ResumeId: Hashable, Sendable {
    let worker: Int
    let connection: UInt64
}

extension RoomAnswer: Sendable where Frame: Sendable {}
