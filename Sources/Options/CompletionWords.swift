// What a shell can complete on the command line of a program: read off its declarations, so that the two
// never disagree. Pure.

/// The shells for which there are completions.
package enum Shell: String, CaseIterable, Sendable {
    case bash, zsh, fish
}

/// The values that a shell can offer for an option.
struct ValueWords: Equatable {
    /// Fixed values.
    let words: [String]
    /// Whether it is the path of a file.
    let isPath: Bool

    /// Read off a placeholder: see `Option.placeholder`.
    init(placeholder: String) {
        let parts = placeholder.split(separator: "|").map(String.init)
        words = parts.filter { part in
            part.utf8.allSatisfy { $0 == 0x2D || (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
        }
        isPath = parts.contains("PATH")
    }
}

/// An option as a shell completes it.
struct CompletedOption {
    /// `--name`.
    let flag: String
    /// One line, without the details that follow its first sentence.
    let help: String
    /// nil for a flag, which takes no value.
    let value: ValueWords?
    /// The name of the value.
    let placeholder: String
    /// Whether the value may be left out.
    let isValueOptional: Bool
    let isRepeatable: Bool

    init(_ option: Option) {
        flag = option.flagText
        help = Self.firstSentence(of: option.help)
        value = option.placeholder.map { ValueWords(placeholder: $0) }
        placeholder = option.placeholder ?? ""
        isRepeatable = option.isRepeatable
        if case .optionalValue = option.kind { isValueOptional = true } else { isValueOptional = false }
    }

    init(flag: String, help: String, placeholder: String? = nil) {
        self.flag = flag
        self.help = help
        value = placeholder.map { ValueWords(placeholder: $0) }
        self.placeholder = placeholder ?? ""
        isRepeatable = false
        isValueOptional = false
    }

    private static func firstSentence(of text: String) -> String {
        var end = text.firstRange(of: ". ")?.lowerBound ?? text.endIndex
        if let mark = text.firstRange(of: "; ")?.lowerBound { end = min(end, mark) }
        let sentence = text[..<end]
        return String(sentence.hasSuffix(".") ? sentence.dropLast() : sentence)
    }
}

extension Program {
    /// The options that can be typed, the ones that every program has at the end.
    var completedOptions: [CompletedOption] {
        var all = options.filter { !$0.isEnvironmentOnly }.map { CompletedOption($0) }
        all.append(CompletedOption(flag: "--help", help: "Print the help and exit"))
        all.append(CompletedOption(flag: "--version", help: "Print the version and exit"))
        if !isSubcommand {
            all.append(
                CompletedOption(
                    flag: "--completions", help: "Print completions for a shell and exit",
                    placeholder: ChoiceConverter(Shell.self).expected))
        }
        return all
    }

    /// The script that makes a shell complete the program's command line; ends in a line feed.
    ///
    /// - Parameter command: the name under which the program is called and shells complete it.
    package func completionScript(for shell: Shell, of command: String) -> String {
        let program = named(command)
        return switch shell {
        case .bash: program.bashCompletions
        case .zsh: program.zshCompletions
        case .fish: program.fishCompletions
        }
    }

    /// The name by which the program was called, as a package may install it under another one; its own if
    /// that name could be more than a name to a shell.
    ///
    /// - Parameter path: the first word of the process's command line.
    func calledName(path: String?) -> String {
        let last = path?.split(separator: "/").last ?? ""
        let isPlain = last.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
        return isPlain && last.first?.isLetter == true ? String(last) : name
    }
}

extension String {
    /// In single quotes for bash and zsh.
    var shellQuoted: String { "'" + replacing("'", with: "'\\''") + "'" }

}
