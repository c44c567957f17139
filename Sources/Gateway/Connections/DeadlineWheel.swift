// Deadlines of thousands of connections with one timer. Pure: the clock is given. Loop-confined.

import EventLoop

/// What has one deadline at a time in a wheel.
protocol DeadlineEntry: AnyObject {
    /// The tick at which the wheel gives the entry out, in its lower half; the wheel's business.
    var deadlineTick: UInt32 { get set }
    /// Its place in the tick's slot. -1: it has no deadline.
    var deadlineIndex: Int32 { get set }
}

/// A timing wheel: slots of one tick each, one turn of the wheel longer than the longest usual delay, so
/// that a slot seldom holds entries of two turns (a longer delay, or one that is set before missed ticks are
/// looked at). Setting, moving and removing a deadline is O(1) and allocates nothing but the slot's growth.
/// The number of slots is a power of two, so that the lower half of a tick shows its slot: entries keep no
/// more than that.
/// A deadline is met at its time or up to one tick later, never before.
///
/// Entries are not retained: who owns one removes it before letting go of it.
struct DeadlineWheel<Entry: DeadlineEntry> {
    private var slots: [ContiguousArray<Unmanaged<Entry>>]
    private let start: MonotonicInstant
    private let tickNanoseconds: Int64
    /// The next tick to be processed, counted from `start`.
    private var nextTick: Int64 = 0
    private(set) var count = 0

    /// - Parameter maximumDelay: the longest usual delay. A longer one is looked at once in every turn of
    ///   the wheel.
    init(maximumDelay: Duration, now: MonotonicInstant) {
        tickNanoseconds = Limits.deadlineTick.wholeNanoseconds
        let tickCount = maximumDelay.wholeNanoseconds / tickNanoseconds
        let least = Int(tickCount) + 3
        slots = Array(repeating: [], count: 1 << (Int.bitWidth - (least - 1).leadingZeroBitCount))
        start = now
    }

    /// Sets or moves the entry's deadline to `delay` after `now`.
    mutating func set(_ entry: Entry, after delay: Duration, now: MonotonicInstant) {
        remove(entry)
        let due = now.nanoseconds - start.nanoseconds + delay.wholeNanoseconds
        let wanted = (due + tickNanoseconds - 1) / tickNanoseconds
        let tick = UInt32(truncatingIfNeeded: max(wanted, nextTick))
        let slot = slot(of: tick)
        entry.deadlineTick = tick
        entry.deadlineIndex = Int32(slots[slot].count)
        slots[slot].append(Unmanaged.passUnretained(entry))
        count += 1
    }

    /// Forgets the entry's deadline, if it has one.
    mutating func remove(_ entry: Entry) {
        guard entry.deadlineIndex >= 0 else { return }
        let slot = slot(of: entry.deadlineTick)
        let index = Int(entry.deadlineIndex)
        let last = slots[slot].removeLast()
        if index < slots[slot].count {
            slots[slot][index] = last
            last.takeUnretainedValue().deadlineIndex = Int32(index)
        }
        entry.deadlineIndex = -1
        count -= 1
    }

    /// Takes out entries whose deadline has come: all of them, unless there are more than `maximumCount`, of
    /// which the rest comes with the next call.
    mutating func takeDue(now: MonotonicInstant, maximumCount: Int = .max) -> [Entry] {
        let current = (now.nanoseconds - start.nanoseconds) / tickNanoseconds
        // After a long pause each slot is looked at once, not once for every turn that was missed.
        nextTick = max(nextTick, current - Int64(slots.count) + 1)
        var due: [Entry] = []
        while nextTick <= current, takeNextSlot(until: current, maximumCount, into: &due) { nextTick += 1 }
        count -= due.count
        return due
    }

    private func slot(of tick: UInt32) -> Int { Int(tick) & (slots.count - 1) }

    /// Moves due entries of the next tick's slot to `due`, until that has `maximumCount`; the others close
    /// up. Returns whether none of them is due.
    private mutating func takeNextSlot(
        until current: Int64, _ maximumCount: Int, into due: inout [Entry]
    ) -> Bool {
        let slot = slot(of: UInt32(truncatingIfNeeded: nextTick))
        // Deadlines are less than 2³¹ ticks away, nearly seven years.
        let isDue = { (entry: Entry) in
            Int32(bitPattern: entry.deadlineTick &- UInt32(truncatingIfNeeded: current)) <= 0
        }
        let size = slots[slot].count
        var kept = 0
        var isDone = true
        for index in 0..<size {
            let entry = slots[slot][index].takeUnretainedValue()
            if isDue(entry), due.count < maximumCount {
                entry.deadlineIndex = -1
                due.append(entry)
            } else {
                if isDue(entry) { isDone = false }
                entry.deadlineIndex = Int32(kept)
                slots[slot][kept] = Unmanaged.passUnretained(entry)
                kept += 1
            }
        }
        if kept == 0 {
            slots[slot].removeAll(keepingCapacity: size < 256)
        } else {
            slots[slot].removeLast(size - kept)
        }
        return isDone
    }

    /// Every entry, in no order.
    var entries: [Entry] { slots.flatMap { slot in slot.map { $0.takeUnretainedValue() } } }
}
