// How a notice that passes is shown. Pure, but for the time zone.

import Glibc
import RedisSchema
import Options

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
            ? head + DisplayText.text(payload, columnCount: left) : DisplayText.text(head, columnCount: columnCount)
    }

    /// One object: `time` (Unix ms), `room`, `bytes`, `payload` as a string, and `isUtf8`: false when bytes of it had
    /// to be replaced.
    var json: JsonLine {
        .object([
            ("time", .number(milliseconds)), ("room", .text(room.description)), ("bytes", .number(payload.count)),
            ("isUtf8", .flag(String(validating: payload, as: UTF8.self) != nil)),
            ("payload", .text(String(decoding: payload, as: UTF8.self))),
        ])
    }

    /// The present Unix time in milliseconds.
    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// `12:34:56.789` in the time zone of the user.
    static func timeOfDay(_ milliseconds: Int64) -> String {
        var seconds = time_t(milliseconds / 1000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        func padded(_ number: Int, _ count: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, count - digits.count)) + digits
        }
        let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }.joined(separator: ":")
        return clock + "." + padded(Int(milliseconds % 1000), 3)
    }
}
