// What a node counts. Each part is written by one thread and summed when it is read.

import EventLoop
import Redis

/// Written by one worker.
final class WorkerMetrics: Sendable {
    let httpConnections = Counter()
    /// By transport.
    let clients = Transport.allCases.map { _ in Counter() }
    let rooms = Counter()
    let framesDelivered = Counter()
    let bytesWritten = Counter()
    let writes = Counter()
    let queueBytes = Counter()
    let acceptPauses = Counter()
    let tokensIssued = Counter()
    let tokensRefused = Counter()
    let tokensLimited = Counter()
    let tokensOverRate = Counter()
    let heartbeats = Counter()
    let heartbeatsRefused = Counter()
    let pings = Counter()
    let pongs = Counter()
    /// By transport.
    let handshakes = Transport.allCases.map { _ in Counter() }
    let requestsUnavailable = Counter()
    let redisReconnects = Counter()
    /// By the name of the kind; only in a cluster.
    let redirections = Dictionary(
        uniqueKeysWithValues: ClusterConnection.RedirectionKind.allCases.map { ($0.rawValue, Counter()) })
    let mapRefreshes = Counter()
    let rejected = RejectionReason.allCases.map { _ in Counter() }
    let closed = CloseReason.allCases.map { _ in Counter() }
    let publishToFlush = DelayBuckets()

    func reject(_ reason: RejectionReason) {
        rejected[reason.rawValue].add(1)
    }

    func close(_ reason: CloseReason) {
        closed[reason.rawValue].add(1)
    }
}

/// Written by one feed.
final class FeedMetrics: Sendable {
    let messagesReceived = Counter()
    let bytesReceived = Counter()
    let messagesCompressed = Counter()
    let messagesShed = Counter()
    let rooms = Counter()
    let reconnects = Counter()
    let gaps = Counter()
    let gapMilliseconds = Counter()
    let heldBack = HeldBackReason.allCases.map { _ in Counter() }
    let resumes = RoomAnswer<Message>.Source.allCases.map { _ in Counter() }
    let historyReads = Counter()
    let historyFilled = Counter()
    let historyCacheBytes = Counter()
    let roomsLost = LossCause.allCases.map { _ in Counter() }

    func countGap(milliseconds: Int64) {
        gaps.add(1)
        gapMilliseconds.add(UInt64(milliseconds))
    }
}

/// Everything that a node counts.
struct Metrics: Sendable {
    let workers: [WorkerMetrics]
    let feeds: [FeedMetrics]

    init(workerCount: Int, feedCount: Int) {
        workers = (0..<workerCount).map { _ in WorkerMetrics() }
        feeds = (0..<feedCount).map { _ in FeedMetrics() }
    }

    /// A worker's number, summed over the workers.
    func total(_ counter: (WorkerMetrics) -> Counter) -> UInt64 {
        workers.reduce(0) { $0 + counter($1).value }
    }

    /// A feed's number, summed over the feeds.
    func feedTotal(_ counter: (FeedMetrics) -> Counter) -> UInt64 {
        feeds.reduce(0) { $0 + counter($1).value }
    }

    /// A number that workers count by transport, summed over both.
    func total(ofAll counters: (WorkerMetrics) -> [Counter]) -> UInt64 {
        workers.reduce(0) { sum, worker in counters(worker).reduce(sum) { $0 + $1.value } }
    }

    func rejected(_ reason: RejectionReason) -> UInt64 { total { $0.rejected[reason.rawValue] } }

    func closed(_ reason: CloseReason) -> UInt64 { total { $0.closed[reason.rawValue] } }

    /// The messages up to each bound of the histogram, and last all of them.
    var publishToFlush: [UInt64] {
        var cumulative: UInt64 = 0
        return (0...DelayBuckets.bounds.count).map { index in
            cumulative += workers.reduce(0) { $0 + $1.publishToFlush.buckets[index].value }
            return cumulative
        }
    }
}
