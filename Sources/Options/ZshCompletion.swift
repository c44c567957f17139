// Completions for zsh: a function for `_arguments` of its completion system. Pure.

extension Program {
    /// To be sourced after compinit, or to be found in `fpath` as `_<name>`.
    var zshCompletions: String {
        var lines = [
            "#compdef \(name)",
            "# zsh completions of \(name) \(version): put this into a directory of fpath as _\(name), or source it.",
            "_\(name)() {",
        ]
        if !subcommands.isEmpty {
            lines.append("    if (( CURRENT > 2 )); then")
            lines.append("        case $words[2] in")
            for one in subcommands {
                lines.append("            \(one.word))")
                // As if the two words of the command were one.
                lines += ["                shift words", "                (( CURRENT-- ))"]
                lines += Self.zshArguments(one.program, margin: "                ")
                lines += ["                return", "                ;;"]
            }
            lines += ["        esac", "    elif [[ $PREFIX != -* ]]; then", "        local -a commands=("]
            for one in subcommands {
                lines.append("            \(Self.zshText("\(one.word):\(one.program.summary)"))")
            }
            lines += ["        )", "        _describe command commands", "    fi"]
        }
        lines += Self.zshArguments(self, margin: "    ")
        lines += [
            "}", "if [[ $funcstack[1] == _\(name) ]]; then", "    _\(name) \"$@\"", "else",
            "    compdef _\(name) \(name)", "fi",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func zshArguments(_ program: Program, margin: String) -> [String] {
        let specs = program.completedOptions.map { option -> String in
            let star = option.isRepeatable ? "*" : ""
            guard let value = option.value else {
                return zshText("\(star)\(option.flag)[\(zshHelp(option.help))]")
            }
            var action = " "
            if !value.words.isEmpty { action = "(\(value.words.joined(separator: " ")))" }
            if value.isPath { action = "_files" }
            let colons = option.isValueOptional ? "::" : ":"
            return zshText(
                "\(star)\(option.flag)=[\(zshHelp(option.help))]\(colons)\(zshHelp(option.placeholder)):\(action)"
            )
        }
        return [margin + "_arguments \\"]
            + specs.enumerated().map { index, spec in
                margin + "    " + spec + (index < specs.count - 1 ? " \\" : "")
            }
    }

    private static func zshText(_ text: String) -> String { text.shellQuoted }

    /// What has a meaning in a specification of `_arguments` is escaped.
    private static func zshHelp(_ text: String) -> String {
        var escaped = ""
        for character in text {
            if "\\[]:".contains(character) { escaped += "\\" }
            escaped.append(character)
        }
        return escaped
    }
}
