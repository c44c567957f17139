// One line on stderr for each thing worth reporting. Any thread; no caller waits for the reader of stderr.

import EventLoop
import Glibc
import Options

/// Writes lines of a level or above, as text (`key=value`) or as JSON. Lines of several threads do not mix. Tokens
/// never come here: what is logged of one is its `description`, which is redacted.
struct Log: Sendable {
    /// What a line says besides its message, in order.
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

    /// Lines that were dropped because nobody read stderr.
    var droppedCount: UInt64 { writer.droppedCount }

    func debug(_ message: String, _ fields: Fields = [:]) { write(.debug, message, fields) }
    func info(_ message: String, _ fields: Fields = [:]) { write(.info, message, fields) }
    func warning(_ message: String, _ fields: Fields = [:]) { write(.warning, message, fields) }
    func error(_ message: String, _ fields: Fields = [:]) { write(.error, message, fields) }

    /// Whether lines of this level are written: asked first where composing one costs something.
    func isEnabled(_ level: LogLevel) -> Bool { level >= self.level }

    private func write(_ level: LogLevel, _ message: String, _ fields: Fields) {
        guard isEnabled(level) else { return }
        let droppedCount = writer.takeUnreportedCount()
        if droppedCount > 0 { writer.write(line(.warning, "log lines dropped", ["count": "\(droppedCount)"])) }
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
        var line = Array(#"{"time":"\#(time)","level":"\#(level.rawValue)","message":"#.utf8)
        line += DisplayText.quoted(message).utf8
        for (key, value) in [(key: "node", value: nodeID)] + fields.pairs {
            line += #","\#(key)":"#.utf8
            line += DisplayText.quoted(value, maximumCount: maximumValueCount).utf8
        }
        line += "}\n".utf8
        return line
    }

    /// Characters of a value: Redis' own words may be as long as it likes.
    private static let maximumValueCount = 2000

    /// A value as it stands if it is one word, as a JSON string otherwise: a room's name cannot forge a field, and none
    /// drives the terminal on which the log is read.
    private static func appendValue(_ value: String, to line: inout [UInt8]) {
        let isWord =
            !value.isEmpty && value.utf8.count <= maximumValueCount
            && value.unicodeScalars.allSatisfy { !" \"=".unicodeScalars.contains($0) && DisplayText.isHarmless($0) }
        line += isWord ? Array(value.utf8) : Array(DisplayText.quoted(value, maximumCount: maximumValueCount).utf8)
    }

    /// RFC 3339 with milliseconds, UTC.
    private static func timestamp() -> String {
        let milliseconds = WallClock.unixMilliseconds
        var seconds = time_t(milliseconds / 1_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        return
            "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
            + "T\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
            + ".\(padded(Int(milliseconds % 1_000), 3))Z"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
