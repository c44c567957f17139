// Byte classes of the HTTP grammar and case-insensitive comparison, without String and without tables in
// memory. Pure functions, any thread.

/// What a byte means in HTTP (RFC 9110 section 5.6).
enum Ascii {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let comma = UInt8(ascii: ",")
    static let colon = UInt8(ascii: ":")

    /// tchar for bytes 0...63: ! # $ % & ' * + - . and the digits; one bit a byte.
    private static let tokenBytesBelow64: UInt64 = 0x03FF_6CFA_0000_0000
    /// tchar for bytes 64...127: letters, ^ _ ` | ~; one bit a byte.
    private static let tokenBytesFrom64: UInt64 = 0x57FF_FFFF_C7FF_FFFE

    /// tchar: what methods and field names consist of.
    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0..<64: tokenBytesBelow64 >> UInt64(byte) & 1 == 1
        case 64..<128: tokenBytesFrom64 >> UInt64(byte - 64) & 1 == 1
        default: false
        }
    }

    static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
        !bytes.isEmpty && bytes.allSatisfy(isTokenByte)
    }

    /// What may stand in a field value: horizontal tab, space, visible characters and obs-text.
    static func isFieldValueByte(_ byte: UInt8) -> Bool {
        byte >= 0x20 ? byte != 0x7F : byte == tab
    }

    static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

    static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    /// Optional whitespace around values and list items.
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    static func lowercase(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    /// A byte as an error line shows it: the character if one sees it, otherwise its number.
    static func shown(_ byte: UInt8) -> String {
        isVisible(byte) ? "\(UnicodeScalar(byte))" : "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }

    static func hexValue(_ byte: UInt8) -> UInt8? {
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
    var rawBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: utf8Start, count: utf8CodeUnitCount)
    }
}

extension UnsafeRawBufferPointer {
    func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[range])
    }

    func equalsIgnoringCase(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        for index in indices where Ascii.lowercase(self[index]) != Ascii.lowercase(other[index]) {
            return false
        }
        return true
    }

    func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        count == other.count && elementsEqual(other)
    }

    /// The same bytes without spaces and tabs at both ends.
    func trimmed() -> UnsafeRawBufferPointer {
        var lower = startIndex
        var upper = endIndex
        while lower < upper, Ascii.isBlank(self[lower]) { lower += 1 }
        while upper > lower, Ascii.isBlank(self[upper - 1]) { upper -= 1 }
        return part(lower..<upper)
    }
}

extension [UInt8] {
    /// Appends `value` in decimal digits.
    mutating func append(decimal value: Int) {
        precondition(value >= 0, "only counts and status codes are written in decimal")
        var divisor = 1
        while value / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }

    mutating func append(_ text: StaticString) { append(contentsOf: text.rawBytes) }
}
