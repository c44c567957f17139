// What became of the notices of a file, and how it is told: the summary and its JSON form. Pure.

import JSON
import Options
import RedisSchema
import System

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
    /// Sent without an answer: they may have been published or not.
    var unansweredCount = 0

    var errorCount: Int { refusedCount + badLineCount + unansweredCount }

    /// The summary for people: one line.
    func text(elapsed: Duration) -> String {
        var parts = ["sent \(sentCount)", "receivers \(receiverCount)", "errors \(errorCount)"]
        if errorCount > 0 {
            parts[2] +=
                " (bad lines \(badLineCount), refused \(refusedCount), unanswered \(unansweredCount))"
        }
        return parts.joined(separator: ", ") + ", \(Self.secondsText(elapsed)) s"
    }

    /// The summary for programs: one JSON object.
    ///
    /// - Parameter nextLine: where to go on; nil when there is nothing left.
    func json(ending: Ending, elapsed: Duration, nextLine: Int? = nil) -> String {
        JsonLine.object {
            $0.member("ending", ending.rawValue)
            $0.member("sent", sentCount)
            $0.member("receivers", receiverCount)
            $0.member("errors", errorCount)
            $0.member("badLines", badLineCount)
            $0.member("refused", refusedCount)
            $0.member("unanswered", unansweredCount)
            if let nextLine { $0.member("nextLine", nextLine) }
            $0.member("seconds", json: Self.secondsText(elapsed).utf8)
        }
    }

    /// Counts a notice that Redis has taken. The sum stays at the largest number rather than end the
    /// program: any number may stand in an answer.
    mutating func addSent(receiverCount count: Int) {
        sentCount += 1
        receiverCount = receiverCount.addingClamped(count)
    }

    /// Seconds with three decimals: `0.042`.
    static func secondsText(_ duration: Duration) -> String { Quantity.decimal(duration.inSeconds) }
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
        JsonLine.object {
            $0.member("room", room.description)
            switch self {
            case .nodes(let count): $0.member("nodes", count)
            case .refused(let answer): $0.member("error", answer)
            case .unanswered: $0.member("error", "no answer")
            case .unsent: $0.member("error", "not sent")
            }
        }
    }
}
