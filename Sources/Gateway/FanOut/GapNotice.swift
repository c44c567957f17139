// The word to clients that messages may be missing. Loop-confined: belongs to its worker's loop.

import EventLoop
import Notices

/// Makes the text frame that tells a client of a gap, once for all clients of the same rooms:
///
///     {"type":"gap","data":{"rooms":["a","b"],"ms":1234}}
struct GapNotice {
    private struct Rooms: Hashable {
        let first: RoomId?
        let second: RoomId?
    }

    private let milliseconds: Int64
    private var frames: [Rooms: SharedFrame] = [:]

    /// - Parameter milliseconds: how long the gap was, rounded up.
    init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// The frame for a client; nil if none of its rooms was affected.
    mutating func frame(for client: Client) -> SharedFrame? {
        // A room that Redis refuses was silent before the gap and is after it.
        let rooms = Rooms(
            first: client.firstRoom.flatMap { $0.isRefused ? nil : $0.id },
            second: client.secondRoom.flatMap { $0.isRefused ? nil : $0.id })
        if let frame = frames[rooms] { return frame }
        let ids = [rooms.first, rooms.second].compactMap { $0 }
        guard !ids.isEmpty else { return nil }
        let frame = GapNotice.bytes(rooms: ids, milliseconds: milliseconds).withUnsafeBytes {
            SharedFrame.text($0, receivedAt: .now, sequence: 0)
        }
        frames[rooms] = frame
        return frame
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
        // What came before the gap goes first.
        rooms.flush(through: writer)
        var notice = GapNotice(milliseconds: milliseconds)
        for client in clients.values where client.state == .open && client.lossCountAtJoin != lossCount {
            guard let frame = notice.frame(for: client) else { continue }
            writer.hold(frame)
            writer.write(frame, to: client)
        }
        writer.finish()
    }
}
