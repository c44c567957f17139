// Strict check of a whole JSON text (RFC 8259), without building it and without allocation.
// Runs once for each published message, on the subscriber's thread.

import Bytes

/// Says whether a buffer holds exactly one JSON value.
///
/// Strict: no comments, no trailing commas, no byte order mark, no raw control characters in strings, no
/// leading zeros. An escaped lone surrogate is within the grammar and accepted. Bytes from 80 up pass inside
/// strings: whether they are UTF-8 is `Utf8Validator`'s question.
package enum JsonValidator {
    /// Containers may nest this deep; a deeper text counts as invalid, so that no client's recursive parser
    /// is handed a nesting bomb. No real notice comes near it.
    package static let maximumDepth = 512

    /// True when `bytes` are one JSON value of any type, with optional whitespace around it.
    /// - Complexity: O(count), a loop and no recursion.
    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var scanner = JsonScanner(bytes)
        return scanner.isOneValue()
    }

    /// Where a text stops being JSON; nil if it is valid.
    /// - Complexity: O(count).
    package static func fault(in bytes: UnsafeRawBufferPointer) -> JsonFault? {
        var scanner = JsonScanner(bytes)
        return scanner.isOneValue() ? nil : scanner.fault
    }
}

/// Why a text is not JSON. Shows only the place of the fault and the one byte there.
package struct JsonFault: Equatable, Sendable, CustomStringConvertible {
    /// What the grammar expects there, in words.
    package let expected: String
    /// The number of well-formed bytes before the fault.
    package let offset: Int
    /// The byte at the fault; nil at the end of the text.
    package let found: UInt8?

    /// One line of ASCII: `expected , or } at byte 17, found x`.
    package var description: String {
        "expected \(expected) at byte \(offset), found \(found.map(Ascii.shown) ?? "the end")"
    }
}

/// The open containers, one bit each: 1 is an object, 0 an array.
private struct Nesting {
    private var isObject = InlineArray<8, UInt64>(repeating: 0)
    private(set) var depth = 0

    var isInObject: Bool {
        depth > 0 && isObject[(depth - 1) >> 6] >> UInt64((depth - 1) & 63) & 1 == 1
    }

    mutating func open(object: Bool) -> Bool {
        guard depth < JsonValidator.maximumDepth else { return false }
        let bit: UInt64 = 1 << UInt64(depth & 63)
        if object { isObject[depth >> 6] |= bit } else { isObject[depth >> 6] &= ~bit }
        depth += 1
        return true
    }

    mutating func close() { depth -= 1 }
}

private struct JsonScanner {
    private enum Step { case value, afterValue, end, invalid }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var nesting = Nesting()
    /// Set where the text is at fault, with `position` at the fault.
    private var expected: StaticString = ""

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func isOneValue() -> Bool {
        var step = Step.value
        while true {
            switch step {
            case .value: step = value()
            case .afterValue: step = afterValue()
            case .end: return true
            case .invalid: return false
            }
        }
    }

    /// Once `isOneValue` has returned false.
    var fault: JsonFault {
        JsonFault(
            expected: "\(expected)", offset: position, found: position < bytes.count ? bytes[position] : nil)
    }

    private mutating func fail(_ expected: StaticString, back count: Int = 0) -> Bool {
        self.expected = expected
        position -= count
        return false
    }

    private mutating func invalid(_ expected: StaticString, back count: Int = 0) -> Step {
        _ = fail(expected, back: count)
        return .invalid
    }

    /// The next byte that is not whitespace, not consumed; nil at the end.
    @inline(__always)
    private mutating func peek() -> UInt8? {
        while position < bytes.count {
            let byte = bytes[position]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return byte }
            position += 1
        }
        return nil
    }

    private mutating func value() -> Step {
        guard let byte = peek() else { return invalid("a value") }
        switch byte {
        case UInt8(ascii: "\""):
            position += 1
            return string() ? .afterValue : .invalid
        case UInt8(ascii: "{"):
            position += 1
            guard nesting.open(object: true) else { return invalid("no deeper nesting", back: 1) }
            if peek() == UInt8(ascii: "}") { return .afterValue }
            return name() ? .value : .invalid
        case UInt8(ascii: "["):
            position += 1
            guard nesting.open(object: false) else { return invalid("no deeper nesting", back: 1) }
            return peek() == UInt8(ascii: "]") ? .afterValue : .value
        case UInt8(ascii: "t"): return literal("true") ? .afterValue : .invalid
        case UInt8(ascii: "f"): return literal("false") ? .afterValue : .invalid
        case UInt8(ascii: "n"): return literal("null") ? .afterValue : .invalid
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return number() ? .afterValue : .invalid
        default: return invalid("a value")
        }
    }

    /// After a value, or right after the bracket of an empty container: a comma, a closing bracket, or the
    /// end.
    private mutating func afterValue() -> Step {
        guard let byte = peek() else { return nesting.depth == 0 ? .end : invalid(closing) }
        guard nesting.depth > 0 else { return invalid("the end") }
        position += 1
        switch byte {
        case UInt8(ascii: ","):
            return !nesting.isInObject || name() ? .value : .invalid
        case UInt8(ascii: "}"):
            guard nesting.isInObject else { return invalid(closing, back: 1) }
        case UInt8(ascii: "]"):
            guard !nesting.isInObject else { return invalid(closing, back: 1) }
        default:
            return invalid(closing, back: 1)
        }
        nesting.close()
        return .afterValue
    }

    private var closing: StaticString { nesting.isInObject ? "a comma or }" : "a comma or ]" }

    /// A member's name and the colon behind it.
    private mutating func name() -> Bool {
        guard peek() == UInt8(ascii: "\"") else { return fail("a name in quotes") }
        position += 1
        guard string() else { return false }
        guard peek() == UInt8(ascii: ":") else { return fail("a colon") }
        position += 1
        return true
    }

    /// The rest of a string whose opening quote has been consumed.
    private mutating func string() -> Bool {
        while true {
            skipPlainText()
            guard position < bytes.count else { return fail("a quote at the string's end") }
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return true
            case UInt8(ascii: "\\"):
                guard escape() else { return false }
            case 0..<0x20:
                return fail("an escape, as strings hold no control characters")
            default:
                position += 1
            }
        }
    }

    /// Skips words without quote, backslash and control character; stops in front of one or near the end.
    @inline(__always)
    private mutating func skipPlainText() {
        while bytes.count - position >= Word.bytes {
            let word = Word.load(bytes, at: position)
            let special =
                Word.marks(of: UInt8(ascii: "\""), in: word) | Word.marks(of: UInt8(ascii: "\\"), in: word)
                | Word.marks(below: 0x20, in: word)
            if special != 0 {
                position += Word.firstIndex(special)
                return
            }
            position += Word.bytes
        }
    }

    private mutating func escape() -> Bool {
        position += 1
        guard position < bytes.count else { return fail("an escape's letter") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return true
        case UInt8(ascii: "u"):
            for _ in 0..<4 {
                guard position < bytes.count, Ascii.hexValue(bytes[position]) != nil else {
                    return fail("a hex digit")
                }
                position += 1
            }
            return true
        default:
            return fail("an escape's letter", back: 1)
        }
    }

    private mutating func literal(_ word: StaticString) -> Bool {
        let expected = word.rawBytes
        for byte in expected {
            guard position < bytes.count, bytes[position] == byte else { return fail(word) }
            position += 1
        }
        return true
    }

    /// `-` and an integer without leading zeros, then optionally a fraction, then optionally an exponent.
    private mutating func number() -> Bool {
        skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) {
            guard digits() else { return fail("a digit") }
        }
        if skip(UInt8(ascii: ".")) {
            guard digits() else { return fail("a digit") }
        }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            if !skip(UInt8(ascii: "+")) { skip(UInt8(ascii: "-")) }
            guard digits() else { return fail("a digit") }
        }
        return true
    }

    @discardableResult
    private mutating func skip(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    private mutating func digits() -> Bool {
        let start = position
        while position < bytes.count, Ascii.isDigit(bytes[position]) { position += 1 }
        return position > start
    }
}
