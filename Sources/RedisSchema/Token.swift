// The push token: 18 random bytes as 24 characters of base64url (RFC 4648 5), which need no padding and
// stand in a query string as they are. Held inline: a node looks tokens up on each heartbeat.

/// A token of the form that the gateway mints. Having the form does not make it registered.
package struct Token: ByteParsable, Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible,
    CustomReflectable
{
    /// Characters, and bytes, of a token.
    package static let byteCount = 24
    /// 144 bits: beyond guessing, and a multiple of three bytes, so that no padding is needed.
    private static let randomByteCount = 18

    /// The characters, eight to a word, the first in the lowest byte.
    private let first: UInt64
    private let second: UInt64
    private let third: UInt64

    /// - Returns: nil unless the bytes are exactly 24 characters of `A-Z a-z 0-9 - _`.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.byteCount, bytes.allSatisfy(Self.isBase64URL) else { return nil }
        first = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        second = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        third = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    }

    /// A new token from 18 random bytes.
    ///
    /// - Parameter random: must be unpredictable outside tests: `SystemRandomNumberGenerator`.
    package static func mint(using random: inout some RandomNumberGenerator) -> Token {
        var text: [UInt8] = []
        text.reserveCapacity(byteCount)
        for _ in 0..<(randomByteCount / 3) {
            // 24 bits make four characters; which bits of the 64 are taken is all the same.
            let bits = random.next() as UInt64
            for shift: UInt64 in [18, 12, 6, 0] { text.append(alphabet[Int(bits >> shift & 63)]) }
        }
        guard let token = Token(text) else {
            preconditionFailure("The alphabet is not base64url")
        }
        return token
    }

    /// The whole token: for answers to its owner and for Redis, never for a log.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The characters as bytes.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        append(to: &bytes)
        return bytes
    }

    /// Appends the 24 characters.
    package func append(to bytes: inout [UInt8]) {
        withUnsafeBytes(of: (first.littleEndian, second.littleEndian, third.littleEndian)) {
            bytes.append(contentsOf: $0)
        }
    }

    /// The first four characters: enough to follow a token through a log, too few to use it.
    package var description: String { String(decoding: bytes.prefix(4), as: UTF8.self) + "…" }

    package var debugDescription: String { description }

    /// Keeps `dump` and string interpolation of what contains a token from showing it.
    package var customMirror: Mirror { Mirror(self, children: ["token": description]) }

    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    private static func isBase64URL(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
        default: false
        }
    }
}
