// Where a client stands in a room's history. Pure values, any thread.
//
//     k3f9x2ab.1795969278590-57      <epoch>.<id>: opaque to clients, no character that a URL escapes

import Bytes

/// The name of one uninterrupted history of a Redis: nodes replace it when Redis turns out to have lost data
/// that was published. Eight characters of `a-z 0-9`, held inline.
package struct HistoryEpoch: ByteParsable, Hashable, Sendable, CustomStringConvertible {
    /// Characters, and bytes, of an epoch.
    package static let byteCount = 8

    /// The characters, the first in the lowest byte.
    private let word: UInt64

    /// - Returns: nil unless the bytes are exactly eight characters of `a-z 0-9`.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.byteCount,
            bytes.allSatisfy({ Ascii.isDigit($0) || $0 &- UInt8(ascii: "a") < 26 })
        else {
            return nil
        }
        word = Word.load(bytes, at: 0)
    }

    /// A new epoch: 41 bits, of which two are the same once in 2,000 billion pairs.
    package static func make(using random: inout some RandomNumberGenerator) -> HistoryEpoch {
        let characters = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
        let bytes = (0..<byteCount).map { _ in
            characters[Int.random(in: 0..<characters.count, using: &random)]
        }
        guard let epoch = HistoryEpoch(bytes) else { preconditionFailure("the characters are an epoch's") }
        return epoch
    }

    /// The eight characters.
    package var bytes: [UInt8] {
        withUnsafeBytes(of: word.littleEndian) { Array($0) }
    }

    package var description: String { String(decoding: bytes, as: UTF8.self) }
}

/// A place in a room's history: behind the notice `id` of an epoch, or, if the id's number is 0, where the
/// room had no history at that time.
package struct HistoryPosition: ByteParsable, Hashable, Sendable, CustomStringConvertible {
    /// The longest text of a position.
    package static let maximumBytes = HistoryEpoch.byteCount + 1 + NoticeId.maximumBytes

    package let epoch: HistoryEpoch
    package let id: NoticeId

    package init(epoch: HistoryEpoch, id: NoticeId) {
        self.epoch = epoch
        self.id = id
    }

    /// - Returns: nil unless the bytes are an epoch and an id, joined by a dot.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        let dot = HistoryEpoch.byteCount
        guard bytes.count > dot, bytes[dot] == UInt8(ascii: "."),
            let epoch = HistoryEpoch(bytes.part(0..<dot)),
            let id = NoticeId(bytes.part(dot + 1..<bytes.count))
        else {
            return nil
        }
        self.init(epoch: epoch, id: id)
    }

    package var description: String { "\(epoch).\(id)" }
}
