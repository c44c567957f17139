// How a notice that passes is shown. Pure, but for the time zone.

import JSON
import Options
import RedisSchema
import System

/// A notice as somebody who watches sees it.
struct NoticeLine {
    let room: RoomId
    let payload: [UInt8]
    /// Unix time by this machine's clock.
    let milliseconds: Int64

    /// Room names are lined up as far as this.
    private static let maximumRoomColumnCount = 24

    /// `12:34:56.789  lobby  36 B  {"type":…}`.
    ///
    /// - Parameters:
    ///   - roomColumnCount: to how many columns the room is filled up.
    ///   - columnCount: to how many columns the line is shortened.
    func text(roomColumnCount: Int, columnCount: Int = .max) -> String {
        let room = DisplayText.text(room.bytes)
        let blanks = max(0, min(roomColumnCount, Self.maximumRoomColumnCount) - DisplayText.width(of: room))
        let size = Quantity.bytes(UInt64(payload.count))
        let head =
            [
                Self.timeOfDay(milliseconds), room + String(repeating: " ", count: blanks),
                String(repeating: " ", count: max(0, 8 - size.count)) + size,
            ].joined(separator: "  ") + "  "
        guard columnCount < .max else { return head + DisplayText.text(payload) }
        let left = columnCount - DisplayText.width(of: head)
        return left > 0
            ? head + DisplayText.text(payload, columnCount: left)
            : DisplayText.text(head, columnCount: columnCount)
    }

    /// One object: `time` (Unix ms), `room`, `bytes`, `payload` as a string, and `isUtf8`: false when bytes
    /// of it had to be replaced.
    var json: String {
        JsonLine.object {
            $0.member("time", milliseconds)
            $0.member("room", room.description)
            $0.member("bytes", payload.count)
            $0.member("isUtf8", String(validating: payload, as: UTF8.self) != nil)
            $0.member("payload", String(decoding: payload, as: UTF8.self))
        }
    }

    /// `12:34:56.789` in the time zone of the user.
    static func timeOfDay(_ milliseconds: Int64) -> String {
        CalendarText.local(milliseconds / 1000, "%H:%M:%S")
            + CalendarText.fraction(ofUnixMilliseconds: milliseconds)
    }
}
