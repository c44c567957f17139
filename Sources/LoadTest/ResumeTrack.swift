// Where a client stands in the histories of its rooms. A pure value, owned by the connection.

import RedisSchema

/// Follows the positions of one or two rooms: a resume frame sets them, a durable notice moves its room's.
struct ResumeTrack {
    /// What a frame is.
    enum Frame: Equatable {
        /// With so many rooms in which notices may be missing.
        case resume(lossCount: Int)
        case notice
        case unknown
    }

    private static let resumeHead = Array(#"{"type":"resume","data":{"rooms":["#.utf8)
    private static let sinceHead = Array(#""since":""#.utf8)
    private static let lossHead = Array(#""lost":true"#.utf8)

    private let rooms: [RoomId]
    private var positions: [HistoryPosition?]

    /// - Parameter rooms: in the order of the handshake.
    init(_ rooms: [RoomId]) {
        self.rooms = rooms
        positions = rooms.map { _ in nil }
    }

    /// What the next handshake asks for.
    var since: String { positions.map { $0?.description ?? "" }.joined(separator: ",") }

    /// - Complexity: O(1) for a notice.
    mutating func take(_ frame: UnsafeRawBufferPointer) -> Frame {
        for (index, room) in rooms.enumerated() {
            guard let id = NoticeId(head: frame, room: room) else { continue }
            positions[index] = positions[index].map { HistoryPosition(epoch: $0.epoch, id: id) }
            return .notice
        }
        guard frame.starts(with: ResumeTrack.resumeHead) else { return .unknown }
        return .resume(lossCount: resume(frame))
    }

    /// The first resume frame names all rooms. A later one names some of them, because they are lost: then the
    /// run has failed, and it does not matter which.
    private mutating func resume(_ frame: UnsafeRawBufferPointer) -> Int {
        var lossCount = 0
        var room = 0
        for offset in frame.indices where frame[offset] == UInt8(ascii: "\"") {
            let rest = frame[offset...]
            if rest.starts(with: ResumeTrack.lossHead) {
                lossCount += 1
            } else if rest.starts(with: ResumeTrack.sinceHead) {
                let start = offset + ResumeTrack.sinceHead.count
                let end = frame[start...].firstIndex(of: UInt8(ascii: "\"")) ?? frame.endIndex
                if room < positions.count {
                    positions[room] = HistoryPosition(UnsafeRawBufferPointer(rebasing: frame[start..<end]))
                }
                room += 1
            }
        }
        return lossCount
    }
}
