// The help text of a program, laid out from its declarations. It names environment variables but never reads
// them.

/// The width to which help is wrapped: fits a wide terminal and a README's code block.
private let helpColumnCount = 100
/// Where descriptions start; a longer option stands on a line of its own.
private let descriptionColumn = 34

extension Program {
    /// The text of `--help`, ending in a line feed: summary, usage, options by section in declaration order,
    /// notes.
    package var helpText: String {
        var lines = ["\(name) \(version): \(summary)", ""]
        for (index, form) in usage.enumerated() {
            lines.append((index == 0 ? "Usage: " : "       ") + name + " " + form)
        }
        var sections: [String] = []
        for option in options where !sections.contains(option.section) { sections.append(option.section) }
        for section in sections {
            lines += ["", section + ":"]
            for option in options where option.section == section { lines += entry(of: option) }
        }
        lines += ["", "Other:"]
        lines += Self.entry("-h, --help", "Print this text and exit.")
        lines += Self.entry("--version", "Print the version and exit.")
        if !isSubcommand {
            lines += Self.entry(
                "--completions \(ChoiceConverter(Shell.self).expected)",
                "Print a completion script for this shell and exit.")
        }
        for note in standardNotes + notes {
            lines.append("")
            lines += Self.wrap(note, columnCount: helpColumnCount)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private var standardNotes: [String] {
        [
            "The environment variable in brackets sets the same option. The command line overrides the "
                + "environment, and the environment the default; an empty variable counts as unset. Write a value "
                + "that begins with -- as --name=value."
        ]
    }

    private func entry(of option: Option) -> [String] {
        var title = option.isEnvironmentOnly ? option.variables(prefix: variablePrefix)[0] : option.flagText
        if let placeholder = option.shownPlaceholder {
            title += (option.isEnvironmentOnly ? "=" : " ") + placeholder
        }
        var text = option.help
        if option.isRepeatable { text += " Repeatable." }
        switch option.standard {
        case .none: break
        case .text(let value): text += " Default: \(value.isEmpty ? "empty" : value)."
        case .described(let value): text += " Default: \(value)."
        }
        if option.isEnvironmentOnly { text += " Environment only." }
        text += " [" + option.variables(prefix: variablePrefix).joined(separator: ", ") + "]"
        return Self.entry(title, text)
    }

    private static func entry(_ title: String, _ text: String) -> [String] {
        let margin = String(repeating: " ", count: descriptionColumn)
        var lines = wrap(text, columnCount: helpColumnCount - descriptionColumn).map { margin + $0 }
        let lead = "  " + title
        if lead.count + 2 <= descriptionColumn {
            lines[0] = lead + lines[0].dropFirst(lead.count)
        } else {
            lines.insert(lead, at: 0)
        }
        return lines
    }

    /// Breaks a text at blanks into lines of at most `columnCount` characters; a longer word stands alone.
    static func wrap(_ text: String, columnCount: Int) -> [String] {
        var lines = [""]
        for word in text.split(separator: " ") {
            let last = lines[lines.count - 1]
            if last.isEmpty {
                lines[lines.count - 1] = String(word)
            } else if last.count + 1 + word.count <= columnCount {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}
