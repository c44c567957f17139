// Base64 (RFC 4648 section 4), as handshakes use it. Pure, any thread.

import Bytes

/// The standard alphabet, padded.
package enum Base64 {
    private static let alphabet: StaticString =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// Standard alphabet, padded with `=` to a multiple of four characters.
    /// - Complexity: O(count); one allocation.
    package static func encode(_ bytes: UnsafeRawBufferPointer) -> String {
        let textBytes = (bytes.count + 2) / 3 * 4
        let letters = alphabet.rawBytes
        return String(unsafeUninitializedCapacity: textBytes) { text in
            var written = 0
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let available = min(3, bytes.count - start)
                var group: UInt32 = 0
                for index in 0..<3 {
                    group = group << 8 | (index < available ? UInt32(bytes[start + index]) : 0)
                }
                for index in 0...available {
                    text[written] = letters[Int(group >> UInt32(18 - 6 * index) & 63)]
                    written += 1
                }
            }
            while written < textBytes {
                text[written] = UInt8(ascii: "=")
                written += 1
            }
            return written
        }
    }

    /// The bytes behind a standard, padded text; nil unless `encode` would give exactly that text back.
    /// - Complexity: O(count); one allocation.
    package static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count.isMultiple(of: 4) else { return nil }
        var length = text.count
        while length > 0, text.count - length < 2, text[length - 1] == UInt8(ascii: "=") { length -= 1 }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length / 4 * 3 + 2)
        var bits: UInt32 = 0
        var bitCount = 0
        for offset in 0..<length {
            guard let sextet = value(of: text[offset]) else { return nil }
            bits = bits << 6 | UInt32(sextet)
            bitCount += 6
            if bitCount >= 8 {
                bitCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
            }
        }
        // Bits that reach no byte: RFC 4648 section 3.5 has encoders set them to zero.
        return bits & (1 << UInt32(bitCount) - 1) == 0 ? bytes : nil
    }

    /// The six bits that a character of the standard alphabet stands for.
    static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
