// Durable notices by the function of the library, pipelined. Used by the publisher's thread.

import EventLoop
import Redis
import RedisSchema

/// FCALL roomcast_publish, without a once key: a run that loses its connection is over.
final class DurablePublishLink: PublishLink {
    private static let timeout = Duration.seconds(10)

    private let redis: RedisSession
    private let sender: DurableSender
    private let rooms: [RoomId]
    /// Whether it is known how this server publishes: before that notices go one by one.
    private var isProven = false

    /// - Throws: when Redis cannot be reached or refuses the login.
    init(_ url: RedisURL, prefix: String, roomCount: Int, run: UInt32) throws(PublishFailure) {
        do {
            let redis = try RedisSession(to: url, timeout: Self.timeout, loop: EventLoop())
            self.redis = redis
            sender = DurableSender(prefix: prefix) { redis.send($0, near: $1, onReply: $2) }
        } catch {
            throw PublishFailure(description: "\(error)")
        }
        rooms = (0..<roomCount).map { RoomName.id(room: $0, run: run) }
    }

    func publish(_ messages: [(room: Int, payload: [UInt8])]) throws(PublishFailure) -> PublishResult {
        var result = PublishResult()
        for part in isProven ? [messages[...]] : [messages.prefix(1), messages.dropFirst()] {
            try publish(part, &result)
        }
        isProven = true
        return result
    }

    private func publish(
        _ messages: ArraySlice<(room: Int, payload: [UInt8])>, _ result: inout PublishResult
    ) throws(PublishFailure) {
        var missingCount = messages.count
        var outcome = PublishResult(unheardCount: redis.isCluster ? nil : 0)
        for message in messages {
            let notice = DurableNotice(
                room: rooms[message.room], payload: message.payload, once: nil, bounds: HistoryBounds())
            sender.publish(notice) { answer in
                missingCount -= 1
                switch answer {
                case .success(let stored):
                    outcome.unheardCount = outcome.unheardCount.map { $0 + (stored.nodeCount == 0 ? 1 : 0) }
                case .failure(let failure):
                    outcome.refusedCount += 1
                    outcome.refusal = "\(failure)"
                }
            }
        }
        do throws(RedisSessionError) {
            try redis.wait { missingCount == 0 }
            if let failure = redis.failure { throw failure }
        } catch {
            throw PublishFailure(description: error.description)
        }
        result += outcome
    }
}
