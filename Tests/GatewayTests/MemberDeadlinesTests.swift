import EventLoop
import Testing

@testable import Gateway

@Suite struct CoarseInstantTests {
    private func at(_ milliseconds: Int64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: milliseconds * 1_000_000)
    }

    @Test(arguments: [0, 1, 99, 100, 101, 86_400_050] as [Int64])
    func comesAtItsTimeOrUpToOneTickLater(milliseconds: Int64) {
        let instant = CoarseInstant(notBefore: at(milliseconds))
        #expect((milliseconds..<milliseconds + 100).contains(instant.instant.nanoseconds / 1_000_000))
        #expect(instant.hasCome(by: instant.instant))
        #expect(!instant.hasCome(by: at(instant.instant.nanoseconds / 1_000_000 - 1)))
    }

    @Test(arguments: [Duration.milliseconds(1), .milliseconds(100), .milliseconds(1_550), .seconds(30)])
    func whatIsAddedIsSubtractedAgain(duration: Duration) {
        let instant = CoarseInstant(notBefore: at(12_345))
        #expect((instant + duration).instant >= instant.instant + duration)
        #expect((instant + duration) - duration == instant)
    }

    @Test func neverDoesNotCome() {
        #expect(!CoarseInstant.never.hasCome(by: at(.max / 1_000_000)))
        #expect(CoarseInstant.never + .seconds(1) == .never)
        #expect(CoarseInstant.distantPast - .seconds(1) == .distantPast)
        #expect(CoarseInstant.distantPast < .never)
    }
}

@Suite struct MemberDeadlinesTests {
    private let interval = Duration.seconds(25)
    private let start = MonotonicInstant(nanoseconds: 5_000_000_000_000)

    private func past(_ seconds: Double) -> MonotonicInstant { start + .seconds(seconds) }
    private func sent(_ seconds: Double) -> CoarseInstant { CoarseInstant(notBefore: past(seconds)) }

    /// A member of which the ping's deadline began at `start`.
    private func quiet() -> MemberDeadlines {
        var deadlines = MemberDeadlines()
        deadlines.awaitPing(after: interval, now: start)
        return deadlines
    }

    private func isPinged(_ deadlines: inout MemberDeadlines, at seconds: Double, sent: CoarseInstant)
        -> Bool
    {
        deadlines.takePing(after: interval, lastSent: sent, now: past(seconds))
    }

    private func isDoubted(_ deadlines: inout MemberDeadlines, at seconds: Double) -> Bool {
        deadlines.takeHeartbeat(now: past(seconds))
    }

    @Test func silentMemberIsPingedEveryInterval() {
        var deadlines = quiet()
        for (seconds, isDue) in [
            (24.9, false), (25, true), (25, false), (49.9, false), (50, true), (75.1, true),
        ] {
            #expect(isPinged(&deadlines, at: seconds, sent: .distantPast) == isDue, "\(seconds)")
        }
    }

    @Test func whatWasSentPutsThePingOff() {
        var deadlines = quiet()
        #expect(!isPinged(&deadlines, at: 25, sent: sent(7)))
        #expect(deadlines.next == sent(7) + interval)
        #expect(!isPinged(&deadlines, at: 31.9, sent: sent(7)))
        #expect(!isPinged(&deadlines, at: 32, sent: sent(30)))
        #expect(isPinged(&deadlines, at: 55, sent: sent(30)))
        // The Ping itself was sent then.
        #expect(!isPinged(&deadlines, at: 79.9, sent: sent(30)))
        #expect(isPinged(&deadlines, at: 80, sent: sent(30)))
    }

    @Test func withoutAnIntervalNothingIsDue() {
        var deadlines = MemberDeadlines()
        #expect(deadlines.next == .never)
        #expect(!isPinged(&deadlines, at: 1e6, sent: .distantPast))
    }

    @Test func memberIsInDoubtUntilASignOfLife() {
        var deadlines = quiet()
        deadlines.awaitHeartbeat(within: .seconds(30), now: start)
        #expect(deadlines.next == sent(25))
        #expect(!isDoubted(&deadlines, at: 29.9))
        #expect(isDoubted(&deadlines, at: 30))
        #expect(deadlines.isInDoubt)
        #expect(!isDoubted(&deadlines, at: 31), "it is asked for once")
        #expect(deadlines.next == sent(25), "Pings go on meanwhile")
        deadlines.awaitHeartbeat(within: .seconds(30), now: past(31))
        #expect(!deadlines.isInDoubt)
        #expect(deadlines.heartbeat == sent(61))
    }
}
