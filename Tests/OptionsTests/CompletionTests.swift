// The scripts as text: what is in them is what is declared. That the shells take them is in the end-to-end
// tests.
import Testing

@testable import Options

@Suite struct CompletionTests {
    private let program = Program(
        name: "tool", version: "1.2.3", summary: "does a thing", variablePrefix: "TOOL_",
        options: [
            Option(
                "file", .value(placeholder: "PATH|-"), section: "A", help: "A file. With more to say of it."),
            Option(
                "mode", .value(placeholder: "fast|slow"), section: "A", help: "It's [how]: fast or slow."),
            Option("room", .repeatable(placeholder: "ROOM"), section: "A", help: "A room."),
            Option(
                "watch", .optionalValue(placeholder: "TIME", implied: "2s"), section: "A", help: "Again."),
            Option("quiet", .flag, section: "A", help: "Says nothing."),
            Option(
                "secret", .value(placeholder: "T"), section: "A", isEnvironmentOnly: true, help: "Secret."),
        ],
        subcommands: [
            .init(
                word: "sub",
                program: Program(
                    name: "tool sub", version: "1.2.3", summary: "does a part", variablePrefix: "TOOL_",
                    options: [Option("part", .value(placeholder: "all|N"), section: "A", help: "Which.")]))
        ])

    @Test(
        arguments: [
            ("PATH|-", ["-"], true), ("fast|slow", ["fast", "slow"], false),
            ("HOST:PORT|off", ["off"], false),
            ("1|2", ["1", "2"], false), ("TIME", [], false), ("N|all", ["all"], false),
            ("KEY[,KEY]", [], false),
        ] as [(String, [String], Bool)])
    func valuesAreReadOffThePlaceholder(placeholder: String, words: [String], isPath: Bool) {
        let value = ValueWords(placeholder: placeholder)
        #expect(value.words == words)
        #expect(value.isPath == isPath)
    }

    @Test(arguments: Shell.allCases)
    func everyOptionIsThereAndNoneThatCannotBeTyped(shell: Shell) {
        let script = program.completionScript(for: shell, of: "tool")
        let names = ["file", "mode", "room", "watch", "quiet", "part", "help", "version", "completions"]
        for name in names {
            #expect(script.contains(shell == .fish ? "-l \(name) " : "--\(name)"), "\(name)")
        }
        #expect(!script.contains("secret"))
        #expect(script.contains("sub") && script.hasSuffix("\n"))
        #expect(!script.contains("With more"))
    }

    @Test func shellIsAskedForByAnOption() throws {
        for arguments in [
            ["--completions", "fish"], ["--completions=fish"], ["--quiet", "--completions", "fish"],
        ] {
            let request = try program.parse(
                arguments, environment: { _ in nil }, calledAs: "/opt/bin/my-tool")
            guard case .print(let text) = request else {
                Issue.record("nothing printed")
                return
            }
            #expect(text == program.completionScript(for: .fish, of: "my-tool"))
        }
        #expect(program.helpText.contains("--completions bash|zsh|fish"))
        for (arguments, named) in [
            (["--completions"], "expected --completions bash|zsh|fish"),
            (["--completions", "tcsh"], "\"tcsh\""),
            (["--completions="], "\"\""),
        ] {
            let error = #expect(throws: UsageError.self) {
                try program.parse(arguments, environment: { _ in nil })
            }
            #expect(error?.description.contains(named) == true, "\(String(describing: error))")
        }
    }

    @Test(
        arguments: [
            ("/usr/bin/my-tool", "my-tool"), ("./tool_2.1", "tool_2.1"), ("Tool", "Tool"),
            ("/usr/bin/tool/", "tool"),
            (nil, "tool"), ("", "tool"), ("/", "tool"), ("-bash", "tool"), (".tool", "tool"),
            ("2tool", "tool"),
            ("/usr/bin/my tool", "tool"), ("a;b", "tool"), ("t$(id)", "tool"), ("töl", "tool"),
            ("a\nb", "tool"),
            ("a@b", "tool"), ("a[b", "tool"), ("_tool", "tool"),
        ] as [(String?, String)])
    func completedNameIsTheOneThatIsCalled(path: String?, name: String) {
        #expect(program.calledName(path: path) == name)
    }

    @Test(arguments: Shell.allCases)
    func scriptCompletesTheGivenNameAndNoOther(shell: Shell) {
        let script = program.completionScript(for: shell, of: "my-thing")
        #expect(
            script == program.completionScript(for: shell, of: "tool").replacing("tool", with: "my-thing"))
        #expect(script.contains("my-thing") && !script.contains("tool"))
    }

    /// The completions of a command are those of the whole program.
    @Test func commandHasNoneOfItsOwn() throws {
        let command = program.subcommands[0].program
        #expect(!command.helpText.contains("--completions"))
        #expect(throws: UsageError.self) {
            try command.parse(["--completions", "bash"], environment: { _ in nil })
        }
    }

    @Test(
        arguments: [
            ([], nil), (["--watch"], "2s"), (["--watch", "5s"], "5s"), (["--watch=7s"], "7s"),
            (["--watch", "--quiet"], "2s"), (["--quiet", "--watch"], "2s"),
        ] as [([String], String?)])
    func valueMayBeLeftOut(arguments: [String], value: String?) throws {
        guard case .run(let values) = try program.parse(arguments, environment: { _ in nil }) else { return }
        #expect(try values.optional("watch", TextConverter(expected: "") { $0 }) == value)
        #expect(try values.flag("quiet") == arguments.contains("--quiet"))
        #expect(program.helpText.contains("--watch [TIME]"))
        #expect(throws: UsageError.self) {
            try program.parse(["--watch", "--watch"], environment: { _ in nil })
        }
    }
}
