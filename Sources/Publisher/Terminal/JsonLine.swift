// JSON that is written for programs and may be looked at on a terminal. Pure.

/// A value of a line of JSON.
enum JsonLine {
    case text(String)
    /// A number, `true`, `false` or `null` as it stands.
    case literal(String)
    case list([JsonLine])
    case object([(name: String, value: JsonLine)])

    static func number(_ value: some BinaryInteger) -> JsonLine { .literal("\(value)") }
    static func flag(_ value: Bool) -> JsonLine { .literal(value ? "true" : "false") }
    /// With three decimals; null when there is none.
    static func decimal(_ value: Double?) -> JsonLine { .literal(value.map(Quantity.decimal) ?? "null") }

    /// The text, without a line feed at its end. Characters that could drive a terminal are escaped.
    var line: String {
        switch self {
        case .text(let text): Self.string(text)
        case .literal(let text): text
        case .list(let values): "[" + values.map(\.line).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { Self.string($0.name) + ":" + $0.value.line }.joined(separator: ",") + "}"
        }
    }

    private static func string(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\" + String(scalar)
            case "\n": result += "\\n"
            case _ where DisplayText.isHarmless(scalar): result.unicodeScalars.append(scalar)
            default:
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result + "\""
    }
}
