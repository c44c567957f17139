// The programs as processes: what they make of what they inherit (descriptors, arguments, environment,
// signals), and what they do when their results cannot be written.
import Foundation
import Testing

/// What a test needs of the machine beyond an ordinary user's rights.
enum Namespaces {
    static let advice: Comment = "mount namespaces are not permitted here: run as root"
    static let arePermitted = succeeds(["-m", "mount", "-t", "tmpfs", "none", "/proc"])

    static let processAdvice: Comment = "process namespaces are not permitted here: run as root"
    static let ofProcessesArePermitted = succeeds(["-p", "-f", "true"])

    private static func succeeds(_ arguments: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/unshare")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}

@Suite(.serialized) struct ProcessTests {
    private static let programs = ["gateway", "publisher", "loadtest"]

    private func with(_ body: (Driver) async throws -> Void) async throws {
        let driver = try Driver()
        do { try await body(driver) } catch {
            await driver.stop()
            throw error
        }
        await driver.stop()
    }

    /// A command that bash starts with a redirection, or with other words around it.
    private func bash(_ script: String, _ command: [String]) -> [String] {
        ["bash", "-c", script, "bash"] + command
    }

    /// What Redis has taken for commands and was none, and the commands that tests of this file smuggle in.
    private func expectNothingForeign(_ redis: RedisServer) async throws {
        // Unknown commands; a script that is not loaded yet has a name of its own, and a function has none.
        let errors = try await redis.command("INFO", "errorstats").string ?? ""
        let commands = try await redis.command("INFO", "commandstats").string ?? ""
        let missingFunctions = number(commands, after: "cmdstat_fcall_ro:", "failed_calls=")
        #expect(number(errors, after: "errorstat_ERR:", "count=") == missingFunctions, "\(errors)")
        #expect(!commands.contains("cmdstat_del:"))
    }

    /// The number behind a word in the line that begins with a name; 0 if there is no such line.
    private func number(_ text: String, after name: String, _ word: String) -> Int {
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name) }
        guard let start = line?.range(of: word)?.upperBound else { return 0 }
        return Int(line?[start...].prefix { $0.isNumber } ?? "") ?? -1
    }

    // MARK: Descriptors

    @Test(arguments: [("<&-", 0), (">&-", 1), ("2>&-", 0)])
    func publisherWithAClosedDescriptorTellsRedisNothing(closing: String, code: Int) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            try await cluster.redis.command("SET", "victim", "1")
            let publisher = [try Installation.binary("publisher"), "--redis", cluster.redis.url]
            let sent = try await cluster.driver.run(
                bash("exec \"$@\" \(closing)", publisher + ["--room", "DEL victim", "--data", "1"]))
            #expect(sent.code == code)
            #expect(sent.output == (closing == ">&-" ? "" : "DEL victim: 0 nodes\n"))
            // A line of error, for the third.
            let line = #"{"room":"a","data":}"# + "\n"
            let file = try await cluster.driver.run(
                bash("exec \"$@\" \(closing)", publisher + ["--file", "-", "--on-error", "skip"]),
                input: line)
            #expect(file.code == 1)
            if closing == "<&-" { #expect(file.errors.contains("cannot read stdin: Bad file descriptor")) }
            if closing == ">&-" {
                #expect(sent.errors.contains("cannot write the result: Bad file descriptor"))
            }
            for words in [["revoke", "--user", "x"], ["nodes"], ["rooms"]] {
                let command: [String] =
                    [publisher[0], words[0], "--redis", cluster.redis.url] + Array(words.dropFirst())
                let observed = try await cluster.driver.run(bash("exec \"$@\" \(closing)", command))
                #expect(observed.code == code, "\(words)")
            }
            #expect(try await cluster.redis.command("GET", "victim") == "1")
            try await expectNothingForeign(cluster.redis)
        }
    }

    @Test(arguments: [0, 1, 2])
    func gatewayWithAClosedDescriptorServes(closed: Int) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let (port, admin) = (try await cluster.driver.freePort(), try await cluster.driver.freePort())
            let child = try await Child(
                cluster.driver, name: "gateway-\(closed)",
                bash(
                    "exec \"$@\" \(closed)>&-",
                    [
                        try Installation.binary("gateway"), "--listen", "127.0.0.1:\(port)",
                        "--admin-listen",
                        "127.0.0.1:\(admin)", "--redis", cluster.redis.url, "--workers", "1",
                    ]))
            try await eventually("it is ready") {
                try await cluster.driver.request(admin, "/readyz").status == 200
            }
            let opened = try FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/\(child.pid)/fd/\(closed)")
            #expect(opened == "/dev/null")
            let target = "/get/token?isLogin=true&userId=a"
            #expect(try await cluster.driver.request(port, target).status == 200)
            // What is logged: a payload that is held back.
            try await cluster.redis.command("PUBLISH", "room:a", "x")
            try await expectNothingForeign(cluster.redis)
        }
    }

    @Test(arguments: [("<&-", 0), (">&-", 1), ("2>&-", 0)])
    func loadTestWithAClosedDescriptorTellsNobodyElse(closing: String, code: Int) async throws {
        try await Cluster.with { cluster in
            let run = try await cluster.driver.run(
                bash(
                    "exec \"$@\" \(closing)",
                    [
                        try Installation.binary("loadtest"), "--gateway", "127.0.0.1:\(cluster.node.port)",
                        "--redis",
                        cluster.redis.url, "--clients", "4", "--rate", "50", "--warmup", "0s", "--duration",
                        "300ms",
                        "--processes", "2",
                    ]))
            #expect(run.code == code, "\(run.output)\(run.errors)")
            try await expectNothingForeign(cluster.redis)
        }
    }

    // MARK: Arguments

    /// Without /proc Swift finds no arguments: a gateway would run without its issue key.
    @Test(.enabled(if: Namespaces.arePermitted, Namespaces.advice), arguments: programs)
    func lostCommandLineIsWrongUsage(program: String) async throws {
        try await with { driver in
            let ended = try await driver.run(
                ["unshare", "-m"]
                    + bash(
                        "mount -t tmpfs none /proc && exec \"$@\"",
                        [try Installation.binary(program), "--version"]))
            #expect(ended.code == 2)
            #expect(ended.output.isEmpty)
            #expect(
                ended.errors.hasPrefix("\(program): cannot read the command line, expected a mounted /proc ")
            )
            #expect(ended.errors.split(separator: "\n").count == 1)
        }
    }

    /// A library that moves the environment hides the arguments of statically linked programs: they are
    /// found, or the program ends.
    @Test(arguments: programs)
    func preloadedLibrariesDoNotHideArguments(program: String) async throws {
        try await with { driver in
            let source = driver.directory.appending(path: "preloaded.c").path
            let library = driver.directory.appending(path: "preloaded.so").path
            try """
            #include <stdlib.h>
            __attribute__((constructor)) static void start(void) { setenv("ROOMCAST_TEST", "1", 1); }
            """.write(toFile: source, atomically: true, encoding: .utf8)
            let compiler = try Installation.system("cc", package: "gcc")
            let compiled = try await driver.run([compiler, "-shared", "-fPIC", "-o", library, source])
            try #require(compiled.code == 0, "\(compiled.errors)")
            let ended = try await driver.run(
                [try Installation.binary(program), "--no-such-option"], environment: ["LD_PRELOAD": library])
            #expect(ended.code == 2)
            #expect(
                ended.errors.contains("no-such-option")
                    || ended.errors.contains("cannot read the command line"))
        }
    }

    @Test(arguments: programs)
    func whatIsNotUTF8IsRefusedNotRepaired(program: String) async throws {
        try await with { driver in
            let binary = try Installation.binary(program)
            let option = program == "publisher" ? "--room" : "--redis"
            let argument = try await driver.run(bash(#"exec "$@" "$(printf 'a\377')""#, [binary, option]))
            #expect(argument.code == 2)
            #expect(argument.errors == "\(program): argument 2 (\(option)) is not UTF-8, expected UTF-8\n")
            let name = "\(program.uppercased())_\(option.dropFirst(2).uppercased())"
            let variable = try await driver.run(
                bash("export \(name)=$(printf 'a\\377'); exec \"$@\"", [binary]))
            #expect(variable.code == 2)
            #expect(variable.errors == "\(program): \(name): is not UTF-8, expected UTF-8\n")
        }
    }

    @Test(arguments: programs)
    func wrongRedisURLSaysWhatIsWrongWithIt(program: String) async throws {
        let faults = [
            ("http://:hunter2@h", "the scheme is not redis://, "),
            ("redis://u:hunter2@h:x", "the port is not"), ("redis://u:hunter2@h/x", "the database is not"),
            ("redis://u:hun/ter2@h", "write / as %2F"), ("redis://u:hunter2%@h", "write % as %25"),
            ("redis://u:hunter2@", "the host is missing"),
            ("redis://u:hunter2@h?db=1", "the database is written as /N"),
            ("redis://u:hunter2@h ", "ends with a blank"),
        ]
        try await with { driver in
            let rest: [String] =
                switch program {
                case "publisher": ["--room", "a", "--data", "1"]
                case "loadtest": ["--gateway", "127.0.0.1:1"]
                default: []
                }
            for (url, words) in faults {
                let ended = try await driver.run([try Installation.binary(program), "--redis", url] + rest)
                #expect(ended.code == 2)
                #expect(ended.errors.hasPrefix("\(program): --redis: invalid value: "))
                #expect(ended.errors.contains(words), "\(url): \(ended.errors)")
                #expect(ended.errors.contains("expected redis://[user:password@]host"))
                #expect(ended.errors.split(separator: "\n").count == 1)
                #expect(!ended.errors.contains("hunter2") && !ended.errors.contains("ter2"))
            }
        }
    }

    // MARK: Environment

    @Test func unknownVariablesOfTheGatewayAreLogged() async throws {
        let environment = [
            "GATEWAY_HEARTBEAT_TIMOUT": "hunter2", "GATEWAY_SERVICE_HOST": "10.0.0.1",
            "GATEWAY_SERVICE_PORT": "8080",
            "GATEWAY_PORT": "tcp://10.0.0.1:8080", "GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
            "GATEWAY_SERVICE_PORT_HTTP": "8080", "GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        ]
        try await Cluster.with(environment: environment) { cluster in
            let log = cluster.node.child.errorOutput
            let warning = "unknown environment variable"
            #expect(
                log.contains(
                    "warning \(warning) variable=GATEWAY_HEARTBEAT_TIMOUT did_you_mean=GATEWAY_HEARTBEAT_TIMEOUT"
                ))
            #expect(log.split(separator: "\n").count { $0.contains(warning) } == 1, "\(log)")
            #expect(!log.contains("hunter2"))
        }
    }

    // MARK: Results

    @Test(arguments: [
        ("gateway", ["--help"]), ("gateway", ["--version"]), ("loadtest", ["--help"]),
        ("loadtest", ["--version"]),
        ("publisher", ["--help"]), ("publisher", ["--version"]), ("publisher", ["revoke", "--help"]),
        ("publisher", ["--completions", "bash"]),
    ])
    func textThatCannotBeWrittenIsAFailure(program: String, arguments: [String]) async throws {
        try await with { driver in
            let ended = try await driver.run(
                bash("exec \"$@\" > /dev/full", [try Installation.binary(program)] + arguments))
            #expect(ended.code == 1)
            #expect(ended.errors == "\(program): cannot write the result: No space left on device\n")
        }
    }

    @Test func resultsThatCannotBeWrittenAreAFailureOfEveryCommand() async throws {
        try await Cluster.with { cluster in
            let binary = try Installation.binary("publisher")
            for words in [
                ["--room", "a", "--data", "1"], ["--room", "a", "--data", "1", "--json"], ["--file", "-"],
                ["revoke", "--user", "x"], ["nodes"], ["nodes", "--watch", "100ms"], ["rooms"],
                ["rooms", "--json"],
                ["top"],
            ] {
                let (word, options) =
                    words[0].hasPrefix("--") ? ([], words) : ([words[0]], Array(words.dropFirst()))
                let command: [String] = [binary] + word + ["--redis", cluster.redis.url] + options
                let ended = try await cluster.driver.run(
                    bash("exec \"$@\" > /dev/full", command), input: #"{"room":"a","data":1}"#)
                #expect(ended.code == 1, "\(words)")
                #expect(
                    ended.errors.hasSuffix("publisher: cannot write the result: No space left on device\n"),
                    "\(words): \(ended.errors)")
                // Nobody reads: as for any other program, whatever shells make of it.
                let unread = try await cluster.driver.run(
                    bash("\"$@\" > >(exec true); exit \"$?\"", command), input: #"{"room":"a","data":1}"#)
                #expect(unread.code == 0 || unread.code == 141, "\(words)")
            }
            let room = cluster.room()
            let watch = try await Child(
                cluster.driver, name: "watch",
                bash(
                    "exec \"$@\" > /dev/full",
                    [binary, "watch", "--redis", cluster.redis.url, "--room", room]))
            try await eventually("it listens") { try await cluster.redis.publish(room: room, "1") == 1 }
            #expect(try await watch.exitCode() == 1)
            #expect(watch.errorOutput.contains("cannot write the result: No space left on device"))
        }
    }

    // MARK: As process 1, for which the kernel has no default action

    @Test(.enabled(if: Namespaces.ofProcessesArePermitted, Namespaces.processAdvice))
    func publisherAsTheFirstProcessEndsWithItsAccount() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let path = cluster.driver.directory.appending(path: "notices.ndjson").path
            try String(repeating: #"{"room":"a","data":1}"# + "\n", count: 10_000)
                .write(toFile: path, atomically: true, encoding: .utf8)
            let first = ["unshare", "-p", "-f", "--kill-child", try Installation.binary("publisher")]
            let child = try await Child(
                cluster.driver, name: "first",
                first + ["--redis", cluster.redis.url, "--file", path, "--rate", "20"])
            try await eventually("lines are sent") {
                try await cluster.redis.command("INFO", "commandstats").string?.contains("cmdstat_publish:")
                    == true
            }
            try await signalChild(of: child, "TERM", cluster.driver)
            #expect(try await child.exitCode() == 143)
            #expect(child.output.hasPrefix("sent "))
            #expect(child.errorOutput.contains("interrupted: nothing after line "))
            #expect(child.errorOutput.contains("go on with --from-line"))
        }
    }

    /// Also while it starts: a pipe that nobody opens holds it up.
    @Test(.enabled(if: Namespaces.ofProcessesArePermitted, Namespaces.processAdvice))
    func publisherAsTheFirstProcessEndsBeforeItHasBegun() async throws {
        try await with { driver in
            let pipe = driver.directory.appending(path: "pipe").path
            #expect(try await driver.run(["mkfifo", pipe]).code == 0)
            let child = try await Child(
                driver, name: "first",
                [
                    "unshare", "-p", "-f", "--kill-child", try Installation.binary("publisher"), "--file",
                    pipe,
                ])
            try await eventually("it ends") {
                try await signalChild(of: child, "TERM", driver)
                return try await child.exitCode(within: .zero) != nil
            }
            #expect(try await child.exitCode(within: .zero) == 143)
        }
    }

    private func signalChild(of child: Child, _ name: String, _ driver: Driver) async throws {
        let path = "/proc/\(child.pid)/task/\(child.pid)/children"
        let children = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        for pid in children.split(separator: " ") {
            _ = try await driver.run(["kill", "-\(name)", String(pid)])
        }
    }
}
