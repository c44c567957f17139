// Foreign text on a terminal or in a log: escapes whatever could control a terminal, and counts columns.
// Pure.

import Bytes

/// Turns untrusted bytes into text that is safe to show.
package enum DisplayText {
    /// Marks a cut.
    package static let ellipsis = "…"

    /// The text of any bytes. Invisible characters and those that control a terminal (control characters,
    /// and with them every escape sequence; marks that turn the direction of writing) are escaped as `\n` or
    /// `\u{1b}`; bytes that are not UTF-8 as `\xff`.
    ///
    /// - Parameter columnCount: the most columns of the result, which ends with an ellipsis if it had to be
    ///   cut.
    /// - Complexity: O(columns shown), even for megabytes.
    package static func text(_ bytes: [UInt8], columnCount: Int = .max) -> String {
        var line = Line(columnCount: columnCount)
        var parser = UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var position = 0
        while !line.isFull {
            switch parser.parseScalar(from: &iterator) {
            case .emptyInput: return line.text
            case .valid(let encoded):
                position += encoded.count
                line.append(UTF8.decode(encoded))
            case .error(let length):
                for byte in bytes[position..<position + length] {
                    line.append(escape: "\\x\(hex(UInt32(byte)))")
                }
                position += length
            }
        }
        return line.text
    }

    /// The same for a text.
    package static func text(_ text: String, columnCount: Int = .max) -> String {
        self.text(Array(text.utf8), columnCount: columnCount)
    }

    /// The columns that a result of `text` takes.
    package static func width(of text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + columns(of: $1) }
    }

    fileprivate static func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return digits.count < 2 ? "0" + digits : digits
    }

    /// As terminals count: marks stand on the letter before them, and the letters of East Asia and most
    /// pictures are two columns wide (Unicode Standard Annex 11, by blocks: a terminal's own table may
    /// differ at their edges).
    fileprivate static func columns(of scalar: UnicodeScalar) -> Int {
        guard scalar.value >= 0x300 else { return 1 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: return 0
        default: break
        }
        return wide.contains { $0.contains(scalar.value) } ? 2 : 1
    }

    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x231A...0x231B, 0x23E9...0x23EC, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97F,
        0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6,
        0x1F300...0x1F64F,
        0x1F680...0x1F6FF, 0x1F7E0...0x1F7EB, 0x1F900...0x1F9FF, 0x1FA70...0x1FAFF, 0x20000...0x3FFFD,
    ]

    /// A line that is filled up to its width.
    private struct Line {
        private let columnCount: Int
        private var shown = ""
        private var usedCount = 0
        /// The part that leaves a column for the ellipsis.
        private var beforeEllipsis = ""
        private(set) var isFull = false

        init(columnCount: Int) { self.columnCount = max(0, columnCount) }

        var text: String {
            guard isFull else { return shown }
            return columnCount > 0 ? beforeEllipsis + DisplayText.ellipsis : ""
        }

        mutating func append(_ scalar: UnicodeScalar) {
            guard scalar.isHarmless else { return append(escape: Line.escape(scalar)) }
            append(String(scalar), columns: DisplayText.columns(of: scalar))
        }

        mutating func append(escape: String) { append(escape, columns: escape.utf8.count) }

        private mutating func append(_ piece: String, columns: Int) {
            guard usedCount + columns <= columnCount else {
                isFull = true
                return
            }
            shown += piece
            usedCount += columns
            if usedCount < columnCount { beforeEllipsis = shown }
        }

        private static func escape(_ scalar: UnicodeScalar) -> String {
            switch scalar.value {
            case 0x09: "\\t"
            case 0x0A: "\\n"
            case 0x0D: "\\r"
            default: "\\u{\(DisplayText.hex(scalar.value))}"
            }
        }
    }
}
