// Turns the text of an option into a value: one small converter for each kind of value. Pure values, any
// thread.

import Bytes

/// Turns the text of an option into a value.
package protocol OptionConverter<Value>: Sendable {
    associatedtype Value: Sendable

    /// The accepted form, as error messages show it after "expected".
    var expected: String { get }

    /// The value of a text, or nil when it does not have the expected form.
    func value(of text: String) -> Value?

    /// What is wrong with a text that has no value; nil if the expected form says it all. Never shows the
    /// text, which may be a secret.
    func fault(of text: String) -> String?
}

extension OptionConverter {
    package func fault(of text: String) -> String? { nil }
}

/// A whole decimal number in a range.
package struct IntegerConverter: OptionConverter {
    let range: ClosedRange<Int>

    package init(_ range: ClosedRange<Int>) { self.range = range }

    package var expected: String { "a whole number from \(range.lowerBound) to \(range.upperBound)" }

    package func value(of text: String) -> Int? {
        guard let value = unsignedDecimal(text[...]), range.contains(value) else { return nil }
        return value
    }
}

/// One of a fixed set of words: the raw values of an enumeration.
package struct ChoiceConverter<Choice>: OptionConverter
where Choice: RawRepresentable & CaseIterable & Sendable, Choice.RawValue == String {
    package init(_ choice: Choice.Type) {}

    package var expected: String { Choice.allCases.map(\.rawValue).joined(separator: "|") }

    package func value(of text: String) -> Choice? { Choice(rawValue: text) }
}

/// `on` or `off`, with the spellings that environment variables commonly carry.
package struct SwitchConverter: OptionConverter {
    package init() {}

    package var expected: String { "on|off (or true|false, 1|0)" }

    package func value(of text: String) -> Bool? {
        switch text.lowercased() {
        case "on", "true", "1": true
        case "off", "false", "0": false
        default: nil
        }
    }
}

/// A value whose form is known elsewhere: the text goes through `parse`.
package struct TextConverter<Value: Sendable>: OptionConverter {
    package let expected: String
    private let parse: @Sendable (String) -> Value?

    /// - Parameter parse: the value, or nil when the text does not have the expected form.
    package init(expected: String, parse: @escaping @Sendable (String) -> Value?) {
        self.expected = expected
        self.parse = parse
    }

    package func value(of text: String) -> Value? { parse(text) }
}

/// Why a text has no value, in words that do not show it.
package struct ValueFault: Error {
    let reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// A value whose form is known elsewhere, and with it what is wrong with a text: the text goes through
/// `parse`.
package struct CheckedConverter<Value: Sendable>: OptionConverter {
    package let expected: String
    private let parse: @Sendable (String) throws(ValueFault) -> Value

    package init(expected: String, parse: @escaping @Sendable (String) throws(ValueFault) -> Value) {
        self.expected = expected
        self.parse = parse
    }

    package func value(of text: String) -> Value? {
        do { return try parse(text) } catch { return nil }
    }

    package func fault(of text: String) -> String? {
        do {
            _ = try parse(text)
            return nil
        } catch { return error.reason }
    }
}

/// A comma-separated list; blanks round an item and empty items are dropped, so an empty text is an empty
/// list.
package struct ListConverter<Item: OptionConverter>: OptionConverter {
    let item: Item

    package init(_ item: Item) { self.item = item }

    package var expected: String { "a comma-separated list, each item \(item.expected)" }

    package func value(of text: String) -> [Item.Value]? {
        var values: [Item.Value] = []
        for part in text.split(separator: ",") {
            let trimmed = part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
            if trimmed.isEmpty { continue }
            guard let value = item.value(of: String(trimmed)) else { return nil }
            values.append(value)
        }
        return values
    }
}
