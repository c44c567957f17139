// Incremental UTF-8 validation that fails at the first byte that no valid text can contain there.
// A value of three bytes that belongs to the reader of the text; pure, any thread.

/// Checks text that arrives in pieces, cut anywhere.
///
/// State: how many continuation bytes are missing, and the range that the next one must lie in. Only the
/// first continuation byte has a range narrower than 80...BF (RFC 3629 section 4):
///
///     lead     C2-DF  E0     E1-EC  ED     EE-EF  F0     F1-F3  F4
///     next     80-BF  A0-BF  80-BF  80-9F  80-BF  90-BF  80-BF  80-8F
///     missing  1      2      2      2      2      3      3      3
package struct Utf8Validator: Sendable {
    private var missingCount: UInt8 = 0
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    package init() {}

    /// True when the text so far ends with a whole character; false after a failure.
    package var isAtBoundary: Bool { missingCount == 0 }

    /// Takes the next piece. False means that no continuation makes the text valid; it stays false from then
    /// on.
    /// - Complexity: O(count); ASCII goes eight bytes at a time.
    package mutating func accept(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var offset = 0
        while offset < bytes.count {
            if missingCount == 0 {
                offset = Utf8Validator.skipAscii(bytes, from: offset)
                guard offset < bytes.count else { return true }
                guard start(bytes[offset]) else { return false }
                offset += 1
            }
            while missingCount > 0, offset < bytes.count {
                guard `continue`(bytes[offset]) else { return false }
                offset += 1
            }
        }
        return true
    }

    /// True when the whole buffer is valid UTF-8; the empty buffer is.
    /// - Complexity: O(count).
    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var validator = Utf8Validator()
        return validator.accept(bytes) && validator.isAtBoundary
    }

    /// Where a buffer stops being UTF-8: the first byte that nothing valid has there, its length when a
    /// character is cut off by the end; nil if it is valid.
    /// - Complexity: O(count).
    package static func fault(in bytes: UnsafeRawBufferPointer) -> Int? {
        let pieceBytes = 4096
        var validator = Utf8Validator()
        for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
            let piece = bytes.part(start..<min(start + pieceBytes, bytes.count))
            let before = validator
            guard !validator.accept(piece) else { continue }
            validator = before
            return piece.indices.first { !validator.accept(piece.part($0..<$0 + 1)) }.map { start + $0 }
        }
        return validator.isAtBoundary ? nil : bytes.count
    }

    private static func skipAscii(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var offset = start
        // A character of another script is mostly followed by one: do not pay for a word load then.
        guard bytes[offset] < 0x80 else { return offset }
        while bytes.count - offset >= Word.bytes {
            let foreign = Word.load(bytes, at: offset) & Word.topBits
            if foreign != 0 { return offset + Word.firstIndex(foreign) }
            offset += Word.bytes
        }
        while offset < bytes.count, bytes[offset] < 0x80 { offset += 1 }
        return offset
    }

    private mutating func start(_ lead: UInt8) -> Bool {
        lowest = 0x80
        highest = 0xBF
        switch lead {
        case 0xC2...0xDF:
            missingCount = 1
        case 0xE0...0xEF:
            missingCount = 2
            if lead == 0xE0 { lowest = 0xA0 }
            if lead == 0xED { highest = 0x9F }
        case 0xF0...0xF4:
            missingCount = 3
            if lead == 0xF0 { lowest = 0x90 }
            if lead == 0xF4 { highest = 0x8F }
        default:
            return fail()
        }
        return true
    }

    private mutating func `continue`(_ byte: UInt8) -> Bool {
        guard byte >= lowest, byte <= highest else { return fail() }
        lowest = 0x80
        highest = 0xBF
        missingCount -= 1
        return true
    }

    /// Leaves an empty range behind, which refuses every further byte.
    private mutating func fail() -> Bool {
        missingCount = 1
        lowest = 1
        highest = 0
        return false
    }
}
