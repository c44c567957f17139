import Foundation
import Synchronization
import TestSupport
import Testing

@testable import EventLoop

@Suite struct LoopThreadTests {
    @Test func threadHasItsNameAndEndsWithItsBody() throws {
        let name = Mutex("")
        let thread = try LoopThread(name: "worker 63") { loop in
            let shown = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
            name.withLock { $0 = shown ?? "" }
            let timer = Timer(on: loop) { loop.stop() }
            timer.start(after: .milliseconds(1))
            loop.run()
        }
        thread.join()
        #expect(name.withLock { $0 } == "worker 63\n")
    }

    @Test func detachedWorkRunsElsewhere() throws {
        let gate = Gate()
        let own = pthread_self()
        let isElsewhere = Mutex(false)
        try DetachedThread.run {
            isElsewhere.withLock { $0 = pthread_equal(pthread_self(), own) == 0 }
            gate.open()
        }
        try gate.wait(for: "the work")
        #expect(isElsewhere.withLock { $0 })
    }

    @Test func signalIsALoopEvent() throws {
        let scenario = try Scenario()
        var count = 0
        let watcher = SignalWatcher(on: scenario.loop, signal: SIGUSR2) { count += 1 }
        scenario.step("the signal", until: { count == 1 }) { kill(getpid(), SIGUSR2) }
        scenario.step("the next signal", until: { count == 2 }) { kill(getpid(), SIGUSR2) }
        try scenario.run()
        withExtendedLifetime(watcher) {}
    }
}
