// The items of Sec-WebSocket-Extensions (RFC 6455 section 9.1). Immutable values, any thread.

import Bytes
import HTTP

/// An extension with its parameters, as an offer or an answer names it.
///
///     extension = token *( ";" parameter )      parameter = token [ "=" ( token | quoted-string ) ]
struct ExtensionItem: Equatable {
    struct Parameter: Equatable {
        let name: String
        let value: String?
    }

    let name: String
    private let list: [Parameter]

    var parameters: [(name: String, value: String?)] { list.map { ($0.name, $0.value) } }

    var hasDistinctParameters: Bool { Set(list.map(\.name)).count == list.count }

    /// The items of all fields called `name`, in order; nil if one of the fields breaks the grammar.
    static func list(_ fields: HttpFields, _ name: StaticString) -> [ExtensionItem]? {
        var items: [ExtensionItem]? = []
        fields.forEach(name) { value in
            var scanner = Scanner(rest: value)
            guard let more = scanner.list() else { return items = nil }
            items?.append(contentsOf: more)
        }
        return items
    }

    /// Takes one field's value apart.
    private struct Scanner {
        var rest: UnsafeRawBufferPointer

        /// Empty items are allowed (RFC 9110 section 5.6.1.2).
        mutating func list() -> [ExtensionItem]? {
            var items: [ExtensionItem] = []
            repeat {
                skipBlanks()
                if rest.isEmpty || rest.first == Ascii.comma { continue }
                guard let item = item() else { return nil }
                items.append(item)
            } while take(Ascii.comma)
            return rest.isEmpty ? items : nil
        }

        private mutating func item() -> ExtensionItem? {
            guard let name = token() else { return nil }
            var parameters: [Parameter] = []
            while take(UInt8(ascii: ";")) {
                guard let name = token() else { return nil }
                var value: String?
                if take(UInt8(ascii: "=")) {
                    value = rest.first == UInt8(ascii: "\"") ? quoted() : token()
                    if value == nil { return nil }
                }
                parameters.append(Parameter(name: name, value: value))
            }
            return ExtensionItem(name: name, list: parameters)
        }

        /// A separator, with the blanks around it.
        private mutating func take(_ separator: UInt8) -> Bool {
            skipBlanks()
            guard rest.first == separator else { return false }
            drop(1)
            skipBlanks()
            return true
        }

        private mutating func token() -> String? {
            let length = rest.firstIndex { !Ascii.isTokenByte($0) } ?? rest.count
            guard length > 0 else { return nil }
            defer { drop(length) }
            return String(decoding: rest[..<length], as: UTF8.self)
        }

        /// What a quoted string says must be a token.
        private mutating func quoted() -> String? {
            var text: [UInt8] = []
            drop(1)
            while var byte = rest.first, byte != UInt8(ascii: "\"") {
                if byte == UInt8(ascii: "\\") {
                    drop(1)
                    guard let escaped = rest.first else { return nil }
                    byte = escaped
                }
                text.append(byte)
                drop(1)
            }
            guard !rest.isEmpty, text.withUnsafeBytes(Ascii.isToken) else { return nil }
            drop(1)
            return String(decoding: text, as: UTF8.self)
        }

        private mutating func skipBlanks() {
            while let byte = rest.first, Ascii.isBlank(byte) { drop(1) }
        }

        private mutating func drop(_ count: Int) {
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }
}
