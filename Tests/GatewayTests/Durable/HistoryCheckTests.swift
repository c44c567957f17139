import EventLoop
import RedisSchema
import Testing

@testable import Gateway

/// Durable rooms of a cluster: an epoch and a server for each slot, and comparisons in place of the order in
/// which one Redis publishes.
@Suite struct HistoryCheckTests {
    private typealias Rooms = DurableRooms<String>
    private static let epoch = HistoryEpoch("aaaaaaaa")!
    private static let nextEpoch = HistoryEpoch("bbbbbbbb")!

    private let now = MonotonicInstant(nanoseconds: 1_000_000_000)
    /// One in each of two slots.
    private let rooms = [RoomId("0")!, RoomId("1")!]

    private func server(_ address: String, _ connection: UInt64 = 1) -> HistoryServer {
        HistoryServer(address: address, run: "run", connection: connection)
    }

    private func entry(_ id: String, _ frame: String? = nil) -> HistoryEntry<String> {
        HistoryEntry(id: NoticeId(id)!, frame: frame ?? id, memoryBytes: 100)
    }

    private func commands(_ actions: [DurableAction<String>]) -> [HistoryCommand] {
        actions.compactMap { if case .ask(let command) = $0 { command } else { nil } }
    }

    private func epochSlots(_ actions: [DurableAction<String>]) -> [Int] {
        actions.compactMap { if case .askEpoch(let slot, _, _) = $0 { slot } else { nil } }.sorted()
    }

    /// Answers for the epochs that are asked for; the other actions of the turn.
    private func endTurn(_ durable: inout Rooms, epoch: HistoryEpoch = epoch) -> [DurableAction<String>] {
        var others: [DurableAction<String>] = []
        for action in durable.turnEnded(now: now) {
            if case .askEpoch(let slot, let number, _) = action {
                others += durable.epochAnswered(slot: slot, number, epoch)
            } else {
                others.append(action)
            }
        }
        return others
    }

    /// Both rooms are live at 500-7, each at a server of its own.
    private func live() -> Rooms {
        var durable = Rooms(
            Rooms.Settings(
                historyAge: .seconds(600), cacheBytes: 10_000, slotOf: { Int("\($0)")! }, checkRoundCount: 1)
        )
        durable.subscriberUp(run: "any")
        durable.serversChanged { server("\($0)") }
        for room in rooms { durable.track(room, isSubscribed: true) }
        _ = endTurn(&durable)
        for command in commands(durable.turnEnded(now: now)) {
            durable.tailAnswered(command.ticket, time: 1_000, newest: entry("500-7"))
        }
        for action in durable.turnEnded(now: now) {
            guard case .askEcho(let number, let slots) = action else { continue }
            #expect(slots.sorted() == [0, 1])
            for slot in slots { durable.echoAnswered(number, slot: slot) }
        }
        finishChecks(&durable)
        #expect(durable.rooms.values.allSatisfy { $0.feed.state == .live })
        return durable
    }

    /// Redis has nothing that has not come.
    private func finishChecks(_ durable: inout Rooms) {
        for command in commands(durable.turnEnded(now: now)) {
            #expect(command.question == .tail)
            durable.tailAnswered(command.ticket, time: 1_000, newest: entry("500-7"))
        }
    }

    @Test func newEpochOfASlotIsToldToItsRoomsOnly() {
        var durable = live()
        durable.serversChanged { server("\($0)", $0 == 0 ? 2 : 1) }
        var actions = durable.turnEnded(now: now)
        #expect(epochSlots(actions) == [0])
        guard case .askEpoch(let slot, let number, _)? = actions.first else { return }
        actions = durable.epochAnswered(slot: slot, number, Self.nextEpoch)
        guard case .tellLost(let told, .epoch)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(told.map(\.room) == [rooms[0]])
        #expect(durable.epoch(of: rooms[0]) == Self.nextEpoch && durable.epoch(of: rooms[1]) == Self.epoch)
    }

    /// Nothing but the next message would show the hole, and there is none.
    @Test func lastNoticeThatTheBusHasLostIsFound() throws {
        var durable = live()
        durable.check()
        let checks = commands(endTurn(&durable))
        #expect(checks.count == 2 && checks.allSatisfy { $0.question == .tail })
        for check in checks {
            let newest = check.room == rooms[0] ? "501-8" : "500-7"
            durable.tailAnswered(check.ticket, time: 1_000, newest: entry(newest))
        }
        let range = try #require(commands(durable.turnEnded(now: now)).first)
        #expect(range.room == rooms[0] && range.question == .range(from: NoticeId("500-7")!, count: 8))
        let actions = durable.rangeAnswered(
            range.ticket, entries: [entry("500-7"), entry("501-8")], now: now)
        guard case .deliver(rooms[0], "501-8")? = actions.first, actions.count == 1 else {
            Issue.record("\(actions)")
            return
        }
        // It was late, and not lost.
        #expect(durable.accept(entry("501-8"), in: rooms[0]) == .drop)
    }

    /// The subscriber's link stands, and so the rooms are live.
    @Test func replicaWithoutTheLastNoticeIsFound() throws {
        var durable = live()
        durable.serversChanged { server($0 == 0 ? "replica" : "1") }
        let check = try #require(commands(endTurn(&durable) + durable.turnEnded(now: now)).first)
        #expect(check.room == rooms[0] && check.question == .tail)
        durable.tailAnswered(check.ticket, time: 1_000, newest: entry("490-6"))
        let range = try #require(commands(durable.turnEnded(now: now)).first)
        #expect(durable.rangeAnswered(range.ticket, entries: [], now: now).isEmpty)
        let state = try #require(commands(durable.turnEnded(now: now)).first)
        let found = StreamState(time: 2_000, first: NoticeId("400-1"), maximumDeleted: NoticeId("0-0")!)
        #expect(epochSlots(durable.stateAnswered(state.ticket, state: found, now: now)) == [0])
    }

    /// Its clock is behind, and its notices look old.
    @Test func noticeOfAnotherBranchIsNotDropped() throws {
        var durable = live()
        #expect(durable.accept(entry("499-7", "other"), in: rooms[0]) == .hold)
        let range = try #require(commands(durable.turnEnded(now: now)).first)
        #expect(range.question == .range(from: NoticeId("500-7")!, count: 8))
        // A read has brought it, and the bus is late.
        #expect(durable.accept(entry("500-7"), in: rooms[1]) == .drop)
    }

    @Test func clientThatHasLostStartsBehindAComparison() throws {
        var durable = live()
        let client = ResumeId(worker: 0, connection: 1)
        let since = HistoryPosition(epoch: Self.nextEpoch, id: NoticeId("500-7")!)
        durable.resume(client, [(rooms[0], since)])
        #expect(commands(endTurn(&durable)).isEmpty)
        let check = try #require(commands(durable.turnEnded(now: now)).first)
        #expect(check.question == .tail)
        durable.tailAnswered(check.ticket, time: 1_000, newest: entry("501-8"))
        let range = try #require(commands(durable.turnEnded(now: now)).first)
        _ = durable.rangeAnswered(range.ticket, entries: [entry("500-7"), entry("501-8")], now: now)
        guard case .resumed(client, let answers)? = durable.turnEnded(now: now).first else {
            Issue.record("the client is not answered")
            return
        }
        #expect(answers[0].isLost && answers[0].position.id == NoticeId("501-8")!)
    }

    @Test func failedReadIsAskedAgainBehindTheEpoch() throws {
        var durable = live()
        durable.check()
        for check in commands(endTurn(&durable)) { durable.failed(check.ticket) }
        #expect(durable.turnEnded(now: now).isEmpty)
        durable.check()
        #expect(epochSlots(durable.turnEnded(now: now)) == [0, 1])
    }

    /// One slot of a server speaks for the others.
    @Test func lossOfAServerIsFoundByOneSlot() throws {
        var durable = live()
        durable.serversChanged { _ in server("both") }
        _ = endTurn(&durable)
        finishChecks(&durable)
        durable.check()
        let asked = durable.turnEnded(now: now)
        #expect(epochSlots(asked).count == 1)
        guard case .askEpoch(let slot, let number, _)? = asked.first(where: { !epochSlots([$0]).isEmpty })
        else { return }
        #expect(!durable.epochAnswered(slot: slot, number, Self.nextEpoch).isEmpty)
        #expect(epochSlots(durable.turnEnded(now: now)) == [1 - slot])
    }

    @Test func roomOfASilentServerHoldsNoOtherBack() {
        var durable = live()
        for room in rooms {
            #expect(durable.accept(entry("502-9"), in: room) == .hold)
        }
        for command in commands(durable.turnEnded(now: now)) {
            _ = durable.rangeAnswered(command.ticket, entries: [], now: now)
        }
        let found = StreamState(time: 2_000, first: NoticeId("501-1"), maximumDeleted: NoticeId("0-0")!)
        for command in commands(durable.turnEnded(now: now)) {
            _ = durable.stateAnswered(command.ticket, state: found, now: now)
        }
        let tails = commands(durable.turnEnded(now: now))
        #expect(tails.count == 2)
        for tail in tails {
            if tail.room == rooms[0] {
                durable.failed(tail.ticket)
            } else {
                durable.tailAnswered(tail.ticket, time: 2_000, newest: entry("502-9"))
            }
        }
        guard case .tellLost(let told, _)? = durable.turnEnded(now: now).first else {
            Issue.record("a loss waits for a server that does not answer")
            return
        }
        #expect(told.map(\.room) == [rooms[1]])
    }
}
