// Numbers that one thread writes and any thread reads. Any thread.

import RedisSchema
import Synchronization

/// A count or a level with a single writer.
///
/// The writer's add is a relaxed load and a relaxed store, which is a plain addition on every machine: with one writer
/// nothing can be lost, and a reader sees a value that was true a moment ago.
final class Counter: Sendable {
    private let number = Atomic<UInt64>(0)

    var value: UInt64 { number.load(ordering: .relaxed) }

    func add(_ amount: UInt64) {
        number.store(number.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    func set(_ value: UInt64) {
        number.store(value, ordering: .relaxed)
    }
}

/// Durations sorted into buckets, with a single writer.
final class Histogram: Sendable {
    /// Upper bounds in seconds.
    static let bounds = NodeReport.publishToFlushBounds
    private static let boundNanoseconds = bounds.map { Int64($0 * 1_000_000_000) }

    /// One for each bound, and one for what is above them all.
    let buckets: [Counter]
    let sumNanoseconds = Counter()

    init() {
        buckets = (0...Histogram.bounds.count).map { _ in Counter() }
    }

    /// Adds one observation.
    func record(nanoseconds: Int64) {
        let bounds = Histogram.boundNanoseconds
        var index = 0
        while index < bounds.count, nanoseconds > bounds[index] { index += 1 }
        buckets[index].add(1)
        sumNanoseconds.add(UInt64(max(0, nanoseconds)))
    }
}
