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
    /// The once key was known: nothing was published.
    var knownCount = 0
    /// Among the sent and known: fewer replicas have it than were asked for.
    var shortCount = 0
    /// Sum of the nodes that received them.
    var receiverCount = 0
    /// Whether Redis counts them: a cluster does not.
    var isCounted = true
    /// Redis answered with an error.
    var refusedCount = 0
    /// Lines that are no notice.
    var badLineCount = 0
    /// Sent without an answer: they may have been published or not.
    var unansweredCount = 0

    /// Whether the notices are kept; then the known ones are told, too.
    var isDurable = false

    var errorCount: Int { refusedCount + badLineCount + unansweredCount + shortCount }

    /// The summary for people: one line.
    func text(elapsed: Duration) -> String {
        var errors = "errors \(errorCount)"
        if errorCount > 0 {
            errors += " (bad lines \(badLineCount), refused \(refusedCount), unanswered \(unansweredCount)"
            errors += shortCount > 0 ? ", too few replicas \(shortCount))" : ")"
        }
        let known = knownCount > 0 ? ["already published \(knownCount)"] : []
        let receivers = isCounted ? ["receivers \(receiverCount)"] : []
        let parts = ["sent \(sentCount)"] + known + receivers + [errors]
        return parts.joined(separator: ", ") + ", \(Self.secondsText(elapsed)) s"
    }

    /// The summary for programs: one JSON object.
    ///
    /// - Parameters:
    ///   - nextLine: where to go on; nil when there is nothing left.
    ///   - target: the server, where there are several.
    func json(ending: Ending, elapsed: Duration, nextLine: Int? = nil, target: String? = nil) -> String {
        JsonLine.object {
            if let target { $0.member("redis", target) }
            $0.member("ending", ending.rawValue)
            $0.member("sent", sentCount)
            if isDurable { $0.member("known", knownCount) }
            $0.member("receivers", isCounted ? receiverCount : nil)
            $0.member("errors", errorCount)
            $0.member("badLines", badLineCount)
            $0.member("refused", refusedCount)
            $0.member("unanswered", unansweredCount)
            if isDurable { $0.member("tooFewReplicas", shortCount) }
            if let nextLine { $0.member("nextLine", nextLine) }
            $0.member("seconds", json: Self.secondsText(elapsed).utf8)
        }
    }

    /// Counts a durable notice that has its place in Redis.
    mutating func add(_ stored: StoredNotice) {
        if stored.isKnown { knownCount += 1 } else { addSent(receiverCount: stored.nodeCount ?? 0) }
        if stored.shortage != nil { shortCount += 1 }
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
    case answered(PublishAnswer)
    /// Sent, but the connection broke before the answer.
    case unanswered
    /// Not sent.
    case unsent

    /// Whether the notice is out, by this call or, under its once key, before.
    var isPublished: Bool {
        switch self {
        case .answered(.nodes), .answered(.published), .answered(.stored): true
        case .answered(.refused), .unanswered, .unsent: false
        }
    }

    /// What is wrong with the replicas of a notice that is stored.
    var shortage: String? { if case .answered(.stored(let stored)) = self { stored.shortage } else { nil } }

    /// The line for people: `lobby: 2 nodes`, `lobby: 2 nodes, id 1795969278590-57`.
    func text(room: RoomId) -> String {
        let room = DisplayText.text(room.bytes)
        return switch self {
        case .answered(.nodes(let count)): "\(room): \(Quantity.count(count, "node"))"
        case .answered(.published): "\(room): published"
        case .answered(.stored(let stored)): "\(room): \(Self.text(stored)), id \(stored.id)"
        case .answered(.refused(let answer)):
            "\(room): not published: \(DisplayText.text(answer, columnCount: 500))"
        case .unanswered: "\(room): no answer from Redis, may have been published or not"
        case .unsent: "\(room): not sent"
        }
    }

    private static func text(_ stored: StoredNotice) -> String {
        if let count = stored.nodeCount { return Quantity.count(count, "node") }
        if stored.isKnown { return "already published" }
        // It was sent again, and the answer to the first time was lost with its connection.
        return stored.isCounted ? "published, its number of nodes is unknown" : "published"
    }

    /// The line for programs: a JSON object with `nodes` or `error`; with `id` if it is stored.
    ///
    /// - Parameter target: the server, where there are several.
    func json(room: RoomId, target: String? = nil) -> String {
        JsonLine.object {
            if let target { $0.member("redis", target) }
            $0.member("room", room.description)
            switch self {
            case .answered(.nodes(let count)): $0.member("nodes", count)
            case .answered(.published): $0.member("nodes", nil as Int?)
            case .answered(.stored(let stored)):
                $0.member("nodes", stored.nodeCount)
                $0.member("id", stored.id.description)
                if stored.isKnown { $0.member("known", true) }
                if let shortage = stored.shortage { $0.member("replicas", shortage) }
            case .answered(.refused(let answer)): $0.member("error", answer)
            case .unanswered: $0.member("error", "no answer")
            case .unsent: $0.member("error", "not sent")
            }
        }
    }
}
