// What became of the notices of a file, and how it is told: the summary and its JSON form. Pure.

import RedisSchema
import Options

/// The count of a file's notices by outcome.
struct Tally: Equatable {
    /// How a file ended.
    enum Ending: String {
        /// Every line was read.
        case complete
        /// A bad line or a refused notice, with `--on-error stop`.
        case stopped
        case interrupted
        /// The connection to Redis broke, or reading the file failed.
        case failed
    }

    /// Redis confirmed the publishing.
    var sentCount = 0
    /// Sum of the nodes that received them.
    var receiverCount = 0
    /// Redis answered with an error.
    var refusedCount = 0
    /// Lines that are no notice.
    var badLineCount = 0
    /// Sent without an answer: published or not, nobody knows.
    var unansweredCount = 0

    var errorCount: Int { refusedCount + badLineCount + unansweredCount }

    /// The summary for people: one line.
    func text(elapsed: Duration) -> String {
        var parts = ["sent \(sentCount)", "receivers \(receiverCount)", "errors \(errorCount)"]
        if errorCount > 0 {
            parts[2] += " (bad lines \(badLineCount), refused \(refusedCount), unanswered \(unansweredCount))"
        }
        return parts.joined(separator: ", ") + ", \(Self.secondsText(elapsed)) s"
    }

    /// The summary for programs: one JSON object.
    ///
    /// - Parameter nextLine: where to go on; nil when there is nothing left.
    func json(ending: Ending, elapsed: Duration, nextLine: Int? = nil) -> String {
        "{\"ending\":\"\(ending.rawValue)\",\"sent\":\(sentCount),\"receivers\":\(receiverCount),"
            + "\"errors\":\(errorCount),\"badLines\":\(badLineCount),\"refused\":\(refusedCount),"
            + "\"unanswered\":\(unansweredCount),"
            + (nextLine.map { "\"nextLine\":\($0)," } ?? "") + "\"seconds\":\(Self.secondsText(elapsed))}"
    }

    /// Counts a notice that Redis has taken. The sum stays at the largest number rather than end the program: any
    /// number may stand in an answer.
    mutating func addSent(receiverCount count: Int) {
        sentCount += 1
        receiverCount = receiverCount.addingClamped(count)
    }

    /// Seconds with three decimals: `0.042`.
    static func secondsText(_ duration: Duration) -> String {
        let milliseconds =
            duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
        let fraction = String(milliseconds % 1000)
        return "\(milliseconds / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    }
}

/// What became of the notice for one room.
enum RoomResult: Equatable {
    /// Published; this many nodes received it.
    case nodes(Int)
    /// Redis answered with an error.
    case refused(String)
    /// Sent, but the connection broke before the answer.
    case unanswered
    /// Not sent.
    case unsent

    /// The line for people: `lobby: 2 nodes`.
    func text(room: RoomId) -> String {
        let room = DisplayText.text(room.bytes)
        return switch self {
        case .nodes(let count): "\(room): \(count) \(count == 1 ? "node" : "nodes")"
        case .refused(let answer): "\(room): not published: \(DisplayText.text(answer, columnCount: 500))"
        case .unanswered: "\(room): no answer from Redis, may have been published or not"
        case .unsent: "\(room): not sent"
        }
    }

    /// The line for programs: a JSON object with `nodes` or `error`.
    func json(room: RoomId) -> String {
        var bytes = Array(#"{"room":\#(DisplayText.quoted(room.description))"#.utf8)
        switch self {
        case .nodes(let count): bytes += #","nodes":\#(count)"#.utf8
        case .refused(let answer): appendError(answer, to: &bytes)
        case .unanswered: appendError("no answer", to: &bytes)
        case .unsent: appendError("not sent", to: &bytes)
        }
        return String(decoding: bytes, as: UTF8.self) + "}"
    }

    private func appendError(_ text: String, to bytes: inout [UInt8]) {
        bytes += #","error":\#(DisplayText.quoted(text))"#.utf8
    }
}
