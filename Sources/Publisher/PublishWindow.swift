// PUBLISH commands in flight: sent in a row, answered in the same order, bounded in number and in bytes.
// Confined to the main thread, like the connection.

import EventLoop
import Redis
import RedisSchema

/// A bounded pipeline of PUBLISH commands; each carries a tag that comes back with its answer.
///
/// A server that is demoted in the middle takes PUBLISH as before, and no gateway hears it. So ROLE follows each
/// batch, and only its answer makes those before it true.
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
    /// Answers that have come, of a server whose role then is still to be heard.
    private var heldAnswers: [PublishAnswer] = []
    private var answers: [(tag: Int, answer: PublishAnswer)] = []
    private let address: String
    /// Not where the user has no right to ask.
    private var asksRole: Bool
    private var isReplica = false
    /// Of the first notice: in a cluster all go to the master that has it, so that calls one after the other that
    /// publish to one room keep their order.
    private var firstChannel: [UInt8]?

    /// - Parameter address: of the server, for messages.
    init(redis: RedisSession, channels: Channels, address: String) {
        self.redis = redis
        self.channels = channels
        self.address = address
        // In a cluster every node, also a replica, hears what is published at any of them.
        asksRole = !redis.isCluster && !redis.refusals.contains { $0.command == "ROLE" }
    }

    var unanswered: [Int] { inFlight.map(\.tag) }

    func publish(_ notice: Notice, tag: Int) throws(RedisSessionError) {
        if isReplica { throw .replica(address) }
        let payload = notice.payload
        firstChannel = firstChannel ?? channels.room(notice.room)
        if inFlight.count >= Self.maximumCount || inFlightBytes >= Self.maximumBytes {
            try wait(untilCount: Self.maximumCount / 2, bytes: Self.maximumBytes / 2)
        }
        batch.appendPublish(payload, to: notice.room.bytes, prefix: channels.roomPrefix)
        inFlight.append((tag, payload.count))
        inFlightBytes += payload.count
        if batch.count >= Self.maximumCount / 2 || batch.byteCount >= Self.maximumBytes / 8 { send() }
    }

    func flush() { send() }

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
        redis.send(batch, near: firstChannel) { [unowned self] in self.take($0) }
        batch.removeAll()
        if asksRole { redis.send(Self.role) { [unowned self] in self.take(role: $0) } }
        redis.flush()
    }

    private func wait(untilCount count: Int, bytes: Int) throws(RedisSessionError) {
        send()
        try redis.wait { isReplica || (inFlight.count <= count && inFlightBytes <= bytes) }
        if isReplica { throw .replica(address) }
    }

    private static let role = RedisCommand([[UInt8]("ROLE")])

    /// What the server is behind the answers that are held.
    private func take(role result: Result<RedisReply, RedisFailure>) {
        switch result {
        case .success(let reply) where reply.count > 0 && reply[0].string == "slave":
            isReplica = true
            heldAnswers = heldAnswers.map {
                if case .nodes = $0 { .refused(Self.demoted) } else { $0 }
            }
        case .failure(.refused): asksRole = false
        // A connection that ends here has given its answers all the same.
        case .success, .failure(.unavailable): break
        }
        release()
    }

    private static let demoted = "the server is a replica"

    private func take(_ news: RedisBatch.News) {
        switch news {
        case .numbers(let numbers):
            for number in numbers {
                answered(
                    number < 0
                        ? .refused(Self.unexpected) : redis.isCluster ? .published : .nodes(Int(number)))
            }
        case .refused(let text): answered(.refused(text))
        case .noNumber: answered(.refused(Self.unexpected))
        case .lost: break
        }
    }

    private static let unexpected = "unexpected answer to PUBLISH"

    private func answered(_ answer: PublishAnswer) {
        heldAnswers.append(answer)
        if !asksRole { release() }
    }

    private func release() {
        for answer in heldAnswers {
            guard let (tag, bytes) = inFlight.takeFirst() else { break }
            inFlightBytes -= bytes
            answers.append((tag, answer))
        }
        heldAnswers = []
    }
}
