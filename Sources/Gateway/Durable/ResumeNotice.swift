// The word to a client where its rooms' histories go on. Pure.

import JSON
import RedisSchema

/// What an opted-in client is told of a room: everything durable behind `since` follows on its connection.
struct ResumedRoom: Equatable, Sendable {
    let room: RoomId
    let since: HistoryPosition
    /// Whether notices may be missing before `since`.
    let isLost: Bool
}

/// Makes the message that opted-in clients get first, and again when the server finds a loss:
///
///     {"type":"resume","data":{"rooms":[{"room":"lobby","since":"k3f9x2ab.1795969278590-57","lost":false}]}}
enum ResumeNotice {
    static func bytes(_ rooms: [ResumedRoom]) -> [UInt8] {
        let data = JsonWriter.object {
            $0.member("rooms", array: rooms) { writer, room in
                writer.object {
                    $0.member("room", room.room.description)
                    $0.member("since", room.since.description)
                    $0.member("lost", room.isLost)
                }
            }
        }
        return NoticeEnvelope.bytes(type: "resume", data: data)
    }
}
