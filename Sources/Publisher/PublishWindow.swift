// PUBLISH commands in flight: sent in a row, answered in the same order, bounded in number and in bytes.
// Confined to the main thread, like the connection.

import EventLoop
import Redis
import RedisSchema

/// A bounded pipeline of PUBLISH commands; each carries a tag that comes back with its answer.
final class PublishWindow: NoticeWindow {
    /// Enough to hide the round trip; half of them leave at a time.
    static let maximumCount = 512
    /// Keeps large notices from filling memory.
    static let maximumBytes = 4 << 20

    private let redis: RedisSession
    private let channels: Channels
    /// Commands that have not left.
    private var batch = RedisBatch()
    private var inFlight = Fifo<(tag: Int, bytes: Int)>()
    private var inFlightBytes = 0
    private var answers: [(tag: Int, answer: PublishAnswer)] = []

    init(redis: RedisSession, channels: Channels) {
        self.redis = redis
        self.channels = channels
    }

    var unanswered: [Int] { inFlight.map(\.tag) }

    func publish(_ notice: Notice, tag: Int) throws(RedisSessionError) {
        let payload = notice.payload
        if inFlight.count >= Self.maximumCount || inFlightBytes >= Self.maximumBytes {
            try wait(untilCount: Self.maximumCount / 2, bytes: Self.maximumBytes / 2)
        }
        batch.appendPublish(payload, to: notice.room.bytes, prefix: channels.roomPrefix)
        inFlight.append((tag, payload.count))
        inFlightBytes += payload.count
        if batch.count >= Self.maximumCount / 2 || batch.byteCount >= Self.maximumBytes / 8 { send() }
    }

    func drain() throws(RedisSessionError) {
        try wait(untilCount: 0, bytes: 0)
    }

    func takeAnswers() -> [(tag: Int, answer: PublishAnswer)] {
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

    private func answered(_ answer: PublishAnswer) {
        guard let (tag, bytes) = inFlight.takeFirst() else { return }
        inFlightBytes -= bytes
        answers.append((tag, answer))
    }
}
