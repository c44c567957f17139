// PUBLISH commands in flight: sent in a row, answered in the same order, bounded in number and in bytes.
// Confined to the main thread, like the connection.

import Redis

/// A bounded pipeline of PUBLISH commands; each carries a tag that comes back with its answer.
struct PublishWindow<Tag> {
    /// Enough to hide the round trip; hiredis writes half a window at a time.
    static var maximumCount: Int { 512 }
    /// Keeps large notices from filling memory.
    static var maximumBytes: Int { 4 << 20 }

    /// What Redis said to one PUBLISH.
    enum Answer {
        /// The nodes that received it: each holds one subscribed connection.
        case nodes(Int)
        /// The text of the error reply.
        case refused(String)
    }

    private let redis: RedisPipeline
    private var inFlight: [(tag: Tag, bytes: Int)] = []
    private var inFlightBytes = 0
    private var answers: [(tag: Tag, answer: Answer)] = []

    init(redis: RedisPipeline) { self.redis = redis }

    /// The tags whose answers have not come, oldest first.
    var unanswered: [Tag] { inFlight.map(\.tag) }

    /// Sends a notice, after half of the answers have been read when the window is full.
    ///
    /// - Throws: `RedisPipelineError`; answers that came before can still be taken.
    mutating func publish(_ payload: [UInt8], to channel: [UInt8], tag: Tag) throws(RedisPipelineError) {
        if inFlight.count >= Self.maximumCount || inFlightBytes >= Self.maximumBytes {
            try readAnswers(untilCount: Self.maximumCount / 2, bytes: Self.maximumBytes / 2)
        }
        try redis.append([Self.command, channel, payload])
        inFlight.append((tag, payload.count))
        inFlightBytes += payload.count
    }

    /// Waits for every answer.
    ///
    /// - Throws: `RedisPipelineError`; answers that came before can still be taken.
    mutating func drain() throws(RedisPipelineError) {
        try readAnswers(untilCount: 0, bytes: 0)
    }

    /// The answers since the last call, in the order of `publish`.
    mutating func takeAnswers() -> [(tag: Tag, answer: Answer)] {
        defer { answers.removeAll(keepingCapacity: true) }
        return answers
    }

    private static var command: [UInt8] { Array("PUBLISH".utf8) }

    private mutating func readAnswers(untilCount: Int, bytes: Int) throws(RedisPipelineError) {
        var answeredCount = 0
        // Tags leave in one piece: taking them one by one would move the rest each time.
        defer { inFlight.removeFirst(answeredCount) }
        while inFlight.count - answeredCount > untilCount || inFlightBytes > bytes {
            let answer: Answer =
                switch try redis.nextReply() {
                case .integer(let count) where count >= 0: .nodes(Int(count))
                case .refused(let text): .refused(text)
                case .integer, .bytes, .array, .null: .refused("unexpected answer to PUBLISH")
                }
            answers.append((inFlight[answeredCount].tag, answer))
            inFlightBytes -= inFlight[answeredCount].bytes
            answeredCount += 1
        }
    }
}
