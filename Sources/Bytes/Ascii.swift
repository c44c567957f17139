// Byte classes of the HTTP grammar and case-insensitive comparison, without String and without tables in
// memory. Pure functions, any thread.

/// What a byte means in HTTP (RFC 9110 section 5.6).
public enum Ascii {
    public static let tab: UInt8 = 0x09
    public static let lineFeed: UInt8 = 0x0A
    public static let carriageReturn: UInt8 = 0x0D
    public static let space: UInt8 = 0x20
    public static let comma = UInt8(ascii: ",")
    public static let colon = UInt8(ascii: ":")

    /// tchar for bytes 0...63: ! # $ % & ' * + - . and the digits; one bit a byte.
    @usableFromInline internal static let tokenBytesBelow64: UInt64 = 0x03FF_6CFA_0000_0000
    /// tchar for bytes 64...127: letters, ^ _ ` | ~; one bit a byte.
    @usableFromInline internal static let tokenBytesFrom64: UInt64 = 0x57FF_FFFF_C7FF_FFFE

    /// tchar: what methods and field names consist of.
    @inlinable
    public static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0..<64: tokenBytesBelow64 >> UInt64(byte) & 1 == 1
        case 64..<128: tokenBytesFrom64 >> UInt64(byte - 64) & 1 == 1
        default: false
        }
    }

    @inlinable
    public static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
        !bytes.isEmpty && bytes.allSatisfy(isTokenByte)
    }

    /// What may stand in a field value: horizontal tab, space, visible characters and obs-text.
    @inlinable
    public static func isFieldValueByte(_ byte: UInt8) -> Bool {
        byte >= 0x20 ? byte != 0x7F : byte == tab
    }

    @inlinable
    public static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

    @inlinable
    public static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    /// Optional whitespace around values and list items.
    @inlinable
    public static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    @inlinable
    public static func lowercase(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    /// A byte as an error line shows it: the character if it is visible, otherwise its number.
    @inlinable
    public static func shown(_ byte: UInt8) -> String {
        isVisible(byte) ? "\(UnicodeScalar(byte))" : "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }

    @inlinable
    public static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

extension StaticString {
    /// The literal's UTF-8 bytes, which live as long as the process.
    @inlinable
    public var rawBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: utf8Start, count: utf8CodeUnitCount)
    }
}

extension UnsafeRawBufferPointer {
    @inlinable
    public func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[range])
    }

    @inlinable
    public func equalsIgnoringCase(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        for index in indices where Ascii.lowercase(self[index]) != Ascii.lowercase(other[index]) {
            return false
        }
        return true
    }

    @inlinable
    public func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        count == other.count && elementsEqual(other)
    }

    /// The same bytes without spaces and tabs at both ends.
    @inlinable
    public func trimmed() -> UnsafeRawBufferPointer {
        var lower = startIndex
        var upper = endIndex
        while lower < upper, Ascii.isBlank(self[lower]) { lower += 1 }
        while upper > lower, Ascii.isBlank(self[upper - 1]) { upper -= 1 }
        return part(lower..<upper)
    }
}

extension [UInt8] {
    /// Appends `value` in decimal digits.
    @inlinable
    public mutating func append(decimal value: Int) {
        var digits = BackwardText()
        digits.prepend(decimal: Int64(value))
        digits.append(to: &self)
    }

    @inlinable
    public mutating func append(_ text: StaticString) { append(contentsOf: text.rawBytes) }
}

/// The value of ASCII digits, behind a minus or not; nil for anything else, and on overflow.
public func signedDecimal(_ text: UnsafeRawBufferPointer) -> Int64? {
    let isNegative = text.first == UInt8(ascii: "-")
    var value: Int64 = 0
    for byte in text.dropFirst(isNegative ? 1 : 0) {
        guard Ascii.isDigit(byte) else { return nil }
        let digit = Int64(byte - UInt8(ascii: "0"))
        let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
        let (sum, hasOverflown) = product.addingReportingOverflow(isNegative ? -digit : digit)
        guard !isTooLarge, !hasOverflown else { return nil }
        value = sum
    }
    return text.count > (isNegative ? 1 : 0) ? value : nil
}

/// The value of a text of ASCII digits only; nil for anything else, a sign included, and on overflow.
public func unsignedDecimal(_ text: Substring) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return Int(text)
}
