// JSON text, written straight into an array of bytes (RFC 8259). Pure value, any thread.
//
//     JsonWriter.object { $0.member("room", "lobby"); $0.member("members", 2) }      {"room":"lobby","members":2}

import Bytes

/// Writes one JSON value; the writer puts the commas, and escapes texts.
package struct JsonWriter {
    /// What of a text is written as an escape, besides the quote and the backslash.
    package enum Escaping: Sendable {
        /// Control characters, as RFC 8259 section 7 demands, and nothing else: texts for programs.
        case required
        /// Whatever is not seen or could drive a terminal: texts for programs that people look at, too.
        case visible
    }

    package private(set) var bytes: [UInt8] = []
    private let escaping: Escaping
    /// Whether the present object or array has nothing in it yet.
    private var isFirst = true

    package init(escaping: Escaping = .required, reservedBytes: Int = 0) {
        self.escaping = escaping
        bytes.reserveCapacity(reservedBytes)
    }

    /// The bytes of an object whose members `body` writes.
    package static func object(
        escaping: Escaping = .required, reservedBytes: Int = 0, _ body: (inout JsonWriter) -> Void
    ) -> [UInt8] {
        var writer = JsonWriter(escaping: escaping, reservedBytes: reservedBytes)
        writer.object(body)
        return writer.bytes
    }

    /// A text as a JSON string, quotes included.
    package static func text(_ text: String, escaping: Escaping = .required) -> [UInt8] {
        var writer = JsonWriter(escaping: escaping)
        writer.value(text)
        return writer.bytes
    }

    // MARK: Values

    package mutating func value(_ value: some JsonValue) { value.write(to: &self) }

    /// An object whose members `body` writes.
    package mutating func object(_ body: (inout JsonWriter) -> Void) {
        open(UInt8(ascii: "{"))
        body(&self)
        close(UInt8(ascii: "}"))
    }

    /// An array with one value for each item, written by `body`.
    package mutating func array<Items: Sequence>(
        _ items: Items, _ body: (inout JsonWriter, Items.Element) -> Void
    ) {
        open(UInt8(ascii: "["))
        for item in items {
            separate()
            body(&self, item)
        }
        close(UInt8(ascii: "]"))
    }

    /// A value that is JSON already, byte for byte.
    package mutating func json(_ json: some Collection<UInt8>) { bytes.append(contentsOf: json) }

    // MARK: Members of the present object

    package mutating func member(_ name: String, _ value: some JsonValue) {
        self.name(name)
        self.value(value)
    }

    package mutating func member(_ name: String, json: some Collection<UInt8>) {
        self.name(name)
        self.json(json)
    }

    package mutating func member(_ name: String, _ body: (inout JsonWriter) -> Void) {
        self.name(name)
        object(body)
    }

    package mutating func member<Items: Sequence>(
        _ name: String, array items: Items, _ body: (inout JsonWriter, Items.Element) -> Void
    ) {
        self.name(name)
        array(items, body)
    }

    private mutating func name(_ name: String) {
        separate()
        string(name)
        bytes.append(Ascii.colon)
    }

    // MARK: Bytes

    private mutating func separate() {
        if !isFirst { bytes.append(Ascii.comma) }
        isFirst = false
    }

    private mutating func open(_ bracket: UInt8) {
        bytes.append(bracket)
        isFirst = true
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        isFirst = false
    }

    fileprivate mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        switch escaping {
        case .required: for byte in text.utf8 { append(byte) }
        case .visible: for scalar in text.unicodeScalars { append(scalar) }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func append(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): escape(byte)
        case 0x0A: escape(UInt8(ascii: "n"))
        case 0x0D: escape(UInt8(ascii: "r"))
        case 0x09: escape(UInt8(ascii: "t"))
        case 0x00..<0x20: escape(unit: UInt16(byte))
        default: bytes.append(byte)
        }
    }

    private mutating func append(_ scalar: Unicode.Scalar) {
        if scalar.isASCII, scalar.value != 0x7F {
            append(UInt8(scalar.value))
        } else if scalar.isHarmless {
            for byte in UTF8.encode(scalar)! { bytes.append(byte) }
        } else {
            for unit in UTF16.encode(scalar)! { escape(unit: unit) }
        }
    }

    private mutating func escape(_ letter: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(letter)
    }

    private mutating func escape(unit: UInt16) {
        escape(UInt8(ascii: "u"))
        for shift: UInt16 in [12, 8, 4, 0] {
            let digit = UInt8(unit >> shift & 15)
            bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
    }

    fileprivate mutating func append(text: String) { bytes.append(contentsOf: text.utf8) }
}

/// What can be written as one JSON value.
package protocol JsonValue {
    func write(to writer: inout JsonWriter)
}

extension String: JsonValue {
    package func write(to writer: inout JsonWriter) { writer.string(self) }
}

extension Bool: JsonValue {
    package func write(to writer: inout JsonWriter) { writer.append(text: self ? "true" : "false") }
}

extension JsonValue where Self: BinaryInteger {
    package func write(to writer: inout JsonWriter) { writer.append(text: String(self)) }
}

extension Int: JsonValue {}
extension Int64: JsonValue {}
extension UInt64: JsonValue {}

extension Double: JsonValue {
    /// JSON has no number that is not finite.
    package func write(to writer: inout JsonWriter) { writer.append(text: isFinite ? "\(self)" : "null") }
}

extension Optional: JsonValue where Wrapped: JsonValue {
    /// `null` for nothing.
    package func write(to writer: inout JsonWriter) {
        if let value = self { writer.value(value) } else { writer.append(text: "null") }
    }
}

extension Array: JsonValue where Element: JsonValue {
    package func write(to writer: inout JsonWriter) { writer.array(self) { $0.value($1) } }
}
