// The names that clients and publishers bring in: rooms and identities. Both are kept as bytes, because a
// Swift String compares by canonical equivalence ("é" as one scalar or as two is equal) and a Redis channel
// by its bytes.

/// The id of a room: 1...128 bytes of UTF-8 without control characters and commas. A comma separates rooms
/// wherever clients name them, so that no client could be in a room with one.
package struct RoomId: ByteParsable, Hashable, Sendable, CustomStringConvertible {
    /// The longest id, by the contract.
    package static var maximumBytes: Int { 128 }

    /// The UTF-8 text.
    package let bytes: [UInt8]

    /// - Returns: nil if the bytes are not a valid id.
    /// - Complexity: O(bytes), and O(1) when there are too many.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard let bytes = NameRule.checked(bytes, maximumBytes: Self.maximumBytes), !bytes.contains(0x2C)
        else {
            return nil
        }
        self.bytes = bytes
    }

    package var description: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether the id says which slot of a Redis Cluster its keys are in: then the once keys of durable notices could
    /// be in another slot than the stream.
    package var hasBrace: Bool { bytes.contains { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") } }

    /// Hashes all bytes at once: the array's own hashing takes them one by one, and every message looks its
    /// room up.
    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

/// A user id or a device id: 1...256 bytes of UTF-8 without control characters.
package struct Identity: ByteParsable, Hashable, Sendable, CustomStringConvertible {
    /// The longest identity, by the contract.
    package static var maximumBytes: Int { 256 }

    /// The UTF-8 text.
    package let bytes: [UInt8]

    /// - Returns: nil if the bytes are not a valid identity.
    /// - Complexity: O(bytes), and O(1) when there are too many.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard let bytes = NameRule.checked(bytes, maximumBytes: Self.maximumBytes) else { return nil }
        self.bytes = bytes
    }

    package var description: String { String(decoding: bytes, as: UTF8.self) }
}

/// The rule that room ids and identities share.
enum NameRule {
    /// The bytes as an array when they are 1...maximum bytes of UTF-8 without control characters.
    static func checked(_ bytes: UnsafeRawBufferPointer, maximumBytes: Int) -> [UInt8]? {
        guard !bytes.isEmpty, bytes.count <= maximumBytes else { return nil }
        let array = [UInt8](bytes)
        return isName(array) ? array : nil
    }

    /// Most names are ASCII, which needs no second look.
    static func isName(_ bytes: [UInt8]) -> Bool {
        if bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return true }
        return String(validating: bytes, as: UTF8.self) != nil && !hasControlCharacter(bytes)
    }

    /// C0, DEL and C1; in valid UTF-8 a C1 character is 0xC2 followed by 0x80...0x9F.
    private static func hasControlCharacter(_ bytes: [UInt8]) -> Bool {
        var previous: UInt8 = 0
        for byte in bytes {
            if byte < 0x20 || byte == 0x7F { return true }
            if previous == 0xC2 && byte < 0xA0 { return true }
            previous = byte
        }
        return false
    }
}
