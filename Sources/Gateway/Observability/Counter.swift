// Numbers that one thread writes and any thread reads. Any thread.

import Synchronization

/// A count or a level with a single writer.
///
/// The writer's add is a relaxed load and a relaxed store, which is a plain addition on every machine: with
/// one writer nothing can be lost, and a reader sees a value that was true a moment ago.
final class Counter: Sendable {
    private let number = Atomic<UInt64>(0)

    var value: UInt64 { number.load(ordering: .relaxed) }

    func add(_ amount: UInt64) {
        number.store(number.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    func subtract(_ amount: UInt64) {
        number.store(number.load(ordering: .relaxed) &- amount, ordering: .relaxed)
    }

    func set(_ value: UInt64) {
        number.store(value, ordering: .relaxed)
    }
}
