// The declaration of one command-line option. Parsing, the environment variable, the help text and the
// reference's tables all come from it. Pure values, any thread.

/// One option of a program: its name, the values it takes, and its default.
package struct Option: Sendable {
    /// The value that the option takes on the command line.
    package enum Kind: Sendable, Equatable {
        /// `--name`; in the environment `on`, `true`, `1` or `off`, `false`, `0`.
        case flag
        /// `--name VALUE` or `--name=VALUE`, at most once.
        case value(placeholder: String)
        /// As `value`, but the value is optional: the flag alone means `implied`.
        case optionalValue(placeholder: String, implied: String)
        /// As `value`, any number of times; the environment variable holds one value.
        case repeatable(placeholder: String)
    }

    /// The value when neither the command line nor the environment sets the option.
    package enum Default: Sendable, Equatable {
        /// Nothing: the option is optional, or a flag that is off.
        case none
        /// A text that goes through the same converter as a given value.
        case text(String)
        /// A value that the program computes; the text only describes it in the help.
        case described(String)
    }

    /// The long name without dashes, such as `token-ttl`.
    package let name: String
    package let kind: Kind
    /// The heading under which the help lists the option.
    package let section: String
    /// One or two sentences for the help.
    package let help: String
    package let standard: Default
    /// Environment variables that are read after the option's own, in this order.
    package let fallbackVariables: [String]
    /// Error messages never show the value of a secret option.
    package let isSecret: Bool
    /// Every user of the machine can see the command line (`ps`), so some values come from the environment
    /// only.
    package let isEnvironmentOnly: Bool

    /// Declares an option.
    ///
    /// - Parameter name: lower-case words joined by `-`, without leading dashes.
    package init(
        _ name: String, _ kind: Kind, section: String, default standard: Default = .none,
        fallbackVariables: [String] = [], isSecret: Bool = false, isEnvironmentOnly: Bool = false,
        help: String
    ) {
        precondition(
            !name.isEmpty
                && name.utf8.allSatisfy {
                    $0 == 0x2D || (0x61...0x7A).contains($0) || (0x30...0x39).contains($0)
                },
            "an option's name consists of a-z, 0-9 and '-'")
        self.name = name
        self.kind = kind
        self.section = section
        self.help = help
        self.standard = standard
        self.fallbackVariables = fallbackVariables
        self.isSecret = isSecret
        self.isEnvironmentOnly = isEnvironmentOnly
    }

    /// Whether the option may be given several times.
    package var isRepeatable: Bool {
        if case .repeatable = kind { true } else { false }
    }

    /// `--name`, as users type it.
    package var flagText: String { "--" + name }

    /// The placeholder of the value; nil for a flag. Words of `a-z`, `0-9` and `-` in it, separated by `|`,
    /// are fixed values; `PATH` is the path of a file.
    package var placeholder: String? {
        switch kind {
        case .flag: nil
        case .value(let placeholder), .repeatable(let placeholder), .optionalValue(let placeholder, _):
            placeholder
        }
    }

    /// The placeholder as help shows it: in brackets if the value is optional.
    var shownPlaceholder: String? {
        guard case .optionalValue(let placeholder, _) = kind else { return placeholder }
        return "[\(placeholder)]"
    }

    /// The environment variables that set this option, first found wins: `GATEWAY_TOKEN_TTL` for `token-ttl`
    /// and the prefix `GATEWAY_`, then the fallbacks.
    package func variables(prefix: String) -> [String] {
        let own = prefix + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
        return [own] + fallbackVariables
    }
}
