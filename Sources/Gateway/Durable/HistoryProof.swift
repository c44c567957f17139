// Whether a reply of Redis holds everything that was published behind a position. Pure.

import RedisSchema

/// What Redis says of a stream, asked in this order: `TIME`, `XINFO STREAM`. The other way round a notice
/// could be published between the two and count as older than the time.
struct StreamState: Equatable, Sendable {
    /// Redis' clock, Unix time in milliseconds.
    let time: Int64
    /// The stream's first entry; nil if there is no stream, or no entry in it.
    let first: NoticeId?
    /// The highest id that was ever taken out of the stream by XDEL.
    let maximumDeleted: NoticeId
}

/// Why notices may be missing.
enum LossCause: Int, CaseIterable, Sendable {
    case trimmed, expired, rollback, epoch, deleted
}

/// The reply to `XRANGE room:<id> <position> + COUNT k`, and what it proves.
///
/// A position is proven by its own entry, which comes first in the reply: nothing behind it can be missing
/// then. Otherwise the stream's state decides, and it can prove a position only where no stream, or a new
/// one, explains that the entry is not there.
struct HistoryProof<Frame: Equatable> {
    enum Verdict: Equatable {
        /// Everything published behind the position is in the reply, up to its count.
        case proven
        /// The stream's state decides.
        case undecided
        case lost(LossCause)
    }

    let position: NoticeId
    let entries: [HistoryEntry<Frame>]

    /// Whether the position's own entry is there.
    var isPresent: Bool { position.number > 0 && entries.first?.id == position }

    /// What was published behind the position.
    var missed: ArraySlice<HistoryEntry<Frame>> { isPresent ? entries.dropFirst() : entries[...] }

    /// The verdict for a client's position.
    ///
    /// - Parameter historyAge: the shortest life of a stream behind its last notice, in milliseconds.
    func verdict(state: StreamState?, historyAge: Int64) -> Verdict {
        if isPresent { return .proven }
        // Only the entry itself proves a position that once was one.
        if position.number > 0 { return .lost(.trimmed) }
        guard let state else { return .undecided }
        let away = state.time - position.milliseconds
        return away >= 0 && away < historyAge && isNew(state) ? .proven : .lost(lossCause(state))
    }

    /// The verdict for the position of a room on this node.
    ///
    /// - Parameters:
    ///   - last: the bytes of the notice at the position as far as they are known.
    ///   - outage: how long it is that the room's feed was known to be complete, in milliseconds.
    ///   - historyAge: the shortest life of a stream behind its last notice, in milliseconds.
    func verdict(last: LastFrame<Frame>, state: StreamState?, outage: Int64, historyAge: Int64) -> Verdict {
        if isPresent {
            // Redis has lost the end of its data, and has given the same id again.
            if case .known(let frame) = last, frame != entries[0].frame { return .lost(.rollback) }
            return .proven
        }
        guard let state else { return .undecided }
        // The stream has run out lawfully, or was not there; in so short a time no second one can have come
        // and gone.
        let isOld = position.number == 0 || state.time - position.milliseconds >= historyAge
        return outage < historyAge && isOld && isNew(state) ? .proven : .lost(lossCause(state))
    }

    /// Whether there is no stream, or one that has begun behind the position and still has its first notice.
    private func isNew(_ state: StreamState) -> Bool {
        guard let first = state.first else { return true }
        return first.number == 1 && first > position
    }

    private func lossCause(_ state: StreamState) -> LossCause {
        guard let first = state.first else { return .expired }
        if first > position { return first.number == 1 ? .expired : .trimmed }
        // Where there was no stream, one that is new and older is the work of a clock that went back.
        if position.number == 0, first.number == 1 { return .expired }
        return state.maximumDeleted < position ? .rollback : .deleted
    }
}

/// What a node knows of the notice at its position.
enum LastFrame<Frame: Equatable> {
    /// The node has not seen the notice itself.
    case unknown
    /// Its frame; nil if it was held back.
    case known(Frame?)
}
