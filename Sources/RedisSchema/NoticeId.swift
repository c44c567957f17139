// The place of a durable notice in its room's history, and the head by which such a notice is known. Pure
// values, any thread.
//
//     {"id":"1795969278590-57","room":"lobby","type":"notice","data":{"text":"Hello"}}
//            └ milliseconds ┘ └ number

import Bytes

/// The id of a durable notice: when it was published, by Redis' clock, and its number in the room, which
/// counts from 1 without a hole. The number 0 stands for no notice: the room had no history at that time.
package struct NoticeId: ByteParsable, Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The longest text of an id.
    package static let maximumBytes = 2 * maximumDigitCount + 1
    /// Of each of the two numbers, so that both are exact in Lua and fit an `Int64`.
    private static let maximumDigitCount = 16

    /// Unix time in milliseconds; never less than that of the notice before.
    package let milliseconds: Int64
    /// Counts the notices of the room's history.
    package let number: Int64

    package init(milliseconds: Int64, number: Int64) {
        self.milliseconds = milliseconds
        self.number = number
    }

    /// - Returns: nil unless the bytes are two numbers of 1 to 16 digits without leading zeros, joined by a
    ///   minus sign.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard let (id, end) = NoticeId.read(bytes, from: 0), end == bytes.count else { return nil }
        self = id
    }

    /// Reads an id that begins at `start`, and where it ends.
    static func read(_ bytes: UnsafeRawBufferPointer, from start: Int) -> (id: NoticeId, end: Int)? {
        guard let (milliseconds, middle) = number(in: bytes, from: start), middle < bytes.count,
            bytes[middle] == UInt8(ascii: "-"),
            let (number, end) = number(in: bytes, from: middle + 1)
        else {
            return nil
        }
        return (NoticeId(milliseconds: milliseconds, number: number), end)
    }

    private static func number(in bytes: UnsafeRawBufferPointer, from start: Int) -> (Int64, end: Int)? {
        var value: Int64 = 0
        var end = start
        while end < bytes.count, Ascii.isDigit(bytes[end]) {
            guard end - start < maximumDigitCount else { return nil }
            value = value &* 10 &+ Int64(bytes[end] &- UInt8(ascii: "0"))
            end += 1
        }
        guard end > start, bytes[start] != UInt8(ascii: "0") || end - start == 1 else { return nil }
        return (value, end)
    }

    package static func < (left: NoticeId, right: NoticeId) -> Bool {
        left.milliseconds == right.milliseconds
            ? left.number < right.number : left.milliseconds < right.milliseconds
    }

    /// Appends `<milliseconds>-<number>`.
    package func append(to bytes: inout [UInt8]) {
        bytes.append(decimal: Int(milliseconds))
        bytes.append(UInt8(ascii: "-"))
        bytes.append(decimal: Int(number))
    }

    package var description: String { "\(milliseconds)-\(number)" }
}

extension NoticeId {
    /// What a durable notice begins with, `{"id":"`, as a word without its last byte: a literal, because a
    /// stored constant would be looked up for each message.
    private static var headWord: UInt64 { 0x0022_3A22_6469_227B }
    private static let headStartBytes = 7
    private static let roomStart: StaticString = #"","room":""#

    /// The id in the head of a frame, `{"id":"<id>","room":"<room>",`; nil for every other payload, which is
    /// a plain notice.
    ///
    /// - Complexity: one comparison for most plain notices.
    @inline(__always)
    package init?(head payload: UnsafeRawBufferPointer, room: RoomId) {
        guard payload.count >= Word.bytes,
            Word.load(payload, at: 0) & 0x00FF_FFFF_FFFF_FFFF == NoticeId.headWord,
            let id = NoticeId.head(payload, room)
        else {
            return nil
        }
        self = id
    }

    private static func head(_ payload: UnsafeRawBufferPointer, _ room: RoomId) -> NoticeId? {
        guard let (id, end) = read(payload, from: headStartBytes) else { return nil }
        let start = roomStart.rawBytes
        guard payload.count - end >= start.count, payload.part(end..<end + start.count).elementsEqual(start)
        else {
            return nil
        }
        var offset = end + start.count
        for byte in room.bytes {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                guard offset < payload.count, payload[offset] == UInt8(ascii: "\\") else { return nil }
                offset += 1
            }
            guard offset < payload.count, payload[offset] == byte else { return nil }
            offset += 1
        }
        guard payload.count - offset >= 2, payload[offset] == UInt8(ascii: "\""),
            payload[offset + 1] == Ascii.comma
        else {
            return nil
        }
        return id
    }
}
