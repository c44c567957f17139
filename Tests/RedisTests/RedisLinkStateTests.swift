import EventLoop
import Testing

@testable import Redis

/// Every event in every phase, for a link to one of two servers and for one behind sentinels.
@Suite struct RedisLinkStateTests {
    private typealias Action = RedisLinkState.Action
    private typealias Phase = RedisLinkState.Phase

    private static let first = RedisURL.Address.tcp(host: "first", port: 1)
    private static let second = RedisURL.Address.tcp(host: "second", port: 2)
    private static let numeric = RedisURL.Address.tcp(host: "192.0.2.1", port: 1)
    private static let start = MonotonicInstant(nanoseconds: 0)

    enum Place: CaseIterable {
        case idle, waiting, asking, resolving, connecting, loggingIn, proving, proven, leaving, stopped
    }

    enum Event: CaseIterable {
        case attempt, named, resolved, connected, acceptedSelect, acceptedName, acceptedMaster,
            acceptedReplica
        case acceptedNoRole, refusedName, refusedAllNames, refusedRole, await, confirmed, timedOut, dropped,
            droppedReplica
        case followFirst, followSecond, lost, stopped
    }

    private static func send(_ event: Event, to state: inout RedisLinkState) -> Action {
        switch event {
        case .attempt: return state.attempt()
        case .named: return state.named(first)
        case .resolved: return state.resolved([numeric])
        case .connected: return state.connected()
        case .acceptedSelect: return state.accepted(.select)
        case .acceptedName: return state.accepted(.setName)
        case .acceptedMaster: return state.accepted(.askRole, role: "master")
        case .acceptedReplica: return state.accepted(.askRole, role: "slave")
        case .acceptedNoRole: return state.accepted(.askRole)
        case .refusedName: return state.refused(.setName, "NOPERM no")
        case .refusedAllNames: return state.refused(.setName, "ERR max number of clients reached")
        case .refusedRole: return state.refused(.askRole, "NOPERM")
        case .await:
            state.await("proof")
            return .nothing
        case .confirmed: return state.confirmed(now: start)
        case .timedOut: return state.timedOut()
        case .dropped: return state.dropped("dropped")
        case .droppedReplica: return state.droppedReplica("READONLY")
        case .followFirst: return state.follow(first)
        case .followSecond: return state.follow(second)
        case .lost: return state.lost("lost", now: start)
        case .stopped: return state.stopped()
        }
    }

    /// A link that is in a phase for the first time, at the first server.
    private static func state(in place: Place, behindSentinels: Bool) -> RedisLinkState {
        var state = RedisLinkState(behindSentinels ? .master : .anyOf([first, second]))
        let way: [Event] = [
            .attempt, .named, .resolved, .connected, .acceptedName, .acceptedMaster, .confirmed,
        ]
        let steps: [Event] =
            switch place {
            case .idle: []
            case .waiting: [.attempt, .lost]
            case .asking: [.attempt]
            case .resolving: Array(way.prefix(2))
            case .connecting: Array(way.prefix(3))
            case .loggingIn: Array(way.prefix(4))
            case .proving: Array(way.prefix(6))
            case .proven: way
            case .leaving: way.prefix(3) + [.dropped]
            case .stopped: [.stopped]
            }
        for step in steps { _ = send(step, to: &state) }
        return state
    }

    private static func phase(of place: Place) -> Phase {
        switch place {
        case .idle: .idle
        case .waiting: .waiting
        case .asking: .asking
        case .resolving: .resolving(first)
        case .connecting: .connecting(first)
        case .loggingIn: .loggingIn(first)
        case .proving: .proving(first, missing: "connection")
        case .proven: .proven(first, since: start)
        case .leaving: .leaving(first, provenSince: nil, isFollowing: false)
        case .stopped: .stopped
        }
    }

    private static func resolve(_ server: RedisURL.Address) -> Action {
        .resolve(server, within: RedisLinkState.lookUpTime)
    }

    /// What an event brings about; nil if it is ignored.
    private static func outcome(_ place: Place, _ event: Event, behindSentinels: Bool) -> (Action, Phase)? {
        func leave(_ reason: String, isFollowing: Bool = false) -> (Action, Phase) {
            if place == .resolving { return (.retry(reason, startsOver: isFollowing), .waiting) }
            let since = place == .proven ? start : nil
            return (.close(reason), .leaving(first, provenSince: since, isFollowing: isFollowing))
        }
        let handOver = (Action.handOver, Phase.proving(first, missing: "connection"))
        let away = "the master is now \(second)"
        switch (place, event) {
        case (_, .stopped): return (.stop, .stopped)

        case (.idle, .attempt), (.waiting, .attempt):
            if behindSentinels { return (.askSentinels, .asking) }
            let server = place == .idle ? first : second
            return (resolve(server), .resolving(server))
        case (.waiting, .followFirst), (.waiting, .followSecond):
            return behindSentinels ? (.hasten, .waiting) : nil
        case (.asking, .named): return (resolve(first), .resolving(first))
        case (.resolving, .resolved): return (.connect(numeric), .connecting(first))
        case (.connecting, .connected): return (.logIn(asksRole: behindSentinels), .loggingIn(first))
        case (.loggingIn, .acceptedName): return behindSentinels ? nil : handOver
        case (.loggingIn, .acceptedMaster): return handOver
        case (.loggingIn, .acceptedReplica): return leave("the server is a replica, not a master")
        case (.loggingIn, .acceptedNoRole):
            return behindSentinels ? leave("the server is no master but a ?") : handOver
        case (.loggingIn, .refusedName): return behindSentinels ? nil : handOver
        case (.loggingIn, .refusedAllNames):
            return leave("CLIENT SETNAME: ERR max number of clients reached")
        case (.loggingIn, .refusedRole): return behindSentinels ? leave("ROLE: NOPERM") : handOver
        case (.proving, .await): return (.nothing, .proving(first, missing: "proof"))
        case (.proving, .confirmed): return (.endTimeout, .proven(first, since: start))

        case (.resolving, .timedOut): return leave("no address of first within 10000 ms")
        case (.connecting, .timedOut), (.loggingIn, .timedOut), (.proving, .timedOut):
            return leave("no connection within 2000 ms")
        case (.resolving, .dropped), (.connecting, .dropped), (.loggingIn, .dropped), (.proving, .dropped),
            (.proven, .dropped):
            return leave("dropped")
        case (.resolving, .droppedReplica), (.connecting, .droppedReplica), (.loggingIn, .droppedReplica),
            (.proving, .droppedReplica), (.proven, .droppedReplica):
            return leave("READONLY")
        case (.resolving, .followSecond), (.connecting, .followSecond), (.loggingIn, .followSecond),
            (.proving, .followSecond), (.proven, .followSecond):
            return behindSentinels ? leave(away, isFollowing: true) : nil
        case (.asking, .lost), (.resolving, .lost), (.connecting, .lost), (.loggingIn, .lost),
            (.proving, .lost),
            (.proven, .lost), (.leaving, .lost):
            return (.retry("lost", startsOver: false), .waiting)
        default: return nil
        }
    }

    @Test(arguments: [false, true]) func everyEventInEveryPhaseDoesWhatTheTableSays(behindSentinels: Bool) {
        // Only sentinels are asked.
        let places = Place.allCases.filter { behindSentinels || $0 != .asking }
        for place in places {
            for event in Event.allCases {
                var state = RedisLinkStateTests.state(in: place, behindSentinels: behindSentinels)
                let phase = RedisLinkStateTests.phase(of: place)
                #expect(state.phase == phase)
                let action = RedisLinkStateTests.send(event, to: &state)
                let outcome = RedisLinkStateTests.outcome(place, event, behindSentinels: behindSentinels)
                #expect(action == outcome?.0 ?? .nothing, "\(event) while \(place)")
                #expect(state.phase == outcome?.1 ?? phase, "\(event) while \(place)")
            }
        }
    }

    @Test func timeoutNamesWhatIsMissing() {
        var state = RedisLinkStateTests.state(in: .proving, behindSentinels: false)
        state.await("answer to a script")
        #expect(state.timedOut() == .close("no answer to a script within 2000 ms"))
    }

    @Test func serversTakeTurns() {
        var state = RedisLinkState(.anyOf([RedisLinkStateTests.first, RedisLinkStateTests.second]))
        var tried: [Action] = []
        for _ in 0..<3 {
            tried.append(state.attempt())
            _ = state.lost("refused", now: RedisLinkStateTests.start)
        }
        let (first, second) = (RedisLinkStateTests.first, RedisLinkStateTests.second)
        #expect(tried == [first, second, first].map(RedisLinkStateTests.resolve))
    }

    /// Whether it ends by itself or is dropped: what counts is how long it has worked.
    @Test(arguments: [false, true], [-1, 0]) func onlyAProvenConnectionStartsTheWaitsOver(
        isDropped: Bool, extraNanoseconds: Int64
    ) {
        var state = RedisLinkStateTests.state(in: .proven, behindSentinels: false)
        if isDropped { _ = state.dropped("dropped") }
        let now = RedisLinkStateTests.start + RedisLinkState.provingTime + .nanoseconds(extraNanoseconds)
        #expect(state.lost("lost", now: now) == .retry("lost", startsOver: extraNanoseconds == 0))
    }

    /// The connection to the server before ends first; then the new master is tried without asking again.
    @Test func newMasterIsTriedSoonAndFirst() {
        var state = RedisLinkStateTests.state(in: .proven, behindSentinels: true)
        _ = state.follow(RedisLinkStateTests.second)
        #expect(state.lost("closed", now: RedisLinkStateTests.start) == .retry("closed", startsOver: true))
        #expect(state.attempt() == RedisLinkStateTests.resolve(RedisLinkStateTests.second))
        // Once: after a failure the sentinels are asked, who may know better by now.
        _ = state.lost("refused", now: RedisLinkStateTests.start)
        #expect(state.attempt() == .askSentinels)
    }

    @Test(arguments: [Place.idle, .waiting, .asking, .leaving]) func announcedMasterCountsForTheNextAttempt(
        place: Place
    ) {
        var state = RedisLinkStateTests.state(in: place, behindSentinels: true)
        _ = state.follow(RedisLinkStateTests.second)
        if place == .leaving { _ = state.lost("closed", now: RedisLinkStateTests.start) }
        let action = place == .asking ? state.named(RedisLinkStateTests.first) : state.attempt()
        #expect(action == RedisLinkStateTests.resolve(RedisLinkStateTests.second))
    }

    /// One server was named, and has turned out to be a replica.
    @Test func onlyAMasterIsTakenAfterAReplica() {
        var state = RedisLinkStateTests.state(in: .proven, behindSentinels: false)
        _ = state.droppedReplica("READONLY")
        _ = state.lost("closed", now: RedisLinkStateTests.start)
        _ = state.attempt()
        _ = state.resolved([RedisLinkStateTests.numeric])
        #expect(state.connected() == .logIn(asksRole: true))
        #expect(state.accepted(.setName) == .nothing)
        #expect(state.accepted(.askRole, role: "slave") == .close("the server is a replica, not a master"))
    }

    /// The ones of a name, whichever can be reached.
    @Test func addressesOfANameAreTriedInTurn() {
        let addresses = (1...3).map { RedisURL.Address.tcp(host: "192.0.2.\($0)", port: 1) }
        var state = RedisLinkState(.anyOf([RedisLinkStateTests.first]), login: [])
        func lose(_ reason: String) -> Action { state.lost(reason, now: RedisLinkStateTests.start) }
        _ = state.attempt()
        #expect(state.resolved(addresses) == .connect(addresses[0]))
        #expect(lose("refused") == .connect(addresses[1]))
        // One that does not answer is left after its time, and the next one has as much.
        #expect(state.timedOut() == .close("no connection within 2000 ms"))
        #expect(lose("no connection within 2000 ms") == .connect(addresses[2]))
        let reasons = "192.0.2.1:1: refused; 192.0.2.2:1: no connection within 2000 ms; 192.0.2.3:1: away"
        #expect(lose("away") == .retry(reasons, startsOver: false))

        // The next attempt begins with another one, also where the first can be reached and is of no use.
        _ = state.attempt()
        #expect(state.resolved(addresses) == .connect(addresses[1]))
        #expect(state.connected() == .handOver)
        _ = state.confirmed(now: RedisLinkStateTests.start)
        #expect(lose("closed") == .retry("closed", startsOver: false))
        // What has worked comes first.
        _ = state.attempt()
        #expect(state.resolved(addresses) == .connect(addresses[1]))
        #expect(lose("refused") == .connect(addresses[0]))
    }

    @Test func refusalsThatAreMissedByNobodyAreKept() {
        var state = RedisLinkState(.anyOf([RedisLinkStateTests.first]), mustBeMaster: true)
        _ = state.attempt()
        _ = state.resolved([RedisLinkStateTests.numeric])
        #expect(state.connected() == .logIn(asksRole: true))
        #expect(state.refused(.setName, "NOPERM no") == .nothing)
        #expect(state.refused(.askRole, "ERR unknown command 'ROLE'") == .handOver)
        #expect(
            state.refusals == [
                RefusedCommand("CLIENT SETNAME", "NOPERM no"),
                RefusedCommand("ROLE", "ERR unknown command 'ROLE'"),
            ])
    }

    /// The last command that a login sends completes it, whichever that is.
    @Test func loginEndsWithItsLastCommand() {
        let server = RedisLinkStateTests.first
        for login in [
            [.authenticate], [.authenticate, .select], [.select], [.authenticate, .select, .setName],
        ]
            as [[RedisLinkState.LoginCommand]]
        {
            var state = RedisLinkState(.anyOf([server]), login: login)
            _ = state.attempt()
            _ = state.resolved([server])
            #expect(state.connected() == .logIn(asksRole: false))
            for command in login {
                #expect(state.accepted(command) == (command == login.last ? .handOver : .nothing))
            }
        }
        var plain = RedisLinkState(.anyOf([server]), login: [])
        _ = plain.attempt()
        _ = plain.resolved([server])
        #expect(plain.connected() == .handOver && plain.phase == .proving(server, missing: "connection"))
    }
}
