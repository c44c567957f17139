// Completions for fish: one `complete` for each option. Pure.

extension Program {
    /// To be sourced, or to be found as `<name>.fish` in a directory of completions.
    var fishCompletions: String {
        var lines = [
            "# fish completions of \(name) \(version): put this into ~/.config/fish/completions/\(name).fish.",
            "complete -c \(name) -f",
        ]
        if subcommands.isEmpty {
            lines += fishOptions(condition: nil)
        } else {
            let words = subcommands.map(\.word).joined(separator: " ")
            lines += [
                "# Whether the first word is this command; without an argument, whether it is no command.",
                "function __\(name)_is",
                "    set -l typed (commandline -opc)",
                "    if test (count $argv) -eq 0",
                "        not contains -- \"$typed[2]\" \(words)",
                "    else",
                "        test \"$typed[2]\" = \"$argv[1]\"",
                "    end",
                "end",
            ]
            for one in subcommands {
                lines.append(
                    "complete -c \(name) -n 'test (count (commandline -opc)) -eq 1' -a \(one.word) "
                        + "-d \(one.program.summary.fishQuoted)")
            }
            lines += fishOptions(condition: "__\(name)_is")
            for one in subcommands {
                lines += one.program.fishOptions(condition: "__\(name)_is \(one.word)", name: name)
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func fishOptions(condition: String?, name: String? = nil) -> [String] {
        completedOptions.map { option in
            var line = "complete -c \(name ?? self.name)"
            if let condition { line += " -n \(condition.fishQuoted)" }
            line += " -l \(option.flag.dropFirst(2)) -d \(option.help.fishQuoted)"
            guard let value = option.value else { return line }
            // -x asks for a value that is not a file; an optional value is not asked for.
            if value.isPath { line += " -r -F" } else if !option.isValueOptional { line += " -x" }
            if !value.words.isEmpty { line += " -a \(value.words.joined(separator: " ").fishQuoted)" }
            return line
        }
    }
}

extension String {
    /// In single quotes for fish, in which a backslash escapes.
    fileprivate var fishQuoted: String {
        "'" + replacing("\\", with: "\\\\").replacing("'", with: "\\'") + "'"
    }
}
