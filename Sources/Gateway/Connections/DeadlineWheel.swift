// Deadlines of thousands of connections with one timer. Pure: the clock is given. Loop-confined.

import EventLoop

/// What has one deadline at a time in a wheel.
protocol DeadlineEntry: AnyObject {
    /// Where the wheel keeps the entry; the wheel's business. -1: nowhere.
    var deadlineSlot: Int32 { get set }
    var deadlineIndex: Int32 { get set }
}

/// A timing wheel: slots of one tick each, one turn of the wheel longer than the longest delay, so that a slot
/// never holds entries of two turns. Setting, moving and removing a deadline is O(1) and allocates nothing
/// but the slot's growth. A deadline is met at its time or up to one tick later, never before.
///
/// Entries are not retained: who owns one removes it before letting go of it.
struct DeadlineWheel<Entry: DeadlineEntry> {
    /// The precision of deadlines: fine against the 2 s that a missed heartbeat may take to be acted on.
    static var tick: Duration { .milliseconds(100) }

    private var slots: [ContiguousArray<Unmanaged<Entry>>]
    private let start: MonotonicInstant
    /// The next tick to be processed, counted from `start`.
    private var nextTick: Int64 = 0
    private(set) var count = 0

    /// - Parameter maximumDelay: the longest delay that will be set; a longer one is cut to it.
    init(maximumDelay: Duration, now: MonotonicInstant) {
        let tickCount = maximumDelay.wholeNanoseconds / Self.tick.wholeNanoseconds
        slots = Array(repeating: [], count: Int(tickCount) + 3)
        start = now
    }

    /// Sets or moves the entry's deadline to `delay` after `now`.
    mutating func set(_ entry: Entry, after delay: Duration, now: MonotonicInstant) {
        remove(entry)
        let due = (now - start + delay).wholeNanoseconds
        let tickNanoseconds = Self.tick.wholeNanoseconds
        let wanted = (due + tickNanoseconds - 1) / tickNanoseconds
        let tick = min(max(wanted, nextTick), nextTick + Int64(slots.count) - 1)
        let slot = Int(tick % Int64(slots.count))
        entry.deadlineSlot = Int32(slot)
        entry.deadlineIndex = Int32(slots[slot].count)
        slots[slot].append(Unmanaged.passUnretained(entry))
        count += 1
    }

    /// Forgets the entry's deadline, if it has one.
    mutating func remove(_ entry: Entry) {
        guard entry.deadlineSlot >= 0 else { return }
        let slot = Int(entry.deadlineSlot)
        let index = Int(entry.deadlineIndex)
        let last = slots[slot].removeLast()
        if index < slots[slot].count {
            slots[slot][index] = last
            last.takeUnretainedValue().deadlineIndex = Int32(index)
        }
        entry.deadlineSlot = -1
        count -= 1
    }

    /// Takes out every entry whose deadline has come.
    mutating func takeDue(now: MonotonicInstant) -> [Entry] {
        let current = (now - start).wholeNanoseconds / Self.tick.wholeNanoseconds
        guard current >= nextTick else { return [] }
        var due: [Entry] = []
        // After a long pause each slot is looked at once, not once for every turn that was missed.
        let span = min(current - nextTick + 1, Int64(slots.count))
        for tick in (current - span + 1)...current {
            let slot = Int(tick % Int64(slots.count))
            for entry in slots[slot] {
                let entry = entry.takeUnretainedValue()
                entry.deadlineSlot = -1
                due.append(entry)
            }
            count -= slots[slot].count
            slots[slot].removeAll(keepingCapacity: slots[slot].count < 256)
        }
        nextTick = current + 1
        return due
    }

    /// Every entry, in no order.
    var entries: [Entry] { slots.flatMap { slot in slot.map { $0.takeUnretainedValue() } } }
}
