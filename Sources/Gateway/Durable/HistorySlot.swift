// Rooms that share an epoch, and where they are read. Lives on the feed's loop.

import EventLoop
import RedisSchema

/// The server that histories are read from: another value is another server, another start of it, or
/// another connection to it.
struct HistoryServer: Hashable, Sendable {
    let address: String
    /// Its `run_id`; empty if it does not say.
    let run: String
    /// Counts connections.
    let connection: UInt64
}

/// A read that waits for its turn.
enum QueuedHistoryRead: Equatable {
    case room(RoomId)
    case client(RoomId, NoticeId)
    case check(RoomId)

    var room: RoomId {
        switch self {
        case .room(let room), .client(let room, _), .check(let room): room
        }
    }
}

/// The rooms of one slot of a cluster, or all rooms of one Redis.
///
/// An epoch is as old as the data that it stands for. Redis has it in the key `epoch`, and a cluster in a key
/// of each slot, which moves with the slot, and is lost with it.
final class HistorySlot<Frame: Equatable> {
    let number: Int
    /// Tracked ones.
    var rooms: Set<RoomId> = []
    /// Where it is read; nil while no connection leads there. Only in a cluster.
    var server: HistoryServer?
    /// Whether its server does not answer: losses of other rooms do not wait for it.
    var isCutOff = false

    /// The epoch that holds; nil before it was read for the first time.
    var epoch: HistoryEpoch?
    /// Whether it was read on the present link: by this question, or a later one.
    var isEpochRead = false
    private(set) var firstValidQuestion: UInt64
    /// Whether a room has found that Redis has lost data under it. Outlives the link: it is asked again until
    /// the epoch is another.
    var isEpochInDoubt = false
    var isEpochNeeded = false
    var askedEpochQuestion: UInt64
    var answeredEpochQuestion: UInt64
    var waitingForEpoch: [ResumeId] = []

    /// Rooms that start behind an echo.
    var startingRooms = Fifo<(number: UInt64, room: RoomId)>()
    /// Reads that have to wait until the slot may be read.
    var parkedReads: [QueuedHistoryRead] = []

    /// - Parameter questionCount: of questions for any epoch; answers to those do not concern this slot.
    init(number: Int, questionCount: UInt64) {
        self.number = number
        askedEpochQuestion = questionCount
        answeredEpochQuestion = questionCount
        firstValidQuestion = questionCount + 1
    }

    /// Whether clients can be answered: the epoch is that of the Redis that is read, as far as the node knows.
    var isEpochSure: Bool { epoch != nil && isEpochRead && !isEpochInDoubt }

    /// The epoch has to be read again, by a question behind the last one.
    func forgetsEpoch(behind questionCount: UInt64) {
        isEpochRead = false
        firstValidQuestion = questionCount + 1
    }
}
