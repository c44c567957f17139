// The word to clients that messages may be missing. Loop-confined: belongs to its worker's loop.

import EventLoop
import RedisSchema

/// Makes the text frame that tells a client of a gap, once for all clients of the same rooms:
///
///     {"type":"gap","data":{"rooms":["a","b"],"ms":1234}}
struct GapNotice {
    private struct Rooms: Hashable {
        let first: RoomId?
        let second: RoomId?
    }

    private let milliseconds: Int64
    /// The rooms that are affected; nil for all of them.
    private let affected: Set<RoomId>?
    private var frames: [Rooms: SharedFrame] = [:]

    /// - Parameters:
    ///   - milliseconds: how long the gap was, rounded up.
    ///   - affected: nil when it was one of every room.
    init(milliseconds: Int64, affected: Set<RoomId>? = nil) {
        self.milliseconds = milliseconds
        self.affected = affected
    }

    /// The frame for a client; nil if none of its rooms was affected.
    mutating func frame(for client: Client) -> SharedFrame? {
        let rooms = Rooms(first: affectedId(client.firstRoom), second: affectedId(client.secondRoom))
        if let frame = frames[rooms] { return frame }
        let ids = [rooms.first, rooms.second].compactMap { $0 }
        guard !ids.isEmpty else { return nil }
        let frame = GapNotice.bytes(rooms: ids, milliseconds: milliseconds).withUnsafeBytes {
            SharedFrame.text($0, receivedAt: .now, sequence: 0)
        }
        frames[rooms] = frame
        return frame
    }

    private func affectedId(_ room: Room?) -> RoomId? {
        // A room that Redis refuses was silent before the gap and is after it.
        guard let room, !room.isRefused, affected?.contains(room.id) != false else { return nil }
        return room.id
    }

    static func bytes(rooms: [RoomId], milliseconds: Int64) -> [UInt8] {
        var data = Array(#"{"rooms":["#.utf8)
        for (index, room) in rooms.enumerated() {
            if index > 0 { data.append(UInt8(ascii: ",")) }
            NoticeEnvelope.appendString(room.description, to: &data)
        }
        data += "],\"ms\":\(milliseconds)}".utf8
        return NoticeEnvelope.bytes(type: "gap", data: data)
    }
}

extension Worker {
    /// Tells every client that was connected when the connection to Redis was lost. A client that came later got its
    /// 101 when its rooms were subscribed, and misses nothing.
    func tellGap(milliseconds: Int64) {
        tell(GapNotice(milliseconds: milliseconds)) { [lossCount] in $0.lossCountAtJoin != lossCount }
    }

    /// Tells the clients of rooms of which the node has dropped messages: whoever is in them now misses some.
    func tellLoss(of rooms: Set<RoomId>, milliseconds: Int64) {
        tell(GapNotice(milliseconds: milliseconds, affected: rooms)) { _ in true }
    }

    private func tell(_ notice: GapNotice, where isConcerned: (Client) -> Bool) {
        // What came before the gap goes first.
        rooms.flush(through: writer)
        var notice = notice
        for client in clients.values where client.state == .open && isConcerned(client) {
            guard let frame = notice.frame(for: client) else { continue }
            writer.hold(frame)
            writer.write(frame, to: client)
        }
        writer.finish()
    }
}
