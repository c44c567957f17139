import EventLoop
import TestSupport
import Testing

@Suite struct FifoTests {
    @Test func oldestComesFirst() {
        var queue = Fifo<Int>()
        #expect(queue.first == nil && queue.takeFirst() == nil)
        for number in 1...1_000 { queue.append(number) }
        for number in 1...1_000 {
            #expect(queue.first == number && queue.count == 1_001 - number)
            #expect(queue.takeFirst() == number)
        }
        #expect(queue.first == nil && queue.isEmpty)
    }

    /// A queue that never runs empty must not keep what has left.
    @Test(arguments: [1, 2, 63, 64, 65, 500])
    func memoryIsBoundedByWhatWaits(waitingCount: Int) {
        var queue = Fifo<Int>()
        for number in 0..<waitingCount { queue.append(number) }
        var largest = 0
        var isInOrder = true
        for number in 0..<20_000 {
            queue.append(waitingCount + number)
            isInOrder = isInOrder && queue.takeFirst() == number
            largest = Swift.max(largest, queue.storedCount)
        }
        #expect(queue.count == waitingCount && isInOrder)
        #expect(largest < waitingCount + Swift.max(64, waitingCount))
    }

    @Test func whatHasLeftIsLetGoOf() {
        final class Thing {}
        var queue = Fifo<Thing>()
        weak var first: Thing?
        do {
            let thing = Thing()
            first = thing
            queue.append(thing)
            queue.append(Thing())
        }
        #expect(first != nil)
        queue.takeFirst()
        #expect(first == nil && queue.count == 1)
    }

    @Test func forgottenElementsAreGone() {
        var queue = Fifo<Int>()
        for number in 0..<100 { queue.append(number) }
        queue.removeAll()
        #expect(queue.isEmpty && queue.storedCount == 0)
        queue.append(7)
        #expect(queue.first == 7)
    }

    /// Against an array, of which the front is removed: every element, wherever it stands, and every change
    /// of one.
    @Test(arguments: SeededRandom.seeds)
    func elementsAreThoseOfAnArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = Fifo<Int>()
        var array: [Int] = []
        for step in 0..<3_000 {
            switch Int.random(in: 0..<100, using: &random) {
            case ..<50:
                queue.append(step)
                array.append(step)
            case ..<60 where !array.isEmpty:
                let index = Int.random(in: 0..<array.count, using: &random)
                queue[index] = -step
                array[index] = -step
            default:
                #expect(queue.takeFirst() == (array.isEmpty ? nil : array.removeFirst()), "seed \(seed)")
            }
            #expect(queue.elementsEqual(array), "seed \(seed), step \(step)")
        }
    }
}
