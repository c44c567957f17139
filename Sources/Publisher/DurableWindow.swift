// Durable notices in flight: sent in a row over a connection that is made again, each under a once key, so
// that what is sent again is stored once. Confined to the main thread.
//
//     first notice alone → its answer: how the connection publishes is known → the others, pipelined
//     connection lost, Redis loads its data, or its cluster is down → connect again → all without an answer from the
//     beginning

import EventLoop
import Options
import Redis
import RedisSchema

/// A bounded pipeline of durable notices.
final class DurableWindow: NoticeWindow {
    private struct Item {
        let tag: Int
        let notice: DurableNotice
        let hasOwnKey: Bool
        var answer: PublishAnswer?
        /// Whether the answer came over the present connection.
        var isAnswered = false
    }

    /// What has been tried since Redis answered last.
    private struct Trouble {
        let deadline: MonotonicInstant
        /// The next pause before connecting: none, and then as short as a restart of Redis.
        var pause = Duration.zero
    }

    private static let pauses = (first: Duration.milliseconds(50), longest: Duration.milliseconds(500))

    private let settings: RedisSettings
    private let durability: Durability
    private let channels: Channels
    private let loop: EventLoop
    private var redis: RedisSession
    private var sender: DurableSender
    /// Rises with each connection, so that late news of an older one is not taken.
    private var connectionNumber = 0
    /// Whether the present connection has answered a notice.
    private var isProven = false
    /// Redis has said that it loads its data, or that its cluster is down: what passes.
    private var passingRefusal: String?
    private var trouble: Trouble?

    /// All without a final answer, oldest first. With `--replicas` all of them are sent again over a new
    /// connection: behind it may be another master, without the notices that were not confirmed.
    private var items = Fifo<Item>()
    private var itemBytes = 0
    /// How many of `items` were sent over the present connection.
    private var sentCount = 0
    /// How many of `items` have no answer over the present connection.
    private var missingCount = 0
    /// How many have left `items`.
    private var leftCount = 0
    private var answers: [(tag: Int, answer: PublishAnswer)] = []
    private let keyOfCall: String

    init(_ redis: RedisSession, _ settings: RedisSettings, _ durability: Durability, loop: EventLoop) {
        self.redis = redis
        self.settings = settings
        self.durability = durability
        self.loop = loop
        channels = Channels(prefix: settings.prefix)
        sender = DurableSender(prefix: settings.prefix) { redis.send($0, near: $1, onReply: $2) }
        var random = RandomPool()
        keyOfCall = String(random.next(), radix: 36) + String(random.next(), radix: 36)
    }

    var unanswered: [Int] { items.filter { $0.answer == nil }.map(\.tag) }

    func publish(_ notice: Notice, tag: Int) throws(RedisSessionError) {
        if items.count >= PublishWindow.maximumCount || itemBytes >= PublishWindow.maximumBytes {
            try settle(untilCount: PublishWindow.maximumCount / 2, bytes: PublishWindow.maximumBytes / 2)
        }
        items.append(item(notice, tag))
        itemBytes += notice.payload.count
        missingCount += 1
        transmit()
        if items.count % (PublishWindow.maximumCount / 4) == 0 { redis.flush() }
    }

    func flush() {
        transmit()
        redis.flush()
    }

    func drain() throws(RedisSessionError) {
        try settle(untilCount: 0, bytes: 0)
    }

    func takeAnswers() -> [(tag: Int, answer: PublishAnswer)] {
        guard !answers.isEmpty else { return [] }
        defer { answers = [] }
        return answers
    }

    private func item(_ notice: Notice, _ tag: Int) -> Item {
        let given = notice.once ?? durability.once
        let shortest = given == nil ? DurableNotice.onceLives.lowerBound : DurableNotice.onceLife
        let life = min(max(settings.timeout * 4, shortest), DurableNotice.onceLives.upperBound)
        return Item(
            tag: tag,
            notice: DurableNotice(
                room: notice.room, payload: notice.payload, once: given ?? OnceKey("\(keyOfCall):\(tag)"),
                onceLife: life, bounds: durability.bounds),
            hasOwnKey: given == nil)
    }

    /// Sends what was not sent yet; only the first one while it is unknown how the connection publishes.
    private func transmit() {
        let count = isProven ? items.count : min(1, items.count)
        while sentCount < count {
            let (place, number) = (leftCount + sentCount, connectionNumber)
            sentCount += 1
            sender.publish(items[sentCount - 1].notice) { [weak self] in self?.take($0, place, number) }
        }
    }

    // MARK: Answers

    private func take(_ result: Result<DurableNotice.Outcome, RedisFailure>, _ place: Int, _ number: Int) {
        guard number == connectionNumber else { return }
        switch result {
        // The session tells of it.
        case .failure(.unavailable): return
        case .failure(.refused(let message))
        where message.hasPrefix("LOADING") || message.hasPrefix("CLUSTERDOWN"):
            passingRefusal = message.hasPrefix("LOADING") ? "Redis is loading its data" : message
            return
        case .failure(.refused(let message)): answer(place - leftCount, .refused(message))
        case .success(let outcome): stored(place - leftCount, outcome)
        }
        isProven = true
        if durability.replicaCount == nil { release() }
    }

    private func stored(_ index: Int, _ outcome: DurableNotice.Outcome) {
        let item = items[index]
        // Sent again, it is the same notice: what is known of the first time stays.
        if case .stored(let stored)? = item.answer, stored.id == outcome.id {
            return answer(index, .stored(stored))
        }
        let isKnown = outcome.nodeCount == nil && !item.hasOwnKey
        answer(
            index,
            .stored(
                StoredNotice(
                    id: outcome.id, nodeCount: redis.isCluster ? nil : outcome.nodeCount, isKnown: isKnown,
                    isCounted: !redis.isCluster)))
    }

    private func answer(_ index: Int, _ answer: PublishAnswer) {
        let isNews = items[index].answer == nil
        items[index].answer = answer
        items[index].isAnswered = true
        missingCount -= 1
        // That other masters of a cluster still answer for theirs is no news.
        if isNews || missingCount == 0 { trouble = nil }
    }

    /// Lets go of those at the beginning that have their answer.
    ///
    /// - Parameter shortage: what is wrong with the replicas of one that is stored.
    private func release(shortage: (Item) -> String? = { _ in nil }) {
        while let first = items.first, first.isAnswered, var answer = first.answer {
            items.takeFirst()
            itemBytes -= first.notice.payload.count
            leftCount += 1
            sentCount -= 1
            if case .stored(var stored) = answer {
                stored.shortage = shortage(first)
                answer = .stored(stored)
            }
            answers.append((first.tag, answer))
        }
    }

    // MARK: Waiting

    private func settle(untilCount count: Int, bytes: Int) throws(RedisSessionError) {
        while items.count > count || itemBytes > bytes {
            do throws(RedisSessionError) {
                try advance(untilCount: count, bytes: bytes)
            } catch {
                guard case .lost = error else {
                    giveUp(error)
                    throw error
                }
                try reconnect(after: error)
            }
        }
    }

    /// One step: sends, and waits until there is something to do.
    private func advance(untilCount count: Int, bytes: Int) throws(RedisSessionError) {
        transmit()
        let wasProven = isProven
        try redis.wait {
            passingRefusal != nil || isProven != wasProven || missingCount == 0
                || (durability.replicaCount == nil && items.count <= count && itemBytes <= bytes)
        }
        if let passingRefusal { throw .lost(passingRefusal) }
        if let replicaCount = durability.replicaCount, missingCount == 0 { try confirm(by: replicaCount) }
    }

    /// Waits until the replicas of each master have all that was stored there over this connection.
    private func confirm(by replicaCount: Int) throws(RedisSessionError) {
        let isAnyStored = items.contains { if case .stored? = $0.answer { true } else { false } }
        guard isAnyStored else { return release() }
        let wait = ["WAIT", "\(replicaCount)", "\(settings.timeout.wholeMilliseconds)"]
        let command = RedisCommand(wait.map { [UInt8]($0) })
        let masters = redis.usedMasters
        var counts: [RedisURL.Address?: Int64] = [:]
        do throws(RedisSessionError) {
            try redis.call(masters.map { (command, $0) }) { reply, index in
                counts[masters[index]] = reply.integer ?? 0
            }
        } catch {
            guard case .refused(let answer) = error else { throw error }
            return release { _ in "how many replicas have it is unknown: \(answer)" }
        }
        release { [redis, channels] item in
            let master = redis.master(of: channels.room(item.notice.room))
            let count = counts[master] ?? counts.values.min() ?? 0
            return count < replicaCount ? "only \(count) of \(replicaCount) replicas have it" : nil
        }
    }

    /// - Throws: `error` if there is no connection until `--timeout` after the last answer, or a signal comes.
    private func reconnect(after error: RedisSessionError) throws(RedisSessionError) {
        redis.close()
        var trouble = trouble ?? Trouble(deadline: .now + settings.timeout)
        while Interruption.requested == nil, .now < trouble.deadline {
            if trouble.pause > .zero { _ = Interruption.wait(forReadable: -1, timeout: trouble.pause) }
            trouble.pause = min(max(trouble.pause * 2, Self.pauses.first), Self.pauses.longest)
            self.trouble = trouble
            let left = max(trouble.deadline - .now, Self.pauses.first)
            do throws(RedisSessionError) {
                return use(
                    try RedisSession(
                        to: settings.url, timeout: left, answerTimeout: settings.answerTimeout(durability),
                        loop: loop))
            } catch { continue }
        }
        giveUp(error)
        throw error
    }

    private func use(_ session: RedisSession) {
        connectionNumber += 1
        redis = session
        sender = DurableSender(prefix: settings.prefix) { session.send($0, near: $1, onReply: $2) }
        (isProven, passingRefusal) = (false, nil)
        sentCount = 0
        missingCount = items.count
        for index in items.indices { items[index].isAnswered = false }
    }

    /// What has its place in Redis is told, too.
    private func giveUp(_ error: RedisSessionError) {
        let stored = items.filter { $0.answer != nil }
        let rest = items.filter { $0.answer == nil }
        items.removeAll()
        for item in stored + rest {
            items.append(item)
            if item.answer != nil { items[items.count - 1].isAnswered = true }
        }
        sentCount = items.count
        release { _ in "how many replicas have it is unknown: \(error)" }
    }
}
