// The key of a publish that may be repeated. Pure value, any thread.

/// A key under which a notice is published once: 1...256 bytes of UTF-8 without control characters.
package struct OnceKey: ByteParsable, Hashable, Sendable {
    package static var maximumBytes: Int { 256 }
    /// The form, for messages.
    package static let form = "1 to 256 bytes of UTF-8 without control characters"

    package let bytes: [UInt8]

    /// - Returns: nil if the bytes are not a valid key.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard let bytes = NameRule.checked(bytes, maximumBytes: Self.maximumBytes) else { return nil }
        self.bytes = bytes
    }
}
