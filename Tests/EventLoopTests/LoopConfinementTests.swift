import TestSupport
import Testing

@testable import EventLoop

#if DEBUG
    /// What is confined to a loop notices a call on another thread: each of these ends a process of its own.
    @Suite struct LoopConfinementTests {
        private static let complaint = "what is confined to a loop is called on its thread"

        @Test func timerIsStartedOnItsLoopsThread() async throws {
            let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                nonisolated(unsafe) let timer = Timer(on: try EventLoop()) {}
                try LoopThread(name: "another") { _ in timer.start(after: .zero) }.join()
            }
            try LoopConfinementTests.expectComplaint(in: result)
        }

        @Test func socketIsWatchedOnItsLoopsThread() async throws {
            let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let socket = try socketPair().0
                nonisolated(unsafe) let watcher = TestWatcher(socket: socket, loop: try EventLoop())
                try LoopThread(name: "another") { _ in watcher.watchWritability(true) }.join()
            }
            try LoopConfinementTests.expectComplaint(in: result)
        }

        @Test func mailboxIsOpenedOnItsLoopsThread() async throws {
            let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                nonisolated(unsafe) let loop = try EventLoop()
                try LoopThread(name: "another") { _ in Mailbox<Int>().open(on: loop) { _ in } }.join()
            }
            try LoopConfinementTests.expectComplaint(in: result)
        }

        /// A loop belongs to the thread that made it, until another one runs it.
        @Test func loopChangesHandsWhenAnotherThreadRunsIt() async throws {
            await #expect(processExitsWith: .success) {
                nonisolated(unsafe) let loop = try EventLoop()
                nonisolated(unsafe) let timer = Timer(on: loop) {}
                timer.start(after: .zero)
                loop.stop()
                try LoopThread(name: "another") { _ in
                    loop.run()
                    timer.cancel()
                }.join()
            }
            let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                nonisolated(unsafe) let loop = try EventLoop()
                loop.stop()
                try LoopThread(name: "another") { _ in loop.run() }.join()
                loop.stop()
            }
            try LoopConfinementTests.expectComplaint(in: result)
        }

        private static func expectComplaint(in result: ExitTest.Result?) throws {
            let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
            #expect(text.contains(complaint), "\(text)")
        }
    }
#endif
