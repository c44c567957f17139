// What a node of a cluster publishes to itself, to know that everything before it has come. Pure value.

import EventLoop

/// Echoes of `DurableRooms`, each through the master of one slot: the bus of a cluster keeps the order of each
/// master. An echo may be lost, with whatever was before it; then it counts as come after a while.
struct SlotEchoes {
    /// Much longer than the bus needs, and shorter than a handshake waits.
    private static let patience = Duration.seconds(1)

    private var echoes: [UInt64: (number: UInt64, slot: Int, sentAt: MonotonicInstant)] = [:]
    private var count: UInt64 = 0

    /// - Parameter number: the question's.
    /// - Returns: what is published.
    mutating func add(_ number: UInt64, _ slot: Int, now: MonotonicInstant) -> UInt64 {
        count += 1
        echoes[count] = (number, slot, now)
        return count
    }

    /// One has come.
    mutating func take(_ published: UInt64) -> (number: UInt64, slot: Int)? {
        echoes.removeValue(forKey: published).map { ($0.number, $0.slot) }
    }

    /// Those that do not come any more, in the order in which they were asked for.
    mutating func expire(now: MonotonicInstant) -> [(number: UInt64, slot: Int)] {
        let late = echoes.filter { now - $0.value.sentAt >= Self.patience }.keys.sorted()
        return late.compactMap { take($0) }
    }

    mutating func removeAll() { echoes = [:] }
}
