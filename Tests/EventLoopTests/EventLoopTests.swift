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
}
