// A second reader of HTTP heads, to hold against the first one: slow, plain, and without any of its parts.
// It knows only the rules that no reader may break (RFC 9112 sections 2 to 6). Pure values.

/// A start line and fields, as texts of bytes.
struct PlainHead {
    let startLine: [UInt8]
    let fields: [(name: String, value: [UInt8])]

    /// - Returns: nil for bytes that are not exactly one head, empty lines in front of it included.
    init?(_ bytes: ArraySlice<UInt8>) {
        var lines: [[UInt8]] = []
        var line: [UInt8] = []
        for byte in bytes {
            guard byte != 0x0A else {
                guard line.popLast() == 0x0D else { return nil }
                lines.append(line)
                line = []
                continue
            }
            line.append(byte)
        }
        lines = Array(lines.drop(while: \.isEmpty))
        guard line.isEmpty, lines.count >= 2, lines.last == [], !lines.dropLast().contains([]) else {
            return nil
        }
        startLine = lines[0]
        var fields: [(String, [UInt8])] = []
        for line in lines[1..<(lines.count - 1)] {
            guard let field = PlainHead.field(line) else { return nil }
            fields.append(field)
        }
        self.fields = fields
    }

    private static func field(_ line: [UInt8]) -> (String, [UInt8])? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = line[..<colon]
        var value = line[(colon + 1)...]
        while value.first == 0x20 || value.first == 0x09 { value.removeFirst() }
        while value.last == 0x20 || value.last == 0x09 { value.removeLast() }
        guard isToken(name), !value.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) else {
            return nil
        }
        return (String(decoding: name, as: UTF8.self).lowercased(), Array(value))
    }

    static func isToken(_ bytes: some Collection<UInt8>) -> Bool {
        let others = "!#$%&'*+-.^_`|~"
        return !bytes.isEmpty
            && bytes.allSatisfy { byte in
                let character = Character(Unicode.Scalar(byte))
                return character.isASCII
                    && (character.isLetter || character.isNumber || others.contains(character))
            }
    }

    /// All values of a field, by its name in lower case.
    func values(_ name: String) -> [[UInt8]] { fields.filter { $0.name == name }.map(\.value) }

    func texts(_ name: String) -> [String] { values(name).map { String(decoding: $0, as: UTF8.self) } }

    /// The comma-separated items of all values of a field, in lower case.
    func items(_ name: String) -> [String] {
        values(name).flatMap { $0.split(separator: UInt8(ascii: ",")) }.map { item in
            let blanks: Set<UInt8> = [0x20, 0x09]
            let text = item.drop(while: blanks.contains).reversed().drop(while: blanks.contains).reversed()
            return String(decoding: text.map { (65...90).contains($0) ? $0 + 32 : $0 }, as: UTF8.self)
        }
    }
}

/// The decoded pairs of a query, by the rules of form encoding.
enum PlainQuery {
    /// - Returns: nil if a piece is malformed, decodes to a NUL, or is not UTF-8.
    static func pairs(_ query: [UInt8]) -> [(name: String, value: String)]? {
        var pairs: [(String, String)] = []
        for piece in query.split(separator: UInt8(ascii: "&")) {
            let parts = piece.split(
                separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decode(parts[0]), let value = decode(parts.count == 2 ? parts[1] : []) else {
                return nil
            }
            pairs.append((name, value))
        }
        return pairs
    }

    private static func decode(_ piece: ArraySlice<UInt8>) -> String? {
        var decoded: [UInt8] = []
        var rest = piece
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): decoded.append(0x20)
            case UInt8(ascii: "%"):
                let digits = String(decoding: rest.prefix(2), as: UTF8.self)
                guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
                    let value = UInt8(digits, radix: 16)
                else { return nil }
                decoded.append(value)
                rest = rest.dropFirst(2)
            default: decoded.append(byte)
            }
        }
        return decoded.contains(0) ? nil : String(validating: decoded, as: UTF8.self)
    }
}
