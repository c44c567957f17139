import EventLoop
import TestSupport
import Testing

@testable import Redis

@Suite struct SubscriptionQueueTests {
    private let a = [UInt8]("a")
    private let b = [UInt8]("b")

    private func at(_ seconds: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 0) + .seconds(seconds)
    }

    @Test func answersFitTheOldestCommandOfTheirKind() {
        var queue = SubscriptionQueue()
        queue.append(a, .echo, at: at(1))
        queue.append(b, .subscribe, at: at(2))
        queue.append(b, .unsubscribe, at: at(3))
        queue.append(a, .end, at: at(4))
        #expect(queue.answered(a, isSubscribed: true)?.purpose == .echo)
        #expect(queue.first?.channel == b)
        #expect(queue.answered(b, isSubscribed: true)?.sentAt == at(2))
        #expect(queue.answered(b, isSubscribed: false)?.purpose == .unsubscribe)
        #expect(queue.answered(a, isSubscribed: true)?.purpose == .end)
        #expect(queue.first == nil && queue.count == 0)
    }

    @Test func errorAnswersTheOldestCommand() {
        var queue = SubscriptionQueue()
        #expect(queue.refused() == nil)
        queue.append(a, .subscribe, at: at(1))
        queue.append(b, .subscribe, at: at(2))
        #expect(queue.refused()?.channel == a)
        #expect(queue.answered(b, isSubscribed: true)?.channel == b)
        #expect(queue.refused() == nil)
    }

    @Test func answersThatNobodyAskedForAreNone() {
        var queue = SubscriptionQueue()
        #expect(queue.answered(a, isSubscribed: true) == nil)
        queue.append(b, .subscribe)
        #expect(queue.answered(a, isSubscribed: true) == nil)
        #expect(queue.answered(b, isSubscribed: false) == nil)
        #expect(queue.count == 1)
        queue.removeAll()
        #expect(queue.first == nil)
    }

    /// Whatever number waits, the first is always the oldest, and what is answered is forgotten.
    @Test(arguments: SeededRandom.seeds)
    func longQueuesKeepTheirOrder(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = SubscriptionQueue()
        var expected: [RedisArgument] = []
        for step in 0..<5_000 {
            if expected.isEmpty || Int.random(in: 0..<100, using: &random) < 52 {
                let channel = [UInt8]("\(step)")
                expected.append(channel)
                queue.append(channel, .subscribe)
            } else {
                #expect(queue.answered(expected.removeFirst(), isSubscribed: true) != nil, "seed \(seed)")
            }
            #expect(queue.count == expected.count && queue.first?.channel == expected.first, "seed \(seed)")
        }
    }
}
