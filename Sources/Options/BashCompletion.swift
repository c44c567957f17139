// Completions for bash 4.4 and later; they need no other package. Pure.

extension Program {
    /// One function that looks at the word before the current one.
    var bashCompletions: String {
        var lines = [
            "# bash completions of \(name) \(version): source this, or put it where bash-completion looks.",
            "_\(name)() {",
            "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=''",
            "    # bash splits --option=value at the equals sign.",
            "    if [[ $word == '=' ]]; then",
            "        word=''",
            "    elif [[ $before == '=' ]] && ((COMP_CWORD > 2)); then",
            "        before=${COMP_WORDS[COMP_CWORD - 2]}",
            "    fi",
            "    COMPREPLY=()",
        ]
        if !subcommands.isEmpty {
            lines += [
                "    if ((COMP_CWORD > 1)); then",
                "        case ${COMP_WORDS[1]} in",
                "            \(subcommands.map(\.word).joined(separator: " | "))) command=${COMP_WORDS[1]} ;;",
                "        esac",
                "    fi",
            ]
        }
        lines.append("    case \"$command $before\" in")
        lines += bashValues(of: self, command: "")
        for one in subcommands { lines += bashValues(of: one.program, command: one.word) }
        lines += ["    esac", "    case \"$command\" in"]
        for one in subcommands {
            lines.append(
                "        \(one.word)) \(Self.bashReply(one.program.completedOptions.map(\.flag))) ;;")
        }
        let words = completedOptions.map(\.flag)
        lines += [
            "        '') \(Self.bashReply(words)) ;;", "    esac",
        ]
        if !subcommands.isEmpty {
            lines += [
                "    if ((COMP_CWORD == 1)); then",
                "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -W "
                    + "\(subcommands.map(\.word).joined(separator: " ").shellQuoted) -- \"$word\")",
                "    fi",
            ]
        }
        lines += ["}", "complete -F _\(name) \(name)"]
        return lines.joined(separator: "\n") + "\n"
    }

    private func bashValues(of program: Program, command: String) -> [String] {
        program.completedOptions.flatMap { option -> [String] in
            guard let value = option.value else { return [] }
            var actions: [String] = []
            if !value.words.isEmpty { actions.append(Self.bashReply(value.words)) }
            if value.isPath {
                // Names with blanks are quoted, directories go on with a slash.
                actions += [
                    "compopt -o filenames 2>/dev/null",
                    "mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$word\")",
                ]
            }
            // The word after an option with an optional value may be an option, too.
            actions.append(option.isValueOptional ? "[[ $word == -* ]] || return" : "return")
            return ["        '\(command) \(option.flag)')"] + actions.map { "            \($0)" } + [
                "            ;;"
            ]
        }
    }

    private static func bashReply(_ words: [String]) -> String {
        "mapfile -t COMPREPLY < <(compgen -W \(words.joined(separator: " ").shellQuoted) -- \"$word\")"
    }
}
