// JSON that is written for programs and may be looked at on a terminal. Pure.

import JSON

/// A line of JSON, without a line feed at its end. Characters that could drive a terminal are escaped.
enum JsonLine {
    /// An object whose members `body` writes.
    static func object(_ body: (inout JsonWriter) -> Void) -> String {
        String(decoding: JsonWriter.object(escaping: .visible, body), as: UTF8.self)
    }
}

extension JsonWriter {
    /// A number with three decimals; null for nil.
    mutating func member(_ name: String, decimal value: Double?) {
        member(name, json: (value.map(Quantity.decimal) ?? "null").utf8)
    }
}
