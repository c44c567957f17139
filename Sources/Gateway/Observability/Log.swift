// One line on stderr for each event worth reporting. Any thread; no caller waits for the reader of stderr.

import Bytes
import EventLoop
import JSON
import Options
import System

/// Which lines the log writes.
enum LogLevel: String, CaseIterable, Sendable, Comparable {
    case debug, info, warning, error

    static func < (left: LogLevel, right: LogLevel) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .debug: 0
        case .info: 1
        case .warning: 2
        case .error: 3
        }
    }
}

/// How a log line is written: for people or for collectors.
enum LogFormat: String, CaseIterable, Sendable {
    case text, json
}

/// Writes lines of a level or above, as text (`key=value`) or as JSON. Lines of several threads do not mix.
/// A token is logged by its `description`, which is redacted.
struct Log: Sendable {
    /// The fields of a line, in order.
    struct Fields: ExpressibleByDictionaryLiteral {
        fileprivate private(set) var pairs: [(key: String, value: String)]

        init(dictionaryLiteral pairs: (String, String)...) {
            self.pairs = pairs.map { (key: $0.0, value: $0.1) }
        }

        mutating func append(_ key: String, _ value: String) { pairs.append((key, value)) }
    }

    private let level: LogLevel
    private let format: LogFormat
    private let nodeID: String
    private let writer: LogWriter

    init(level: LogLevel, format: LogFormat, nodeID: String, writer: LogWriter = .standardError) {
        self.level = level
        self.format = format
        self.nodeID = nodeID
        self.writer = writer
    }

    /// Lines dropped because no one read stderr.
    var droppedCount: UInt64 { writer.droppedCount }

    func debug(_ message: String, _ fields: Fields = [:]) { write(.debug, message, fields) }
    func info(_ message: String, _ fields: Fields = [:]) { write(.info, message, fields) }
    func warning(_ message: String, _ fields: Fields = [:]) { write(.warning, message, fields) }
    func error(_ message: String, _ fields: Fields = [:]) { write(.error, message, fields) }

    /// Whether the log writes lines of this level: ask first where composing one is expensive.
    func isEnabled(_ level: LogLevel) -> Bool { level >= self.level }

    private func write(_ level: LogLevel, _ message: String, _ fields: Fields) {
        guard isEnabled(level) else { return }
        let droppedCount = writer.takeUnreportedCount()
        if droppedCount > 0 {
            writer.write(line(.warning, "log lines dropped", ["count": "\(droppedCount)"]))
        }
        writer.write(line(level, message, fields))
    }

    private func line(_ level: LogLevel, _ message: String, _ fields: Fields) -> [UInt8] {
        format == .text
            ? Log.text(Log.timestamp(), level, message, fields, nodeID)
            : Log.json(Log.timestamp(), level, message, fields, nodeID)
    }

    static func text(
        _ time: String, _ level: LogLevel, _ message: String, _ fields: Fields, _ nodeID: String
    ) -> [UInt8] {
        var line = Array("\(time) \(level.rawValue) ".utf8)
        line += DisplayText.text(message).utf8
        for (key, value) in fields.pairs {
            line += " \(key)=".utf8
            appendValue(value, to: &line)
        }
        line += " node=\(nodeID)\n".utf8
        return line
    }

    static func json(
        _ time: String, _ level: LogLevel, _ message: String, _ fields: Fields, _ nodeID: String
    ) -> [UInt8] {
        let object = JsonWriter.object(escaping: .visible) {
            $0.member("time", time)
            $0.member("level", level.rawValue)
            $0.member("message", message)
            $0.member("node", nodeID)
            for (key, value) in fields.pairs { $0.member(key, clipped(value)) }
        }
        return object + [UInt8(ascii: "\n")]
    }

    /// Appends a value as it is if it is one word, otherwise as a JSON string: a room's name can neither
    /// forge a field nor control the terminal that shows the log.
    private static func appendValue(_ value: String, to line: inout [UInt8]) {
        let isWord =
            !value.isEmpty && value.utf8.count <= Limits.logValueCharacterCount
            && value.unicodeScalars.allSatisfy { !" \"=".unicodeScalars.contains($0) && $0.isHarmless }
        line += isWord ? Array(value.utf8) : JsonWriter.text(clipped(value), escaping: .visible)
    }

    private static func clipped(_ value: String) -> String {
        // Bytes are counted first: most values are short.
        guard value.utf8.count > Limits.logValueCharacterCount,
            value.unicodeScalars.count > Limits.logValueCharacterCount
        else {
            return value
        }
        return String(value.unicodeScalars.prefix(Limits.logValueCharacterCount)) + DisplayText.ellipsis
    }

    /// RFC 3339 with milliseconds, UTC.
    private static func timestamp() -> String {
        let milliseconds = WallClock.unixMilliseconds
        return CalendarText.utc(milliseconds / 1_000, "%Y-%m-%dT%H:%M:%S")
            + CalendarText.fraction(ofUnixMilliseconds: milliseconds) + "Z"
    }
}
