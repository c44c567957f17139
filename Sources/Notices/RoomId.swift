// The names that clients and publishers bring in: rooms and identities. Both are kept as bytes, because a
// Swift String compares by canonical equivalence ("é" as one scalar or as two is equal) and a Redis channel
// by its bytes.

/// The id of a room: 1...128 bytes of UTF-8 without control characters.
package struct RoomId: Hashable, Sendable, CustomStringConvertible {
    /// The longest id, by the contract.
    package static let maximumBytes = 128

    /// The UTF-8 text.
    package let bytes: [UInt8]

    /// - Returns: nil when the bytes are no valid id.
    package init?(_ bytes: some Collection<UInt8>) {
        guard let bytes = NameRule.checked(bytes, maximumBytes: Self.maximumBytes) else { return nil }
        self.bytes = bytes
    }

    /// - Returns: nil when the text is no valid id.
    package init?(_ text: String) { self.init(text.utf8) }

    package var description: String { String(decoding: bytes, as: UTF8.self) }
}

/// A user id or a device id: 1...256 bytes of UTF-8 without control characters.
package struct Identity: Hashable, Sendable, CustomStringConvertible {
    /// The longest identity, by the contract.
    package static let maximumBytes = 256

    /// The UTF-8 text.
    package let bytes: [UInt8]

    /// - Returns: nil when the bytes are no valid identity.
    package init?(_ bytes: some Collection<UInt8>) {
        guard let bytes = NameRule.checked(bytes, maximumBytes: Self.maximumBytes) else { return nil }
        self.bytes = bytes
    }

    /// - Returns: nil when the text is no valid identity.
    package init?(_ text: String) { self.init(text.utf8) }

    package var description: String { String(decoding: bytes, as: UTF8.self) }
}

/// What room ids and identities have in common.
enum NameRule {
    /// The bytes as an array when they are 1...maximum bytes of UTF-8 without control characters.
    ///
    /// - Complexity: O(bytes), and O(1) when there are too many.
    static func checked(_ bytes: some Collection<UInt8>, maximumBytes: Int) -> [UInt8]? {
        guard !bytes.isEmpty, bytes.prefix(maximumBytes + 1).count <= maximumBytes else { return nil }
        let array = Array(bytes)
        guard String(validating: array, as: UTF8.self) != nil, !hasControlCharacter(array) else { return nil }
        return array
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
