import Testing

@testable import EventLoop

@Suite struct TimerTests {
    @Test func timerFiresOnceAndNotBeforeItsTime() throws {
        let loop = try EventLoop()
        let start = MonotonicInstant.now
        var firings: [Duration] = []
        let once = Timer(on: loop) { firings.append(.now - start) }
        let later = Timer(on: loop) { loop.stop() }
        once.start(after: .milliseconds(10))
        later.start(after: .milliseconds(60))
        loop.run()
        #expect(firings.count == 1)
        // libevent's clock may be read up to a millisecond earlier than ours.
        #expect(firings.allSatisfy { $0 >= .milliseconds(9) })
    }

    @Test func timersFireInTheOrderOfTheirTimes() throws {
        let loop = try EventLoop()
        var log: [Int] = []
        let timers = [30, 10, 20, 40].map { milliseconds in
            let timer = Timer(on: loop) {
                log.append(milliseconds)
                if milliseconds == 40 { loop.stop() }
            }
            return (timer, milliseconds)
        }
        // Within a turn, in which the loop's clock stands: their order is that of these numbers, on any
        // machine.
        let begin = Timer(on: loop) {
            for (timer, milliseconds) in timers { timer.start(after: .milliseconds(milliseconds)) }
        }
        begin.start(after: .zero)
        loop.run()
        #expect(log == [10, 20, 30, 40])
        withExtendedLifetime(timers) {}
    }

    @Test func repeatingTimerFiresUntilItIsCancelled() throws {
        let loop = try EventLoop()
        var count = 0
        var timer: Timer?
        let last = Timer(on: loop) { loop.stop() }
        timer = Timer(on: loop, repeating: true) {
            count += 1
            guard count == 5 else { return }
            timer?.cancel()
            last.start(after: .milliseconds(20))
        }
        timer?.start(after: .milliseconds(1))
        loop.run()
        #expect(count == 5)
    }

    @Test func cancelledTimerDoesNotFireAndCanBeStartedAgain() throws {
        let loop = try EventLoop()
        var log: [String] = []
        let timer = Timer(on: loop) {
            log.append("timer")
            loop.stop()
        }
        let other = Timer(on: loop) {
            log.append("other")
            timer.start(after: .zero)
        }
        timer.start(after: .milliseconds(1))
        timer.cancel()
        other.start(after: .milliseconds(20))
        loop.run()
        #expect(log == ["other", "timer"])
    }

    @Test func startingAnewMovesTheTime() throws {
        let loop = try EventLoop()
        var log: [String] = []
        let moved = Timer(on: loop) {
            log.append("moved")
            loop.stop()
        }
        let other = Timer(on: loop) { log.append("other") }
        // Within a turn, in which the loop's clock stands.
        let begin = Timer(on: loop) {
            moved.start(after: .milliseconds(1))
            moved.start(after: .milliseconds(40))
            other.start(after: .milliseconds(10))
        }
        begin.start(after: .zero)
        loop.run()
        #expect(log == ["other", "moved"])
    }

    @Test func timerThatIsLetGoOfDoesNotFire() throws {
        let loop = try EventLoop()
        var count = 0
        var timer: Timer? = Timer(on: loop) { count += 1 }
        timer?.start(after: .milliseconds(1))
        timer = nil
        let last = Timer(on: loop) { loop.stop() }
        last.start(after: .milliseconds(20))
        loop.run()
        #expect(count == 0)
        #expect(timer == nil)
    }

    @Test func timerMayLetGoOfItselfWhileItFires() throws {
        let loop = try EventLoop()
        var count = 0
        var timer: Timer?
        let last = Timer(on: loop) { loop.stop() }
        timer = Timer(on: loop, repeating: true) {
            count += 1
            timer = nil
            last.start(after: .milliseconds(20))
        }
        timer?.start(after: .milliseconds(1))
        loop.run()
        #expect(count == 1)
    }

    @Test func negativeDelayFiresAtOnce() throws {
        let loop = try EventLoop()
        let timer = Timer(on: loop) { loop.stop() }
        timer.start(after: .seconds(-5))
        loop.run()
    }
}
