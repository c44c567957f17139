// A program on a pseudo-terminal, and what is to be seen there (Support/terminals.py).
import Foundation
import Testing

final class Terminal: Sendable {
    /// What is on it at one time.
    struct Picture: Sendable {
        /// As many as there are rows, blanks at their ends left out.
        let lines: [String]
        let hasCursor: Bool
        let isAlternate: Bool
        let wraps: Bool
        /// Whether echo, lines and keys are as they were before the program.
        let hasSameSettings: Bool
        let styleCount: Int
        let byteCount: Int
        let escapeCount: Int

        var text: String { lines.joined(separator: "\n") }
        /// Nothing of the program is left on it.
        var isGivenBack: Bool { hasCursor && !isAlternate && wraps && hasSameSettings }
    }

    private let driver: Driver
    private let pid: Int

    init(
        _ driver: Driver, _ command: [String], columns: Int = 80, rows: Int = 24,
        environment: [String: String] = [:]
    ) async throws {
        self.driver = driver
        let reply = try await driver.call(
            "terminal_open",
            [
                "argv": .array(command.map(JSON.string)), "columns": .number(Double(columns)),
                "rows": .number(Double(rows)), "env": .object(environment.mapValues(JSON.string)),
            ])
        guard let pid = reply.int else { throw HarnessError("no terminal: \(reply)") }
        self.pid = pid
    }

    private var number: JSON { .number(Double(pid)) }

    func type(_ text: String) async throws {
        try await driver.call("terminal_type", ["pid": number, "text": .string(text)])
    }

    func resize(columns: Int, rows: Int) async throws {
        let arguments: [String: JSON] = [
            "pid": number, "columns": .number(Double(columns)), "rows": .number(Double(rows)),
        ]
        try await driver.call("terminal_resize", arguments)
    }

    func signal(_ number: Int32) async throws {
        try await driver.call("signal", ["pid": self.number, "number": .number(Double(number))])
    }

    /// The exit code, negative for a signal; nil when it is still running after `patience`.
    func exitCode(within patience: Duration = .patience) async throws -> Int? {
        try await driver.call("wait", ["pid": number, "timeout": .number(patience.seconds)]).int
    }

    func picture() async throws -> Picture {
        let shown = try await driver.call("terminal_show", ["pid": number])
        let lines = (shown["lines"].array ?? []).compactMap(\.string).map { line in
            String(line.reversed().drop { $0 == " " }.reversed())
        }
        return Picture(
            lines: lines, hasCursor: shown["cursor"] == true, isAlternate: shown["alternate"] == true,
            wraps: shown["wraps"] == true, hasSameSettings: shown["same"] == true,
            styleCount: shown["styles"].int ?? -1, byteCount: shown["bytes"].int ?? -1,
            escapeCount: shown["escapes"].int ?? -1)
    }

    /// Waits for a picture; throws with the last one when it does not come.
    @discardableResult
    func awaitPicture(
        _ what: String, within patience: Duration = .patience,
        sourceLocation: SourceLocation = #_sourceLocation, _ isThere: (Picture) -> Bool
    ) async throws -> Picture {
        var last = try await picture()
        let isSeen = try await eventually(what, within: patience, sourceLocation: sourceLocation) {
            last = try await self.picture()
            return isThere(last)
        }
        guard isSeen else { throw HarnessError("what was seen instead:\n\(last.text)") }
        return last
    }
}
