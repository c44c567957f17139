// A second reader of JSON, to hold against the first one: recursive, byte by byte, straight from the grammar
// of RFC 8259. Pure value.

struct PlainJson {
    private let bytes: [UInt8]
    private var position = 0
    private(set) var deepest = 0

    /// How deep the containers of a text nest; nil if it is not one JSON value.
    static func depth(_ bytes: [UInt8]) -> Int? {
        var reader = PlainJson(bytes)
        guard reader.value(depth: 0) else { return nil }
        reader.skipBlanks()
        return reader.position == bytes.count ? reader.deepest : nil
    }

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    private var next: Character? {
        position < bytes.count ? Character(Unicode.Scalar(bytes[position])) : nil
    }

    private mutating func skipBlanks() {
        while let byte = next, " \t\n\r".unicodeScalars.contains(byte.unicodeScalars.first!) {
            position += 1
        }
    }

    private mutating func take(_ text: String) -> Bool {
        guard bytes[position...].starts(with: text.utf8) else { return false }
        position += text.utf8.count
        return true
    }

    private mutating func value(depth: Int) -> Bool {
        skipBlanks()
        switch next {
        case "{": return container(depth: depth + 1, end: "}", isObject: true)
        case "[": return container(depth: depth + 1, end: "]", isObject: false)
        case "\"": return string()
        case "t": return take("true")
        case "f": return take("false")
        case "n": return take("null")
        default: return number()
        }
    }

    private mutating func container(depth: Int, end: String, isObject: Bool) -> Bool {
        guard depth <= JsonValidator.maximumDepth else { return false }
        deepest = max(deepest, depth)
        position += 1
        skipBlanks()
        if take(end) { return true }
        while true {
            if isObject {
                skipBlanks()
                guard next == "\"", string() else { return false }
                skipBlanks()
                guard take(":") else { return false }
            }
            guard value(depth: depth) else { return false }
            skipBlanks()
            if take(end) { return true }
            guard take(",") else { return false }
        }
    }

    private mutating func string() -> Bool {
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case 0..<0x20: return false
            case UInt8(ascii: "\\"):
                if take("u") {
                    let digits = bytes[position...].prefix(4)
                    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit })
                    else {
                        return false
                    }
                    position += 4
                } else {
                    guard let escaped = next, "\"\\/bfnrt".contains(escaped) else { return false }
                    position += 1
                }
            default: break
            }
        }
        return false
    }

    private mutating func digits() -> Int {
        let start = position
        while position < bytes.count, (48...57).contains(bytes[position]) { position += 1 }
        return position - start
    }

    private mutating func number() -> Bool {
        _ = take("-")
        let first = next
        let count = digits()
        guard count > 0, first != "0" || count == 1 else { return false }
        if take("."), digits() == 0 { return false }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            return digits() > 0
        }
        return true
    }
}
