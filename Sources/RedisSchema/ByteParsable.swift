// Values that are checked bytes: tokens, rooms, identities. Pure.

/// What is made from bytes, and so from an array or a text of them, too.
package protocol ByteParsable {
    /// - Returns: nil if the bytes do not have the form.
    init?(_ bytes: UnsafeRawBufferPointer)
}

extension ByteParsable {
    /// - Returns: nil if the bytes do not have the form.
    package init?(_ bytes: [UInt8]) {
        guard let value = bytes.withUnsafeBytes({ Self($0) }) else { return nil }
        self = value
    }

    /// - Returns: nil if the text does not have the form.
    package init?(_ text: String) {
        var text = text
        guard let value = text.withUTF8({ Self(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }
}
