import EventLoop
import TestSupport
import Testing

@testable import Gateway

private final class Entry: DeadlineEntry {
    var deadlineTick: UInt32 = 0
    var deadlineIndex: Int32 = -1
    let number: Int

    init(_ number: Int) { self.number = number }
}

private typealias Wheel = DeadlineWheel<Entry>

@Suite struct DeadlineWheelTests {
    private let start = MonotonicInstant(nanoseconds: 987_654_321)
    private let tick = Limits.deadlineTick

    @Test func deadlineIsNeverMetEarlyAndAtMostOneTickLate() {
        for milliseconds in [0, 1, 99, 100, 101, 150, 199, 200, 1_000, 1_950, 2_000] {
            for offset in stride(from: 0, to: 300, by: 37) {
                var wheel = Wheel(maximumDelay: .seconds(2), now: start)
                let entry = Entry(0)
                let set = start + .milliseconds(offset)
                let due = set + .milliseconds(milliseconds)
                wheel.set(entry, after: .milliseconds(milliseconds), now: set)
                var now = set
                var taken: MonotonicInstant?
                while taken == nil, now < due + .seconds(1) {
                    now = now + .milliseconds(1)
                    if !wheel.takeDue(now: now).isEmpty { taken = now }
                }
                let isInTime = taken.map { $0 >= due && $0 - due <= tick }
                #expect(isInTime == true, "\(milliseconds) ms, set at \(offset)")
                #expect(wheel.count == 0)
            }
        }
    }

    @Test func movedDeadlineCountsAndTheFormerDoesNot() {
        var wheel = Wheel(maximumDelay: .seconds(10), now: start)
        let entry = Entry(0)
        wheel.set(entry, after: .seconds(1), now: start)
        wheel.set(entry, after: .seconds(5), now: start)
        #expect(wheel.count == 1)
        #expect(wheel.takeDue(now: start + .seconds(4)).isEmpty)
        wheel.set(entry, after: .milliseconds(500), now: start + .seconds(4))
        #expect(wheel.count == 1)
        #expect(wheel.takeDue(now: start + .milliseconds(4_600)).map(\.number) == [0])
        #expect(wheel.takeDue(now: start + .seconds(20)).isEmpty)
    }

    @Test func removedEntryIsNotDueAndTheOthersAre() {
        var wheel = Wheel(maximumDelay: .seconds(1), now: start)
        let entries = (0..<5).map(Entry.init)
        for entry in entries { wheel.set(entry, after: .milliseconds(250), now: start) }
        // The last takes the place of the first; then it is removed from there.
        wheel.remove(entries[0])
        wheel.remove(entries[4])
        wheel.remove(entries[4])
        #expect(wheel.count == 3)
        #expect(Set(wheel.entries.map(\.number)) == [1, 2, 3])
        #expect(Set(wheel.takeDue(now: start + .seconds(1)).map(\.number)) == [1, 2, 3])
        #expect(wheel.count == 0)
        wheel.remove(entries[1])
        #expect(wheel.count == 0)
    }

    @Test func deadlinesMayBeSetWhileDueOnesAreHandled() {
        var wheel = Wheel(maximumDelay: .seconds(1), now: start)
        let entries = (0..<4).map(Entry.init)
        for entry in entries { wheel.set(entry, after: .milliseconds(100), now: start) }
        let now = start + .milliseconds(200)
        let due = wheel.takeDue(now: now)
        #expect(due.count == 4)
        wheel.set(due[0], after: .zero, now: now)
        wheel.set(due[1], after: .milliseconds(100), now: now)
        wheel.remove(due[2])
        #expect(wheel.count == 2)
        #expect(wheel.takeDue(now: now).isEmpty, "no entry comes twice in one tick, or a handler would spin")
        #expect(wheel.takeDue(now: now + .milliseconds(200)).count == 2)
    }

    @Test func maximumDelayIsKept() {
        var wheel = Wheel(maximumDelay: .seconds(30), now: start)
        let entry = Entry(0)
        // At every offset within a tick, and in every turn of the wheel.
        for offset in stride(from: 0, to: 95_000, by: 333) {
            let now = start + .milliseconds(offset)
            _ = wheel.takeDue(now: now)
            wheel.set(entry, after: .seconds(30), now: now)
            wheel.remove(entry)
        }
        let now = start + .seconds(100)
        _ = wheel.takeDue(now: now)
        wheel.set(entry, after: .seconds(30), now: now)
        #expect(wheel.takeDue(now: now + .milliseconds(29_999)).isEmpty)
        #expect(wheel.takeDue(now: now + .milliseconds(30_100)).count == 1)
    }

    @Test func delayBeyondTheMaximumIsKeptToo() {
        var wheel = Wheel(maximumDelay: .seconds(3), now: start)
        let entries = (0..<3).map(Entry.init)
        wheel.set(entries[0], after: .seconds(100), now: start)
        // Of the same slot, one turn of the wheel earlier and later.
        let turn = tick * 64
        wheel.set(entries[1], after: .seconds(100) - turn, now: start)
        wheel.set(entries[2], after: .seconds(100) + turn, now: start)
        var taken: [Int] = []
        for milliseconds in stride(from: 0, to: 99_999, by: 77) {
            taken += wheel.takeDue(now: start + .milliseconds(milliseconds)).map(\.number)
        }
        #expect(taken == [1])
        #expect(wheel.takeDue(now: start + .milliseconds(100_100)).map(\.number) == [0])
        wheel.remove(entries[2])
        #expect(wheel.count == 0)
    }

    /// Entries know the lower half of their tick only, which begins anew after fourteen years.
    @Test func deadlinesAcrossTheEndOfTheLowerHalfAreKept() {
        var wheel = Wheel(maximumDelay: .seconds(2), now: start)
        let entries = (0..<40).map(Entry.init)
        let now = start + tick * ((1 << 32) - 20)
        for entry in entries { wheel.set(entry, after: tick * entry.number, now: now) }
        wheel.remove(entries[39])
        for ticks in 0..<39 {
            #expect(wheel.takeDue(now: now + tick * ticks).map(\.number) == [ticks])
        }
        #expect(wheel.count == 0)
    }

    @Test func longPauseBringsAllThatIsDueOnce() {
        var wheel = Wheel(maximumDelay: .seconds(1), now: start)
        let entries = (0..<10).map(Entry.init)
        for entry in entries { wheel.set(entry, after: .milliseconds(100 * entry.number), now: start) }
        #expect(Set(wheel.takeDue(now: start + .seconds(1_000)).map(\.number)) == Set(0..<10))
        #expect(wheel.takeDue(now: start + .seconds(2_000)).isEmpty)
    }

    /// What comes due at once comes in portions where it is asked for so, each entry once and none early.
    @Test(arguments: [1, 7, 50]) func dueEntriesMayBeTakenInPortions(maximumCount: Int) {
        var wheel = Wheel(maximumDelay: .seconds(1), now: start)
        let entries = (0..<50).map(Entry.init)
        let late = Entry(99)
        for entry in entries {
            wheel.set(entry, after: .milliseconds(100 * (entry.number % 3 + 1)), now: start)
        }
        wheel.set(late, after: .milliseconds(900), now: start)
        let now = start + .milliseconds(500)
        var portions: [[Int]] = []
        repeat {
            portions.append(wheel.takeDue(now: now, maximumCount: maximumCount).map(\.number))
            // Whatever is removed or moved meanwhile stays so.
            wheel.set(late, after: .milliseconds(900), now: now)
        } while portions.last?.isEmpty == false
        #expect(portions.allSatisfy { $0.count <= maximumCount })
        #expect(portions.flatMap { $0 }.sorted() == Array(0..<50))
        #expect(wheel.count == 1)
        #expect(wheel.takeDue(now: now + .milliseconds(899)).isEmpty)
        #expect(wheel.takeDue(now: now + .seconds(1)).map(\.number) == [99])
    }

    /// What is set after a pause, before the missed ticks were looked at, is not early either.
    @Test(arguments: [1, 3, 5, 12, 13, 14, 100, 1_000])
    func deadlineSetAfterAPauseIsNotEarly(pausedTicks: Int) {
        var wheel = Wheel(maximumDelay: .seconds(1), now: start)
        let old = Entry(0)
        let entry = Entry(1)
        wheel.set(old, after: .milliseconds(500), now: start)
        let now = start + tick * pausedTicks
        wheel.set(entry, after: .seconds(1), now: now)
        for milliseconds in stride(from: 0, to: 1_000, by: 100) {
            let taken = wheel.takeDue(now: now + .milliseconds(milliseconds))
            #expect(!taken.contains { $0 === entry }, "\(milliseconds) ms after it was set for a second")
        }
        #expect(wheel.takeDue(now: now + .milliseconds(1_100)).contains { $0 === entry })
        #expect(wheel.count == 0)
    }

    /// Thousands of entries at random times, against a dictionary of deadlines.
    @Test(arguments: SeededRandom.seeds)
    func randomUseAgreesWithADictionary(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var wheel = Wheel(maximumDelay: .seconds(5), now: start)
        let entries = (0..<2_000).map(Entry.init)
        var deadlines: [Int: MonotonicInstant] = [:]
        var now = start
        for step in 0..<1_500 {
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                let entry = entries[Int.random(in: 0..<entries.count, using: &random)]
                if Int.random(in: 0..<5, using: &random) == 0 {
                    wheel.remove(entry)
                    deadlines[entry.number] = nil
                } else {
                    let delay = Duration.milliseconds(Int.random(in: 0...5_000, using: &random))
                    wheel.set(entry, after: delay, now: now)
                    deadlines[entry.number] = now + delay
                }
            }
            let isPause = Int.random(in: 0..<100, using: &random) == 0
            now = now + .microseconds(Int.random(in: 0...(isPause ? 12_000_000 : 150_000), using: &random))
            // A worker that is busy looks later than it should.
            guard Int.random(in: 0..<4, using: &random) > 0 else { continue }
            let due = wheel.takeDue(now: now)
            let numbers = due.map(\.number)
            #expect(Set(numbers).count == numbers.count, "seed \(seed), step \(step): an entry came twice")
            for number in numbers {
                let early = deadlines[number].map { $0 > now } ?? true
                #expect(!early, "seed \(seed), step \(step): entry \(number)")
                deadlines[number] = nil
            }
            let overdue = deadlines.values.count { now - $0 > tick }
            #expect(overdue == 0, "seed \(seed), step \(step)")
            #expect(wheel.count == deadlines.count, "seed \(seed), step \(step)")
        }
        #expect(Set(wheel.entries.map(\.number)) == Set(deadlines.keys))
    }
}
