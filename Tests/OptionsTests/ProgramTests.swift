import Testing

@testable import Options

@Suite struct ProgramTests {
    private let program = Program(
        name: "tool", version: "1.2.3", summary: "does a thing", variablePrefix: "TOOL_",
        options: [
            Option(
                "token-ttl", .value(placeholder: "TIME"), section: "Times", default: .text("1h"),
                help: "Life of it."),
            Option(
                "redis", .value(placeholder: "URL"), section: "Redis", default: .text("redis://default"),
                fallbackVariables: ["REDIS_URL"], isSecret: true, help: "Where Redis is."),
            Option(
                "password", .value(placeholder: "TEXT"), section: "Redis", isSecret: true,
                isEnvironmentOnly: true,
                help: "Secret."),
            Option("room", .repeatable(placeholder: "ROOM"), section: "Times", help: "A room."),
            Option("quiet", .flag, section: "Times", help: "Says nothing."),
            Option(
                "workers", .value(placeholder: "N"), section: "Times",
                default: .described("number of cores"),
                help: "Threads."),
        ])
    private let text = TextConverter(expected: "a text") { $0 }

    private func values(_ arguments: [String], _ environment: [String: String] = [:]) throws -> OptionValues
    {
        switch try program.parse(arguments, environment: { environment[$0] }) {
        case .run(let values): return values
        case .print: throw UsageError("printed")
        }
    }

    private func message(_ arguments: [String], _ environment: [String: String] = [:]) -> String? {
        do {
            _ = try program.parse(arguments, environment: { environment[$0] })
            return nil
        } catch {
            return error.description
        }
    }

    @Test func bothFormsOfAValue() throws {
        for arguments in [["--token-ttl", "2h"], ["--token-ttl=2h"]] {
            #expect(try values(arguments).value("token-ttl", text) == "2h")
        }
        #expect(try values(["--room=--x=y"]).all("room", text) == ["--x=y"])
        #expect(try values(["--room", "-"]).all("room", text) == ["-"])
        #expect(try values(["--room="]).all("room", text) == [""])
    }

    @Test func commandLineBeatsEnvironmentBeatsFallbackBeatsDefault() throws {
        let environment = ["TOOL_REDIS": "own", "REDIS_URL": "shared"]
        #expect(try values(["--redis", "argument"], environment).value("redis", text) == "argument")
        #expect(try values([], environment).value("redis", text) == "own")
        #expect(try values([], ["REDIS_URL": "shared"]).value("redis", text) == "shared")
        #expect(try values([], ["TOOL_REDIS": "", "REDIS_URL": "shared"]).value("redis", text) == "shared")
        #expect(try values([]).value("redis", text) == "redis://default")
    }

    @Test func originsAreKnown() throws {
        #expect(try values(["--redis", "x"]).origin(of: "redis") == .commandLine)
        #expect(try values([], ["REDIS_URL": "x"]).origin(of: "redis") == .environment("REDIS_URL"))
        #expect(try values([]).origin(of: "redis") == nil)
    }

    @Test func repeatableOptionsKeepTheirOrder() throws {
        #expect(
            try values(["--room", "b", "--room=a", "--room", "b"]).all("room", text) == ["b", "a", "b"])
        #expect(try values([]).all("room", text) == [])
        #expect(try values([], ["TOOL_ROOM": "a,b"]).all("room", text) == ["a,b"])
    }

    @Test func flagsAreOnWhenGivenOrSet() throws {
        #expect(try values(["--quiet"]).flag("quiet"))
        #expect(try values([], ["TOOL_QUIET": "true"]).flag("quiet"))
        #expect(try !values([], ["TOOL_QUIET": "off"]).flag("quiet"))
        #expect(try !values([]).flag("quiet"))
        let values = try values([], ["TOOL_QUIET": "maybe"])
        #expect(throws: UsageError.self) { try values.flag("quiet") }
    }

    @Test func describedDefaultsHaveNoValue() throws {
        #expect(try values([]).optional("workers", IntegerConverter(1...9)) == nil)
        #expect(try values(["--workers", "3"]).optional("workers", IntegerConverter(1...9)) == 3)
    }

    @Test func wrongArgumentsAreNamed() {
        #expect(message(["--bogus"])?.contains("\"--bogus\"") == true)
        #expect(message(["--bogus=hunter2"])?.contains("hunter2") == false)
        #expect(message(["extra"])?.contains("\"extra\"") == true)
        #expect(message(["-q"])?.contains("\"-q\"") == true)
        #expect(message(["--"])?.contains("\"--\"") == true)
        #expect(message(["--token-ttl"]) == "--token-ttl: missing value, expected --token-ttl TIME")
        #expect(
            message(["--token-ttl", "--quiet"]) == "--token-ttl: missing value, expected --token-ttl TIME")
        #expect(message(["--quiet=on"]) == "--quiet: takes no value")
        #expect(
            message(["--token-ttl=1h", "--token-ttl=2h"])?.hasPrefix("--token-ttl: given more than once")
                == true)
        #expect(message(["--token-ttl", "1h", "--quiet"]) == nil)
    }

    @Test func strayArgumentThatMayBeASecretIsNotRepeated() throws {
        let program = Program(
            name: "tool", version: "1", summary: "", variablePrefix: "TOOL_",
            options: [Option("token", .value(placeholder: "TOKEN"), section: "A", isSecret: true, help: "")],
            showsStrayArguments: false)
        for arguments in [["hunter2"], ["--token", "x", "hunter2"], ["-hunter2"]] {
            let error = #expect(throws: UsageError.self) { try program.parse(arguments) { _ in nil } }
            let message = try #require(error).description
            #expect(message.hasPrefix("unexpected argument (not shown") && !message.contains("hunter2"))
        }
    }

    @Test func environmentOnlyOptionsAreRefusedInArguments() throws {
        let refusal = try #require(message(["--password", "hunter2"]))
        #expect(refusal.contains("TOOL_PASSWORD"))
        #expect(!refusal.contains("hunter2"))
        #expect(try values([], ["TOOL_PASSWORD": "hunter2"]).optional("password", text) == "hunter2")
    }

    @Test func wrongValuesNameTheirOriginInOneLine() throws {
        let converter = DurationConverter(.seconds(1) ... .seconds(60))
        let argument = try values(["--token-ttl", "5\n6"])
        let error = #expect(throws: UsageError.self) { try argument.value("token-ttl", converter) }
        #expect(
            error?.description.hasPrefix("--token-ttl: invalid value \"5\\n6\", expected a duration ")
                == true
        )
        #expect(error?.description.contains("\n") == false)

        let variable = try values([], ["TOOL_TOKEN_TTL": "5"])
        let other = #expect(throws: UsageError.self) { try variable.value("token-ttl", converter) }
        #expect(other?.description.hasPrefix("TOOL_TOKEN_TTL: ") == true)
    }

    @Test func secretValuesAreNeverShown() throws {
        let values = try values([], ["REDIS_URL": "redis://:hunter2@host"])
        let error = #expect(throws: UsageError.self) { try values.value("redis", IntegerConverter(1...2)) }
        #expect(error?.description == "REDIS_URL: invalid value, expected a whole number from 1 to 2")
    }

    @Test func helpAndVersionWinOverWhatFollows() throws {
        for arguments in [["--help"], ["-h"], ["--quiet", "--help", "--bogus"]] {
            guard case .print(let text) = try program.parse(arguments, environment: { _ in nil }) else {
                Issue.record("no help for \(arguments)")
                continue
            }
            #expect(text == program.helpText)
        }
        guard case .print(let text) = try program.parse(["--version"], environment: { _ in nil }) else {
            Issue.record("no version")
            return
        }
        #expect(text == "tool 1.2.3\n")
    }

    @Test func helpNamesEverythingAndShowsNoValueOfTheEnvironment() throws {
        let request = try program.parse(["--help"], environment: { _ in "hunter2" })
        guard case .print(let help) = request else {
            Issue.record("no help")
            return
        }
        for option in program.options where !option.isEnvironmentOnly {
            #expect(help.contains("  \(option.flagText)"))
        }
        for text in [
            "TOOL_TOKEN_TTL", "[TOOL_REDIS, REDIS_URL]", "Default: 1h.", "Default: number of cores.",
            "Repeatable.",
            "  TOOL_PASSWORD=TEXT", "Times:", "--version",
        ] {
            #expect(help.contains(text), "\(text)")
        }
        #expect(!help.contains("hunter2"))
        #expect(help.hasSuffix("\n"))
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func wrappingBreaksAtBlanks() {
        #expect(Program.wrap("aa bb cc", columnCount: 5) == ["aa bb", "cc"])
        #expect(Program.wrap("aa bb cc", columnCount: 8) == ["aa bb cc"])
        #expect(Program.wrap("aaaaaaa b", columnCount: 3) == ["aaaaaaa", "b"])
        #expect(Program.wrap("", columnCount: 3) == [""])
    }
}
