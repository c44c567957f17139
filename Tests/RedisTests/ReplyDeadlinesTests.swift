import EventLoop
import Testing

@testable import Redis

@Suite struct ReplyDeadlinesTests {
    private func instant(_ number: Int) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(number)) }

    @Test func oldestComesFirst() {
        var deadlines = ReplyDeadlines()
        #expect(deadlines.first == nil)
        for number in 1...1_000 { deadlines.append(instant(number)) }
        for number in 1...1_000 {
            #expect(deadlines.first == instant(number))
            #expect(deadlines.count == 1_001 - number)
            deadlines.removeFirst()
        }
        #expect(deadlines.first == nil)
        #expect(deadlines.count == 0)
    }

    /// A pipeline that never runs empty must not keep what was answered.
    @Test(arguments: [1, 2, 63, 64, 65, 500])
    func memoryIsBoundedByWhatWaits(pendingCount: Int) {
        var deadlines = ReplyDeadlines()
        for number in 0..<pendingCount { deadlines.append(instant(number)) }
        var largest = 0
        var isInOrder = true
        for number in 0..<20_000 {
            deadlines.append(instant(pendingCount + number))
            isInOrder = isInOrder && deadlines.first == instant(number)
            deadlines.removeFirst()
            largest = max(largest, deadlines.storedCount)
        }
        #expect(deadlines.count == pendingCount)
        #expect(isInOrder)
        #expect(largest < pendingCount + max(64, pendingCount))
    }

    @Test func forgottenDeadlinesAreGone() {
        var deadlines = ReplyDeadlines()
        for number in 0..<100 { deadlines.append(instant(number)) }
        deadlines.removeAll()
        #expect(deadlines.first == nil)
        #expect(deadlines.storedCount == 0)
        deadlines.append(instant(7))
        #expect(deadlines.first == instant(7))
    }
}
