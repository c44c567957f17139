// How long messages take, counted in buckets for Prometheus. One thread writes, any thread reads.

import RedisSchema

/// Durations sorted into buckets, with a single writer.
final class DelayBuckets: Sendable {
    /// Upper bounds in seconds.
    static let bounds = NodeReport.publishToFlushBounds
    private static let boundNanoseconds = bounds.map { Int64($0 * 1_000_000_000) }

    /// One for each bound, and one for what is above them all.
    let buckets: [Counter]
    let sumNanoseconds = Counter()

    init() {
        buckets = (0...DelayBuckets.bounds.count).map { _ in Counter() }
    }

    /// Adds one observation.
    func record(nanoseconds: Int64) {
        let bounds = DelayBuckets.boundNanoseconds
        var index = 0
        while index < bounds.count, nanoseconds > bounds[index] { index += 1 }
        buckets[index].add(1)
        sumNanoseconds.add(UInt64(max(0, nanoseconds)))
    }
}
