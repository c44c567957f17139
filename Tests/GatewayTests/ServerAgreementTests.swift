import EventLoop
import Testing

@testable import Gateway

@Suite struct ServerAgreementTests {
    private static let silence = Duration.seconds(4)
    private static let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    private static func at(_ seconds: Double) -> MonotonicInstant {
        start + .milliseconds(Int64(seconds * 1_000))
    }

    private static func echo(_ number: UInt64, at seconds: Double, run: String? = nil)
        -> ServerAgreement.Echo
    {
        ServerAgreement.Echo(number: number, run: run, sentAt: at(seconds), takenAt: at(seconds + 0.01))
    }

    /// With its link up since the start.
    private var agreement: ServerAgreement {
        var agreement = ServerAgreement(silenceTimeout: Self.silence)
        agreement.linkIsUp(now: Self.start)
        return agreement
    }

    private let missing = "what the node publishes to itself does not come"
    private let other = "the command connection leads to another server"

    @Test(arguments: [false, true]) func echoThatComesIsAgreement(comesFirst: Bool) {
        var agreement = agreement
        if comesFirst { agreement.heard(1) }
        let taken = agreement.taken(Self.echo(1, at: 0), subscriberRun: nil, readerRun: nil, now: Self.at(0))
        if !comesFirst { agreement.heard(1) }
        #expect(taken == .nothing)
        #expect(agreement.check(completeUntil: Self.at(100), now: Self.at(100)) == .nothing)
    }

    /// Neither before its time nor while what came before it may still be unread.
    @Test func missingEchoIsNoticedWhenItCannotComeAnyMore() {
        var agreement = agreement
        _ = agreement.taken(Self.echo(1, at: 0), subscriberRun: nil, readerRun: nil, now: Self.at(0))
        #expect(agreement.check(completeUntil: Self.at(0.5), now: Self.at(0.9)) == .nothing)
        #expect(agreement.check(completeUntil: Self.at(0), now: Self.at(60)) == .nothing)
        #expect(agreement.check(completeUntil: Self.at(0.5), now: Self.at(1.1)) == .renewFeed(missing))
    }

    @Test func sidesTakeTurnsAndThePausesDouble() {
        var agreement = agreement
        var actions: [ServerAgreement.Action] = []
        var times: [Double] = []
        var number: UInt64 = 0
        for second in 0..<120 {
            number += 1
            let now = Self.at(Double(second))
            _ = agreement.taken(
                Self.echo(number, at: Double(second) - 0.5), subscriberRun: nil, readerRun: nil, now: now)
            let action = agreement.check(completeUntil: now, now: now + .seconds(1))
            if action != .nothing {
                actions.append(action)
                times.append(Double(second))
            }
        }
        #expect(
            actions.prefix(4) == [
                .renewFeed(missing), .renewCommands(missing), .renewFeed(missing), .renewCommands(missing),
            ])
        let pauses = zip(times, times.dropFirst()).map { $1 - $0 }
        #expect(
            zip(pauses, pauses.dropFirst()).allSatisfy { $1 >= $0 * 2 - 2 } && pauses.count >= 3, "\(pauses)"
        )
    }

    @Test func otherServerIsLeftAtOnce() {
        var agreement = agreement
        agreement.heard(1)
        let echo = Self.echo(1, at: 0, run: "new")
        #expect(
            agreement.taken(echo, subscriberRun: "old", readerRun: "old", now: Self.at(0))
                == .renewFeed(other))
        // The next one may be from before the connection that is made now.
        agreement.linkLost()
        agreement.linkIsUp(now: Self.at(1))
        let late = Self.echo(2, at: 0.9, run: "newer")
        #expect(agreement.taken(late, subscriberRun: "new", readerRun: "new", now: Self.at(9)) == .nothing)
    }

    /// Not each of its connections: what is read of it proves nothing, and is made anew by itself.
    @Test func readerAloneMayBeElsewhere() {
        var agreement = agreement
        agreement.heard(5)
        let action = agreement.taken(
            Self.echo(1, at: 0, run: "new"), subscriberRun: "new", readerRun: "old", now: Self.at(0))
        #expect(action == .renewReader(other))
        let again = agreement.taken(
            Self.echo(2, at: 1, run: "new"), subscriberRun: "new", readerRun: "old", now: Self.at(1))
        #expect(again == .nothing)
    }

    @Test(arguments: [nil, "run"]) func serverThatDoesNotSayWhichItIsIsNoOther(run: String?) {
        var agreement = agreement
        agreement.heard(1)
        let other = run == nil ? "run" : nil
        let action = agreement.taken(
            Self.echo(1, at: 0, run: run), subscriberRun: other, readerRun: other, now: Self.at(0))
        #expect(action == .nothing)
    }
}
