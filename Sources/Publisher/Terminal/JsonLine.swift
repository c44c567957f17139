// JSON that is written for programs and may be looked at on a terminal. Pure.

import Options

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
        case .text(let text): DisplayText.quoted(text)
        case .literal(let text): text
        case .list(let values): "[" + values.map(\.line).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { DisplayText.quoted($0.name) + ":" + $0.value.line }.joined(separator: ",") + "}"
        }
    }
}
