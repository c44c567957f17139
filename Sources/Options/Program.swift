// A program's options as a whole: reads the command line and the environment into one set of values, or
// finds a request for help or the version. Runs once at start.

/// A program and its options.
package struct Program: Sendable {
    /// The name of the binary, as help and messages show it.
    package private(set) var name: String
    package let version: String
    /// One line that says what the program does.
    package let summary: String
    /// The usage lines of the help, each without the program's name: `[options]`.
    package let usage: [String]
    /// The prefix of its environment variables: `GATEWAY_`.
    package let variablePrefix: String
    package let options: [Option]
    /// Paragraphs that end the help, such as the exit codes.
    package let notes: [String]
    /// Programs that a first word selects, for completions: the caller removes the word before `parse`.
    package let subcommands: [Subcommand]
    /// Whether an error line shows a stray argument; not if it is likely to be a secret.
    private let showsStrayArguments: Bool

    /// A program within a program, which the first word selects.
    package struct Subcommand: Sendable {
        package let word: String
        package let program: Program

        package init(word: String, program: Program) {
            self.word = word
            self.program = program
        }
    }

    /// What the command line asked for.
    package enum Request: Sendable {
        /// To run, with these values.
        case run(OptionValues)
        /// To print this text to stdout and exit with 0 (`--help`, `--version`, `--completions`).
        case print(String)
    }

    /// Describes a program.
    package init(
        name: String, version: String, summary: String, usage: [String] = ["[options]"],
        variablePrefix: String,
        options: [Option], notes: [String] = [], subcommands: [Subcommand] = [],
        showsStrayArguments: Bool = true
    ) {
        precondition(Set(options.map(\.name)).count == options.count, "an option is declared twice")
        precondition(
            !options.contains { ["help", "version", "completions"].contains($0.name) },
            "help, version and completions are always there")
        self.name = name
        self.version = version
        self.summary = summary
        self.usage = usage
        self.variablePrefix = variablePrefix
        self.options = options
        self.notes = notes
        self.subcommands = subcommands
        self.showsStrayArguments = showsStrayArguments
    }

    /// Whether this is a program within another one, which prints the completions of both.
    package var isSubcommand: Bool { name.contains(" ") }

    /// Reads the command line, then the environment for the options that it does not set. `--help`, `-h`,
    /// `--version` and `--completions` override everything after them.
    ///
    /// - Parameters:
    ///   - arguments: without the program's own name.
    ///   - environment: the value of a variable, or nil; an empty value counts as not set.
    ///   - path: the program's own name as it was called, with its directory or without; what is completed.
    /// - Throws: `UsageError` for an unknown option, a missing or surplus value, an option given twice, or a
    ///   positional argument. The form of values is checked when they are read from `OptionValues`.
    package func parse(
        _ arguments: [String],
        environment: (String) throws(UsageError) -> String? = ProcessEnvironment.text(of:),
        calledAs path: String? = CommandLine.arguments.first
    ) throws(UsageError) -> Request {
        var values = OptionValues()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--help", "-h": return .print(helpText)
            case "--version": return .print("\(name) \(version)\n")
            case _
            where !isSubcommand && (argument == "--completions" || argument.hasPrefix("--completions=")):
                let shell = try completedShell(argument, rest.first)
                return .print(completionScript(for: shell, of: calledName(path: path)))
            default: try accept(argument, &rest, into: &values)
            }
        }
        for option in options {
            try readEnvironment(of: option, environment, into: &values)
        }
        return .run(values)
    }

    /// This program under another name.
    func named(_ name: String) -> Program {
        var program = self
        program.name = name
        return program
    }

    /// The shell named after `--completions`, joined or as the next argument.
    private func completedShell(_ argument: String, _ next: String?) throws(UsageError) -> Shell {
        let joined = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            .dropFirst().first
        let converter = ChoiceConverter(Shell.self)
        guard let text = joined.map(String.init) ?? next else {
            throw UsageError("--completions: missing value, expected --completions \(converter.expected)")
        }
        guard let shell = converter.value(of: text) else {
            throw UsageError(origin: "--completions", value: text, expected: converter.expected)
        }
        return shell
    }

    /// Takes one option off the command line, with its value when it has one.
    private func accept(
        _ argument: String, _ rest: inout ArraySlice<String>, into values: inout OptionValues
    ) throws(UsageError) {
        guard argument.hasPrefix("--"), argument.utf8.count > 2 else {
            let shown =
                showsStrayArguments ? "\"\(argument.prefix(80))\"" : "(not shown: it may be a secret)"
            throw UsageError("unexpected argument \(shown), expected an option (see --help)")
        }
        let parts = argument.dropFirst(2).split(
            separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let option = options.first(where: { $0.name == parts[0] }) else {
            throw UsageError("unknown option \"--\(parts[0].prefix(80))\" (see --help)")
        }
        guard !option.isEnvironmentOnly else {
            let variables = option.variables(prefix: variablePrefix).joined(separator: " or ")
            throw UsageError(
                "\(option.flagText): can only be set in the environment (\(variables))")
        }
        guard let placeholder = option.placeholder else {
            guard parts.count == 1 else { throw UsageError("\(option.flagText): takes no value") }
            values.set(option, "on", from: .commandLine)
            return
        }
        var value = parts.count == 2 ? String(parts[1]) : nil
        if value == nil, let next = rest.first, !next.hasPrefix("--") {
            value = next
            rest = rest.dropFirst()
        }
        if value == nil, case .optionalValue(_, let implied) = option.kind { value = implied }
        guard let value else {
            throw UsageError("\(option.flagText): missing value, expected \(option.flagText) \(placeholder)")
        }
        if !option.isRepeatable, values.origin(of: option.name) != nil {
            throw UsageError("\(option.flagText): given more than once, expected at most one")
        }
        values.set(option, value, from: .commandLine)
    }

    private func readEnvironment(
        of option: Option, _ environment: (String) throws(UsageError) -> String?,
        into values: inout OptionValues
    ) throws(UsageError) {
        values.declare(option)
        if values.origin(of: option.name) != nil { return }
        for variable in option.variables(prefix: variablePrefix) {
            guard let value = try environment(variable), !value.isEmpty else { continue }
            values.set(option, value, from: .environment(variable))
            return
        }
    }
}
