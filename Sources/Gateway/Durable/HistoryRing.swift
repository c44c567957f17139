// The last notices of a room, kept for clients that come back soon. Pure value.

import EventLoop
import RedisSchema

/// A run of notices without a hole: what follows any position in it can be given without asking Redis.
///
///     base ▸ [entry] [entry] [entry = the room's position]
struct HistoryRing<Frame: Equatable> {
    /// The position behind which the first entry comes; nil if that is unknown.
    private(set) var base: NoticeId?
    private(set) var entries = Fifo<HistoryEntry<Frame>>()
    /// The memory of all entries.
    private(set) var memoryBytes = 0

    /// The memory that eviction can free: the last entry stays, because proofs compare its bytes.
    var evictableBytes: Int { entries.last.map { memoryBytes - $0.memoryBytes } ?? 0 }

    /// Adds the next entry.
    ///
    /// - Parameter position: the position behind which it comes; matters for the first entry only.
    mutating func append(_ entry: HistoryEntry<Frame>, behind position: NoticeId?) {
        if entries.isEmpty { base = position }
        entries.append(entry)
        memoryBytes += entry.memoryBytes
    }

    /// Lets go of the oldest entry, unless it is the last.
    mutating func evictOldest() {
        guard entries.count > 1, let oldest = entries.takeFirst() else { return }
        memoryBytes -= oldest.memoryBytes
        base = oldest.id
    }

    mutating func removeAll() { self = HistoryRing() }

    /// How many of the entries are not behind `since`; nil if something between `since` and the first entry
    /// may be missing here.
    ///
    /// - Complexity: O(log entries): ids rise.
    func index(behind since: NoticeId) -> Int? {
        if since == base { return 0 }
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].id < since { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].id == since ? low + 1 : nil
    }
}
