// A process of a test, held by the driver: its signals, its exit and its two log files.
import Foundation
import Synchronization

final class Child: Sendable {
    let driver: Driver
    let name: String
    let pid: Int
    private let logPath: String
    private let exitSeen = Atomic(false)

    init(_ driver: Driver, name: String, _ command: [String], environment: [String: String] = [:])
        async throws
    {
        self.driver = driver
        self.name = name
        logPath = driver.directory.appending(path: name).path
        let reply = try await driver.call(
            "spawn",
            [
                "argv": .array(command.map(JSON.string)), "log": .string(logPath),
                "env": .object(environment.mapValues(JSON.string)),
            ])
        guard let pid = reply.int else { throw HarnessError("\(name) did not start: \(reply)") }
        self.pid = pid
    }

    func signal(_ number: Int32) async throws {
        try await driver.call("signal", ["pid": .number(Double(pid)), "number": .number(Double(number))])
    }

    /// The exit code, negative for a signal; nil when it is still running after `patience`.
    func exitCode(within patience: Duration = .patience) async throws -> Int? {
        let code = try await driver.call(
            "wait", ["pid": .number(Double(pid)), "timeout": .number(patience.seconds)]
        ).int
        if code != nil { exitSeen.store(true, ordering: .relaxed) }
        return code
    }

    /// The exit code of a process that ended without any test having asked for it: a crash.
    func unexpectedExitCode() async throws -> Int? {
        guard !exitSeen.load(ordering: .relaxed) else { return nil }
        return try await exitCode(within: .zero)
    }

    /// What it has written to stderr so far.
    var errorOutput: String { (try? String(contentsOfFile: logPath + ".err", encoding: .utf8)) ?? "" }
    /// What it has written to stdout so far.
    var output: String { (try? String(contentsOfFile: logPath + ".out", encoding: .utf8)) ?? "" }
}

/// The end of a program that was run to completion.
struct Completed: Sendable {
    let code: Int
    let output: String
    let errors: String
}

extension Driver {
    func run(
        _ command: [String], environment: [String: String] = [:], input: String = "",
        within: Duration = .patience
    ) async throws -> Completed {
        let reply = try await call(
            "run",
            [
                "argv": .array(command.map(JSON.string)), "env": .object(environment.mapValues(JSON.string)),
                "stdin": .string(Data(input.utf8).base64EncodedString()), "timeout": .number(within.seconds),
            ])
        guard let code = reply["code"].int, let output = reply["out"].string,
            let errors = reply["err"].string
        else {
            throw HarnessError("\(command[0]): \(reply)")
        }
        return Completed(code: code, output: output, errors: errors)
    }

    func freePort() async throws -> Int {
        guard let port = try await call("free_port", [:]).int else { throw HarnessError("no free port") }
        return port
    }
}
