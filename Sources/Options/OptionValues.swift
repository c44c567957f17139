// The given text of each option, and its source; converters turn it into values on reading. Pure value,
// lives at start.

/// The given texts of a program's options.
package struct OptionValues: Sendable {
    /// The source of a value.
    package enum Origin: Sendable, Equatable {
        case commandLine
        /// The environment variable of this name.
        case environment(String)
    }

    private struct Given: Sendable {
        let origin: Origin
        var texts: [String]
    }

    private var declared: [String: Option] = [:]
    private var given: [String: Given] = [:]

    init() {}

    /// Where the option was set; nil if it has its default.
    package func origin(of name: String) -> Origin? { given[name]?.origin }

    /// Whether a flag is on.
    ///
    /// - Throws: `UsageError` when its environment variable holds neither on nor off.
    package func flag(_ name: String) throws(UsageError) -> Bool {
        precondition(option(name).kind == .flag, "--\(name) is no flag")
        return try optional(name, SwitchConverter()) ?? false
    }

    /// The value of an option that has a default text.
    ///
    /// - Throws: `UsageError` when the given text does not have the converter's form.
    package func value<Converter: OptionConverter>(
        _ name: String, _ converter: Converter
    ) throws(UsageError) -> Converter.Value {
        if let value = try optional(name, converter) { return value }
        preconditionFailure("--\(name) has no default text: read it as optional")
    }

    /// The value of an option, its default, or nil when it has neither.
    ///
    /// - Throws: `UsageError` when the given text does not have the converter's form.
    package func optional<Converter: OptionConverter>(
        _ name: String, _ converter: Converter
    ) throws(UsageError) -> Converter.Value? {
        try all(name, converter).first
    }

    /// Every value of a repeatable option, in the order given; only the default if no value was given.
    ///
    /// - Throws: `UsageError` for the first text that does not have the converter's form.
    package func all<Converter: OptionConverter>(
        _ name: String, _ converter: Converter
    ) throws(UsageError) -> [Converter.Value] {
        let option = option(name)
        guard let given = given[name] else {
            guard case .text(let text) = option.standard else { return [] }
            guard let value = converter.value(of: text) else {
                preconditionFailure(
                    "The default of --\(name) does not have its own form: \(converter.expected)")
            }
            return [value]
        }
        var values: [Converter.Value] = []
        for text in given.texts {
            guard let value = converter.value(of: text) else {
                throw UsageError(
                    origin: originText(name), value: option.isSecret ? nil : text,
                    fault: converter.fault(of: text), expected: converter.expected)
            }
            values.append(value)
        }
        return values
    }

    /// The option's name in an error message: the environment variable if it was set there, otherwise
    /// `--name`.
    package func originText(_ name: String) -> String {
        if case .environment(let variable) = origin(of: name) { return variable }
        return "--" + name
    }

    mutating func declare(_ option: Option) {
        declared[option.name] = option
    }

    mutating func set(_ option: Option, _ text: String, from origin: Origin) {
        given[option.name, default: Given(origin: origin, texts: [])].texts.append(text)
    }

    private func option(_ name: String) -> Option {
        guard let option = declared[name] else { preconditionFailure("--\(name) is not declared") }
        return option
    }
}
