import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite struct SocketWatcherTests {
    @Test func readableWhatThePeerWrites() throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        defer { right.close() }
        var received = ""
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onReadable = {
            received += read(left).1
            if received == "ab" { #expect(write("c", to: right) == .bytes(1)) }
            if received == "abc" { loop.stop() }
        }
        #expect(write("ab", to: right) == .bytes(2))
        loop.run()
        watcher.end()
        #expect(received == "abc")
        #expect(!watcher.isWatching)
    }

    @Test func writableOnlyWhileItIsAskedFor() throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        defer { right.close() }
        var log: [String] = []
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onWritable = {
            log.append("writable")
            // Asked for twice on purpose: it makes no difference.
            watcher.watchWritability(true)
            if log.count == 3 { watcher.watchWritability(false) }
        }
        let timer = Timer(on: loop) { loop.stop() }
        loop.onTurnEnd = {
            if log.count == 3 { timer.start(after: .milliseconds(10)) }
            return false
        }
        let begin = Timer(on: loop) {
            log.append("asked")
            watcher.watchWritability(true)
        }
        begin.start(after: .milliseconds(10))
        loop.run()
        watcher.end()
        #expect(log == ["asked", "writable", "writable"])
    }

    @Test func notWritableWhileThePeerDoesNotRead() throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        defer { right.close() }
        let chunk = String(repeating: "x", count: 65536)
        var writtenBytes = 0
        fill: while true {
            switch write(chunk, to: left) {
            case .bytes(let count): writtenBytes += count
            case let other:
                #expect(other == .wouldBlock)
                break fill
            }
        }
        var log: [String] = []
        var readBytes = 0
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onWritable = {
            log.append("writable")
            loop.stop()
        }
        watcher.watchWritability(true)
        let timer = Timer(on: loop) {
            log.append("peer reads")
            while case (.bytes(let count), _) = read(right) { readBytes += count }
        }
        timer.start(after: .milliseconds(20))
        loop.run()
        watcher.end()
        #expect(log == ["peer reads", "writable"])
        #expect(readBytes == writtenBytes)
    }

    @Test func endOfTheConnectionIsFoundByReading() throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        var transfers: [Socket.Transfer] = []
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onReadable = {
            transfers.append(read(left).0)
            if transfers.last == .endOfStream { loop.stop() }
        }
        #expect(write("bye", to: right) == .bytes(3))
        right.close()
        loop.run()
        watcher.end()
        #expect(transfers == [.bytes(3), .endOfStream])
    }

    @Test func writingToAClosedPeerFails() throws {
        let (left, right) = try socketPair()
        right.close()
        #expect(write("x", to: left) == .failed(EPIPE))
        left.close()
    }

    @Test func halfClosedSocketStillReads() throws {
        let (left, right) = try socketPair()
        left.shutdownWriting()
        #expect(read(right).0 == .endOfStream)
        #expect(write("x", to: right) == .bytes(1))
        #expect(read(left).1 == "x")
        left.close()
        right.close()
    }

    @Test(arguments: [true, false])
    func stoppingInsideItsOwnCallbackEndsAllCallbacks(whenReadable: Bool) throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        defer { right.close() }
        var callbackCount = 0
        var watcher: TestWatcher? = TestWatcher(socket: left, loop: loop)
        // Ready both to read and to write in the same turn.
        #expect(write("x", to: right) == .bytes(1))
        watcher?.watchWritability(true)
        let end = {
            callbackCount += 1
            watcher?.end()
            // The last reference: the callback's own object goes when it returns.
            watcher = nil
        }
        if whenReadable { watcher?.onReadable = end } else { watcher?.onWritable = end }
        let timer = Timer(on: loop) { loop.stop() }
        timer.start(after: .milliseconds(20))
        loop.run()
        #expect(callbackCount == 1)
        #expect(watcher == nil)
    }

    @Test func readingCanBePausedAndResumed() throws {
        let loop = try EventLoop()
        let (left, right) = try socketPair()
        defer { right.close() }
        var log: [String] = []
        let watcher = TestWatcher(socket: left, loop: loop)
        watcher.onReadable = {
            log.append("read " + read(left).1)
            loop.stop()
        }
        watcher.watchReadability(false)
        watcher.watchReadability(false)
        #expect(write("x", to: right) == .bytes(1))
        let timer = Timer(on: loop) {
            log.append("resumed")
            watcher.watchReadability(true)
        }
        timer.start(after: .milliseconds(20))
        loop.run()
        watcher.end()
        watcher.watchReadability(true)
        watcher.watchWritability(true)
        #expect(log == ["resumed", "read x"])
        #expect(!watcher.isWatching)
    }
}
