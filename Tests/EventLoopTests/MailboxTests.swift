import Foundation
import Synchronization
import TestSupport
import Testing

@testable import EventLoop

@Suite struct MailboxTests {
    @Test func eachThreadsMessagesComeInItsOrder() throws {
        let threadCount = 4
        let messageCount = 5_000
        let mailbox = Mailbox<(thread: Int, number: Int)>()
        let received = Mutex<[[Int]]>(Array(repeating: [], count: threadCount))
        let thread = try LoopThread(name: "mailbox test") { loop in
            var total = 0
            mailbox.open(on: loop) { messages in
                received.withLock { received in
                    for message in messages { received[message.thread].append(message.number) }
                }
                total += messages.count
                if total == threadCount * messageCount { loop.stop() }
            }
            loop.run()
        }
        for index in 0..<threadCount {
            Thread.detachNewThread {
                var batch: [(thread: Int, number: Int)] = []
                for number in 0..<messageCount {
                    // Half of the messages one by one, half in batches.
                    guard index % 2 == 1 else {
                        mailbox.post((index, number))
                        continue
                    }
                    batch.append((index, number))
                    if batch.count == 7 || number == messageCount - 1 { mailbox.post(draining: &batch) }
                }
            }
        }
        thread.join()
        for numbers in received.withLock({ $0 }) { #expect(numbers == Array(0..<messageCount)) }
    }

    @Test func whatIsPostedBeforeOpeningIsHandled() throws {
        let loop = try EventLoop()
        let mailbox = Mailbox<String>()
        mailbox.post("one")
        var batch = ["two", "three"]
        mailbox.post(draining: &batch)
        #expect(batch.isEmpty)
        var received: [[String]] = []
        mailbox.open(on: loop) {
            received.append($0)
            loop.stop()
        }
        loop.run()
        #expect(received == [["one", "two", "three"]])
    }

    /// One batch, unless there are more than one turn may hand over.
    @Test func postsBeforeAWakeUpMakeOneBatch() throws {
        let loop = try EventLoop()
        let mailbox = Mailbox<Int>()
        var batchSizes: [Int] = []
        mailbox.open(on: loop) { messages in
            batchSizes.append(messages.count)
            switch batchSizes.count {
            case 1: for number in 0..<300 { mailbox.post(number) }
            case 2:
                var batch = Array(0..<9_000)
                mailbox.post(draining: &batch)
                mailbox.post(0)
            default: if batchSizes.reduce(0, +) == 9_302 { loop.stop() }
            }
        }
        mailbox.post(0)
        loop.run()
        #expect(batchSizes == [1, 300] + Array(repeating: 1_024, count: 8) + [809])
    }

    /// What is posted while a long batch is handed over comes behind it, though its wake-up came long
    /// before.
    @Test func postsBehindAnUnfinishedBatchComeInTheirOrder() throws {
        let loop = try EventLoop()
        let mailbox = Mailbox<Int>()
        var received: [Int] = []
        let limit = Mailbox<Int>.maximumBatchCount
        mailbox.open(on: loop) { messages in
            #expect(messages.count <= limit)
            if received.isEmpty { for number in 0..<10 { mailbox.post(3 * limit + number) } }
            received += messages
            if received.count == 3 * limit + 10 { loop.stop() }
        }
        var batch = Array(0..<3 * limit)
        mailbox.post(draining: &batch)
        loop.run()
        #expect(received == Array(0..<3 * limit + 10))
    }

    @Test func anEmptyBatchWakesNobody() throws {
        let loop = try EventLoop()
        let mailbox = Mailbox<Int>()
        var batchSizes: [Int] = []
        mailbox.open(on: loop) { batchSizes.append($0.count) }
        var batch: [Int] = []
        mailbox.post(draining: &batch)
        let timer = Timer(on: loop) { loop.stop() }
        timer.start(after: .milliseconds(5))
        loop.run()
        #expect(batchSizes.isEmpty)
    }

    @Test func whatIsPostedAfterTheLoopHasEndedIsDropped() throws {
        final class Witness: Sendable {}
        let mailbox = Mailbox<Witness>()
        weak var receiver: Witness?
        do {
            let loop = try EventLoop()
            let held = Witness()
            receiver = held
            mailbox.open(on: loop) { _ in withExtendedLifetime(held) {} }
            #expect(receiver != nil)
            loop.stop()
            loop.run()
        }
        #expect(receiver == nil, "the loop lets go of the handler")
        weak var dropped: Witness?
        do {
            let message = Witness()
            dropped = message
            mailbox.post(message)
            var batch = [message]
            mailbox.post(draining: &batch)
        }
        #expect(dropped == nil)
    }

    @Test func whatWaitsWhenTheLoopEndsIsLetGoOf() throws {
        final class Witness: Sendable {}
        let mailbox = Mailbox<Witness>()
        weak var waiting: Witness?
        weak var loopItself: EventLoop?
        do {
            let loop = try EventLoop()
            loopItself = loop
            mailbox.open(on: loop) { _ in }
            loop.onTurnEnd = {
                let message = Witness()
                waiting = message
                mailbox.post(message)
                loop.stop()
                return false
            }
            let timer = Timer(on: loop) {}
            timer.start(after: .zero)
            loop.run()
        }
        #expect(waiting == nil)
        #expect(loopItself == nil)
    }
}
