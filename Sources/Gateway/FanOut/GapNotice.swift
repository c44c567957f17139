// The word to clients that messages may be missing. Loop-confined: belongs to its worker's loop.

import EventLoop
import JSON
import RedisSchema

/// Makes the message that reports a gap to a client, once for all clients of the same rooms and encoding:
///
///     {"type":"gap","data":{"rooms":["a","b"],"ms":1234}}
struct GapNotice {
    private struct Key: Hashable {
        let first: RoomId?
        let second: RoomId?
        let encoding: Encoding
    }

    private let milliseconds: Int64
    /// The rooms that are affected; nil for all of them.
    private let affected: Set<RoomId>?
    private var frames: [Key: SharedBytes] = [:]

    /// - Parameters:
    ///   - milliseconds: how long the gap was, rounded up.
    ///   - affected: nil when it was one of every room.
    init(milliseconds: Int64, affected: Set<RoomId>? = nil) {
        self.milliseconds = milliseconds
        self.affected = affected
    }

    /// The frame for a member; nil if none of its rooms was affected.
    mutating func frame(for member: Member) -> SharedBytes? {
        let key = Key(
            first: affectedId(member.firstRoom), second: affectedId(member.secondRoom),
            encoding: member.encoding)
        if let frame = frames[key] { return frame }
        let ids = [key.first, key.second].compactMap { $0 }
        guard !ids.isEmpty else { return nil }
        let frame = GapNotice.bytes(rooms: ids, milliseconds: milliseconds).withUnsafeBytes {
            member.encoding.encode($0)
        }
        frames[key] = frame
        return frame
    }

    private func affectedId(_ room: Room?) -> RoomId? {
        // A room that Redis refuses was silent before the gap and is after it.
        guard let room, !room.isRefused, affected?.contains(room.id) != false else { return nil }
        return room.id
    }

    static func bytes(rooms: [RoomId], milliseconds: Int64) -> [UInt8] {
        let data = JsonWriter.object {
            $0.member("rooms", rooms.map(\.description))
            $0.member("ms", milliseconds)
        }
        return NoticeEnvelope.bytes(type: "gap", data: data)
    }
}

extension Worker {
    /// Reports the gap to every member that was connected when the feed's connection was lost. A member that
    /// came later got its 101 when its rooms were subscribed, and misses nothing.
    func tellGap(milliseconds: Int64) {
        tell(GapNotice(milliseconds: milliseconds)) { [feedLossCount] in $0.lossCountAtJoin != feedLossCount
        }
    }

    /// Reports the loss to the members of rooms of which the node has dropped messages: every one of them
    /// misses some.
    func tellLoss(of rooms: Set<RoomId>, milliseconds: Int64) {
        tell(GapNotice(milliseconds: milliseconds, affected: rooms)) { _ in true }
    }

    private func tell(_ notice: GapNotice, where isConcerned: (Member) -> Bool) {
        var notice = notice
        turn.write(to: connections.members) { member in
            member.isOpen && member.wantsGapNotices && isConcerned(member) ? notice.frame(for: member) : nil
        }
    }
}
