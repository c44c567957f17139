// Which part of a Redis Cluster a key is in. Pure.
//
// Source: Redis Cluster specification, "Key distribution model" and "Hash tags".

import Bytes

/// A cluster spreads keys over 16,384 slots, and each slot belongs to one master.
package enum HashSlot {
    /// How many slots there are.
    package static let count = 16_384

    /// The slot of a key, 0..<`count`: by the text between its first `{` and the next `}`, if there is any, or else by
    /// the whole key.
    package static func of(_ key: [UInt8]) -> Int { key.withUnsafeBytes { of($0) } }

    /// Not generic: the compiler does not specialize it for other modules, which then pay 2.8 µs in place of 0.13.
    package static func of(_ key: UnsafeRawBufferPointer) -> Int {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")) else { return slot(key) }
        let tail = UnsafeRawBufferPointer(rebasing: key[(open + 1)...])
        guard let close = tail.firstIndex(of: UInt8(ascii: "}")), close > 0 else { return slot(key) }
        return slot(UnsafeRawBufferPointer(rebasing: tail[..<close]))
    }

    /// A short text whose slot this is: a key with it between braces is in that slot.
    package static func tag(of slot: Int) -> [UInt8] { tags[slot] }

    /// The first numbers in decimal that fall into each slot.
    private static let tags: [[UInt8]] = {
        var tags = [[UInt8]](repeating: [], count: count)
        var missingCount = count
        var number: Int64 = 0
        while missingCount > 0 {
            let text = [UInt8](number)
            let slot = of(text)
            if tags[slot].isEmpty {
                tags[slot] = text
                missingCount -= 1
            }
            number += 1
        }
        return tags
    }()

    private static func slot(_ bytes: UnsafeRawBufferPointer) -> Int {
        var crc: UInt16 = 0
        for byte in bytes { crc = crc << 8 ^ table[Int(UInt8(truncatingIfNeeded: crc >> 8) ^ byte)] }
        return Int(crc) % count
    }

    /// CRC-16/XMODEM, byte by byte: polynomial x¹⁶ + x¹² + x⁵ + 1, from 0.
    private static let table: [UInt16] = (0..<256).map { byte in
        var crc = UInt16(byte) << 8
        for _ in 0..<8 { crc = crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021 }
        return crc
    }
}
