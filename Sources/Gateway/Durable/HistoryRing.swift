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
        since == base ? 0 : place(of: since).map { $0 + 1 }
    }

    /// Whether a notice has come, with these bytes.
    ///
    /// - Complexity: O(log entries): ids rise.
    func contains(_ entry: HistoryEntry<Frame>) -> Bool {
        place(of: entry.id).map { entries[$0].frame == entry.frame } ?? false
    }

    /// The entry with a number.
    func entry(numbered number: Int64) -> HistoryEntry<Frame>? {
        guard let first = entries.first, number >= first.id.number,
            number - first.id.number < Int64(entries.count)
        else {
            return nil
        }
        let entry = entries[Int(number - first.id.number)]
        return entry.id.number == number ? entry : nil
    }

    private func place(of id: NoticeId) -> Int? {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].id == id ? low : nil
    }
}
