// The members of a JSON object with the exact bytes of their values: a parser that builds numbers and
// dictionaries would change them. Works only on text that the JSON validator has accepted, so it needs no
// errors of its own.

/// The members of one JSON object, values as ranges of its text. Any thread.
package struct JsonObject {
    /// A member: its name with escapes resolved, and where its value stands.
    package struct Member: Equatable {
        package let name: [UInt8]
        package let value: Range<Int>
    }

    package let members: [Member]

    /// Reads the members in the order of the text.
    ///
    /// - Parameter json: valid JSON (RFC 8259).
    /// - Returns: nil if the value is not an object.
    package init?(validJson json: [UInt8]) {
        var scanner = Scanner(json: json)
        scanner.skipBlanks()
        guard scanner.take(0x7B) else { return nil }
        var members: [Member] = []
        scanner.skipBlanks()
        while scanner.current == 0x22 {
            let name = scanner.skipValue()
            scanner.skipBlanks()
            _ = scanner.take(0x3A)
            scanner.skipBlanks()
            let value = scanner.skipValue()
            members.append(Member(name: Self.text(ofString: json[name]) ?? [], value: value))
            scanner.skipBlanks()
            _ = scanner.take(0x2C)
            scanner.skipBlanks()
        }
        self.members = members
    }

    /// The items of an array, as they stand there; nil if the value is no array.
    ///
    /// - Parameter json: a value of a valid JSON text.
    package static func items(ofArray json: ArraySlice<UInt8>) -> [ArraySlice<UInt8>]? {
        var scanner = Scanner(json: Array(json))
        guard scanner.take(0x5B) else { return nil }
        var items: [ArraySlice<UInt8>] = []
        scanner.skipBlanks()
        while let byte = scanner.current, byte != 0x5D {
            let place = scanner.skipValue()
            items.append(scanner.json[place])
            scanner.skipBlanks()
            _ = scanner.take(0x2C)
            scanner.skipBlanks()
        }
        return items
    }

    /// The text of a JSON string, quotes included; nil if the value is not a string or holds half a
    /// surrogate pair, which has no UTF-8.
    package static func text(ofString json: ArraySlice<UInt8>) -> [UInt8]? {
        guard json.first == 0x22 else { return nil }
        let inner = json.dropFirst().dropLast()
        guard inner.contains(0x5C) else { return Array(inner) }
        var text: [UInt8] = []
        var rest = inner
        while let byte = rest.popFirst() {
            guard byte == 0x5C, let escape = rest.popFirst() else {
                text.append(byte)
                continue
            }
            switch escape {
            case 0x62: text.append(0x08)
            case 0x66: text.append(0x0C)
            case 0x6E: text.append(0x0A)
            case 0x72: text.append(0x0D)
            case 0x74: text.append(0x09)
            case 0x75:
                guard let scalar = takeScalar(&rest) else { return nil }
                text += UTF8.encode(scalar).map(Array.init) ?? []
            default: text.append(escape)
            }
        }
        return text
    }

    /// The scalar of `\uXXXX`, or of a surrogate pair, whose first `\u` has been taken.
    private static func takeScalar(_ rest: inout ArraySlice<UInt8>) -> UnicodeScalar? {
        let unit = takeUnit(&rest)
        guard unit & 0xFC00 == 0xD800 else { return UnicodeScalar(unit) }
        guard rest.starts(with: [0x5C, 0x75]) else { return nil }
        rest = rest.dropFirst(2)
        let low = takeUnit(&rest)
        guard low & 0xFC00 == 0xDC00 else { return nil }
        return UnicodeScalar(0x10000 + (unit & 0x3FF) << 10 + low & 0x3FF)
    }

    private static func takeUnit(_ rest: inout ArraySlice<UInt8>) -> UInt32 {
        let digits = rest.prefix(4)
        rest = rest.dropFirst(4)
        return digits.reduce(0) { unit, digit in
            // Letters of both cases have their value in the low four bits, less nine.
            unit << 4 | UInt32(digit < 0x3A ? digit & 15 : digit & 15 + 9)
        }
    }
}

/// Walks valid JSON by its brackets and strings.
private struct Scanner {
    let json: [UInt8]
    private(set) var position = 0

    init(json: [UInt8]) { self.json = json }

    var current: UInt8? { position < json.count ? json[position] : nil }

    mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        position += 1
        return true
    }

    mutating func skipBlanks() {
        while let byte = current, byte == 0x20 || (0x09...0x0D).contains(byte) { position += 1 }
    }

    /// Skips one value and returns its place.
    mutating func skipValue() -> Range<Int> {
        let start = position
        var depth = 0
        repeat {
            switch current {
            case 0x22: skipString()
            case 0x7B, 0x5B:
                depth += 1
                position += 1
            case 0x7D, 0x5D:
                depth -= 1
                position += 1
            case 0x2C, 0x3A, 0x20, 0x09, 0x0A, 0x0D: position += 1
            case nil: return start..<position
            default: skipWord()
            }
        } while depth > 0
        return start..<position
    }

    private mutating func skipString() {
        position += 1
        while let byte = current, byte != 0x22 { position += byte == 0x5C ? 2 : 1 }
        position += 1
    }

    /// A number, `true`, `false` or `null`: up to the next structural character or blank.
    private mutating func skipWord() {
        while let byte = current, byte > 0x20, byte != 0x2C, byte != 0x7D, byte != 0x5D { position += 1 }
    }
}
