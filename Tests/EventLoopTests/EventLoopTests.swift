import TestSupport
import Testing

@testable import EventLoop

@Suite struct EventLoopTests {
    @Test func turnEndRunsOnceForEachTurn() throws {
        let loop = try EventLoop()
        let mailbox = Mailbox<Int>()
        var log: [String] = []
        mailbox.open(on: loop) { log.append("batch of \($0.count)") }
        loop.onTurnEnd = {
            log.append("end")
            let turnCount = log.count { $0 == "end" }
            if turnCount == 1 { for number in 0..<5 { mailbox.post(number) } }
            if turnCount == 2 { loop.stop() }
            return false
        }
        mailbox.post(0)
        loop.run()
        #expect(log == ["batch of 1", "end", "batch of 5", "end"])
    }

    @Test func turnWithWorkLeftDoesNotWait() throws {
        let loop = try EventLoop()
        var turnCount = 0
        loop.onTurnEnd = {
            turnCount += 1
            if turnCount == 100 { loop.stop() }
            return true
        }
        let mailbox = Mailbox<Void>()
        mailbox.open(on: loop) { _ in }
        mailbox.post(())
        // Nothing but the first post ever happens: a turn that waited would never end.
        loop.run()
        #expect(turnCount == 100)
    }

    @Test func loopThatWasStoppedBeforeItRanDoesNotWait() throws {
        let loop = try EventLoop()
        loop.stop()
        loop.run()
    }

    @Test func mailboxesComeBeforeSockets() throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        defer { right.close() }
        var log: [String] = []
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onReadable = {
            log.append("socket")
            loop.stop()
        }
        let mailbox = Mailbox<Void>()
        mailbox.open(on: loop) { _ in log.append("mailbox") }
        #expect(write("x", to: right) == .bytes(1))
        mailbox.post(())
        loop.run()
        watcher.end()
        #expect(log == ["mailbox", "socket"])
    }

    /// A turn takes its share of socket callbacks, and what is left of them is not lost.
    @Test func turnRunsABoundedNumberOfSocketCallbacks() throws {
        let loop = try EventLoop()
        let count = SocketSet.maximumBatchCount + 10
        var readyCounts = [0]
        var watchers: [TestWatcher] = []
        var peers: [Socket] = []
        for _ in 0..<count {
            let (left, right) = try socketPair()
            let watcher = TestWatcher(socket: left, loop: loop)
            watcher.onReadable = { [unowned watcher] in
                watcher.stopWatching()
                readyCounts[readyCounts.count - 1] += 1
            }
            watchers.append(watcher)
            peers.append(right)
        }
        for peer in peers { #expect(write("x", to: peer) == .bytes(1)) }
        loop.onTurnEnd = {
            if readyCounts.reduce(0, +) == count { loop.stop() } else { readyCounts.append(0) }
            return false
        }
        loop.run()
        for watcher in watchers { watcher.end() }
        for peer in peers { peer.close() }
        #expect(readyCounts.allSatisfy { $0 <= SocketSet.maximumBatchCount })
        #expect(readyCounts.reduce(0, +) == count)
    }

    /// A socket that is always ready, a mailbox that is filled again while it is emptied, a timer that is
    /// always due: each of them has its part of a turn, and the turn ends.
    @Test(arguments: [true, false]) func turnEndsHoweverMuchThereIsToDo(isWorkLeft: Bool) throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        let mailbox = Mailbox<Int>()
        var counts = (turns: 0, batches: 0, messages: 0, reads: 0, timers: 0)
        // Far beyond what the turns below bring: it turns a turn without end into a failure.
        func guardAgainstNoEnd() {
            if counts.batches + counts.reads + counts.timers > 10_000 { loop.stop() }
        }
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onReadable = {
            counts.reads += 1
            guardAgainstNoEnd()
        }
        mailbox.open(on: loop) { messages in
            counts.batches += 1
            counts.messages += messages.count
            for number in 0..<2 * Mailbox<Int>.maximumBatchCount { mailbox.post(number) }
            guardAgainstNoEnd()
        }
        var timer: Timer?
        timer = Timer(on: loop) {
            counts.timers += 1
            timer?.start(after: .zero)
            guardAgainstNoEnd()
        }
        timer?.start(after: .zero)
        #expect(write("x", to: right) == .bytes(1))
        mailbox.post(0)
        loop.onTurnEnd = {
            counts.turns += 1
            if counts.turns == 100 { loop.stop() }
            return isWorkLeft
        }
        loop.run()
        timer = nil
        watcher.end()
        right.close()
        #expect(counts.turns == 100)
        #expect((90...100).contains(counts.batches), "one batch a turn")
        #expect(counts.messages <= counts.batches * Mailbox<Int>.maximumBatchCount)
        #expect((90...100).contains(counts.reads), "one call a socket and turn")
        #expect((90...101).contains(counts.timers))
    }
}
