// Notices on their way to Redis, as those who publish see them, and what becomes of each. Main thread.

import Redis
import RedisSchema

/// A bounded pipeline of notices; each carries a tag that comes back with its answer.
protocol NoticeWindow: AnyObject {
    /// The tags whose answers have not come, oldest first.
    var unanswered: [Int] { get }

    /// Takes a notice to be sent, after half of the answers have been read when the window is full.
    ///
    /// - Throws: `RedisSessionError`; the notice is not sent, and answers that came before can still be
    ///   taken.
    func publish(_ notice: Notice, tag: Int) throws(RedisSessionError)

    /// Sends what waits to be sent, without waiting for answers.
    func flush()

    /// Waits for every answer.
    ///
    /// - Throws: `RedisSessionError`; answers that came before can still be taken.
    func drain() throws(RedisSessionError)

    /// The answers since the last call, in the order of `publish`.
    func takeAnswers() -> [(tag: Int, answer: PublishAnswer)]
}

/// What Redis said to one notice.
enum PublishAnswer: Equatable {
    /// Published; the nodes that received it: each holds one subscribed connection.
    case nodes(Int)
    /// Published in a cluster, where nobody counts the nodes that received it.
    case published
    /// Stored and published, now or before.
    case stored(StoredNotice)
    /// The text of the error reply.
    case refused(String)
}

/// A durable notice that has its place in Redis.
struct StoredNotice: Equatable {
    let id: NoticeId
    /// The nodes that received it; nil if that is unknown, as the notice was published before.
    let nodeCount: Int?
    /// Whether its once key was known before this call.
    let isKnown: Bool
    /// Whether Redis counts the nodes that receive a notice: a cluster does not.
    var isCounted = true
    /// What is wrong with its replicas: `only 0 of 1 replicas have it`.
    var shortage: String?
}
