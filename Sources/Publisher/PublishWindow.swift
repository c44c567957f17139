// PUBLISH commands in flight: sent in a row, answered in the same order, bounded in number and in bytes.
// Confined to the main thread, like the connection.

import EventLoop
import Redis

/// A bounded pipeline of PUBLISH commands; each carries a tag that comes back with its answer.
final class PublishWindow {
    /// Enough to hide the round trip; half of them leave at a time.
    static let maximumCount = 512
    /// Keeps large notices from filling memory.
    static let maximumBytes = 4 << 20

    /// What Redis said to one PUBLISH.
    enum Answer {
        /// The nodes that received it: each holds one subscribed connection.
        case nodes(Int)
        /// The text of the error reply.
        case refused(String)
    }

    private let redis: RedisSession
    /// Commands that have not left.
    private var batch = RedisBatch()
    private var inFlight = Fifo<(tag: Int, bytes: Int)>()
    private var inFlightBytes = 0
    private var answers: [(tag: Int, answer: Answer)] = []

    init(redis: RedisSession) { self.redis = redis }

    /// The tags whose answers have not come, oldest first.
    var unanswered: [Int] { inFlight.map(\.tag) }

    /// Takes a notice to be sent, after half of the answers have been read when the window is full.
    ///
    /// - Parameter prefix: what stands before `channel` in the channel's name.
    /// - Throws: `RedisSessionError`; the notice is not sent, and answers that came before can still be
    ///   taken.
    func publish(
        _ payload: [UInt8], to channel: [UInt8], prefix: [UInt8], tag: Int
    ) throws(RedisSessionError) {
        if inFlight.count >= Self.maximumCount || inFlightBytes >= Self.maximumBytes {
            try wait(untilCount: Self.maximumCount / 2, bytes: Self.maximumBytes / 2)
        }
        batch.appendPublish(payload, to: channel, prefix: prefix)
        inFlight.append((tag, payload.count))
        inFlightBytes += payload.count
        if batch.count >= Self.maximumCount / 2 || batch.byteCount >= Self.maximumBytes / 8 { send() }
    }

    /// Waits for every answer.
    ///
    /// - Throws: `RedisSessionError`; answers that came before can still be taken.
    func drain() throws(RedisSessionError) {
        try wait(untilCount: 0, bytes: 0)
    }

    /// The answers since the last call, in the order of `publish`.
    func takeAnswers() -> [(tag: Int, answer: Answer)] {
        guard !answers.isEmpty else { return [] }
        defer { answers = [] }
        return answers
    }

    private func send() {
        guard batch.count > 0 else { return }
        redis.send(batch) { [unowned self] in self.take($0) }
        batch.removeAll()
        redis.flush()
    }

    private func wait(untilCount count: Int, bytes: Int) throws(RedisSessionError) {
        send()
        try redis.wait { inFlight.count <= count && inFlightBytes <= bytes }
    }

    private func take(_ news: RedisBatch.News) {
        switch news {
        case .numbers(let numbers):
            for number in numbers { answered(number >= 0 ? .nodes(Int(number)) : .refused(Self.unexpected)) }
        case .refused(let text): answered(.refused(text))
        case .noNumber: answered(.refused(Self.unexpected))
        case .lost: break
        }
    }

    private static let unexpected = "unexpected answer to PUBLISH"

    private func answered(_ answer: Answer) {
        guard let (tag, bytes) = inFlight.takeFirst() else { return }
        inFlightBytes -= bytes
        answers.append((tag, answer))
    }
}
