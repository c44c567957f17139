import EventLoop
import RedisSchema
import Testing

@testable import Gateway

/// What a node asks for, and how often, and what it answers.
@Suite struct DurableRoomsTests {
    private typealias Rooms = DurableRooms<String>
    fileprivate static let epoch = HistoryEpoch("aaaaaaaa")!
    private static let nextEpoch = HistoryEpoch("bbbbbbbb")!

    private let now = MonotonicInstant(nanoseconds: 1_000_000_000)

    private func room(_ number: Int) -> RoomId { RoomId("room-\(number)")! }

    private func entry(_ id: String) -> HistoryEntry<String> {
        HistoryEntry(id: NoticeId(id)!, frame: id, memoryBytes: 100)
    }

    private func position(_ id: String, _ epoch: HistoryEpoch = epoch) -> HistoryPosition {
        HistoryPosition(epoch: epoch, id: NoticeId(id)!)
    }

    private func client(_ number: Int) -> ResumeId { ResumeId(worker: 0, connection: UInt64(number)) }

    private func commands(_ actions: [DurableAction<String>]) -> [HistoryCommand] {
        actions.compactMap { if case .ask(let command) = $0 { command } else { nil } }
    }

    private func answers(_ actions: [DurableAction<String>]) -> [(ResumeId, [RoomAnswer<String>])] {
        actions.compactMap { if case .resumed(let id, let answers) = $0 { (id, answers) } else { nil } }
    }

    private func epochQuestions(_ actions: [DurableAction<String>]) -> [HistoryEpoch?] {
        actions.compactMap { if case .askEpoch(_, _, let inDoubt) = $0 { .some(inDoubt) } else { nil } }
    }

    private func linked(_ cacheBytes: Int = 1_000_000) -> Rooms {
        var rooms = Rooms(Rooms.Settings(historyAge: .seconds(600), cacheBytes: cacheBytes))
        rooms.subscriberUp(run: "run")
        #expect(epochQuestions(rooms.readerUp(run: "run")) == [nil])
        #expect(rooms.epochAnswered(Self.epoch).isEmpty)
        return rooms
    }

    /// Asks and answers until all rooms are live at 500-7.
    private func start(_ count: Int, in rooms: inout Rooms) {
        for number in 0..<count { rooms.track(room(number), isSubscribed: true) }
        var echo: UInt64?
        repeat {
            echo = nil
            for action in rooms.turnEnded(now: now) {
                switch action {
                case .ask(let command):
                    #expect(command.question == .tail)
                    rooms.tailAnswered(command.ticket, time: 1_000, newest: entry("500-7"))
                case .askEcho(let number, _): echo = number
                default: Issue.record("unexpected \(action)")
                }
            }
            if let echo { rooms.echoAnswered(echo) }
        } while rooms.rooms.values.contains { $0.feed.state != .live }
    }

    @Test func nothingIsAskedBeforeTheLinksAreAtOneRedis() {
        var rooms = Rooms(Rooms.Settings(historyAge: .seconds(600), cacheBytes: 1_000))
        rooms.track(room(0), isSubscribed: false)
        rooms.subscriberUp(run: "one")
        rooms.subscribed(room(0))
        _ = rooms.readerUp(run: "two")
        _ = rooms.epochAnswered(Self.epoch)
        #expect(rooms.turnEnded(now: now).isEmpty)
        rooms.readerLost()
        _ = rooms.readerUp(run: "one")
        #expect(rooms.turnEnded(now: now).isEmpty)
        _ = rooms.epochAnswered(Self.epoch)
        #expect(commands(rooms.turnEnded(now: now)).map(\.question) == [.tail])
    }

    @Test func equalPositionsShareOneReadAndOneReplay() throws {
        var rooms = linked()
        start(1, in: &rooms)
        #expect(rooms.accept(entry("501-8"), in: room(0)) == .deliver)
        for number in 0..<10_000 { rooms.resume(client(number), [(room(0), position("490-5"))]) }
        let asked = commands(rooms.turnEnded(now: now))
        #expect(asked.map(\.question) == [.range(from: NoticeId("490-5")!, count: 4)])
        #expect(rooms.turnEnded(now: now).isEmpty)
        let reply = ["490-5", "495-6", "500-7", "501-8"].map(entry)
        #expect(rooms.rangeAnswered(asked[0].ticket, entries: reply, now: now).isEmpty)
        let given = answers(rooms.turnEnded(now: now))
        #expect(given.count == 10_000)
        let replay = try #require(given.first?.1.first?.replay)
        #expect(replay.frames == ["495-6", "500-7", "501-8"] && replay.isComplete)
        let places = Set(given.map { $0.1[0].replay.frames.withUnsafeBufferPointer { $0.baseAddress } })
        #expect(places.count == 1)
        #expect(rooms.rooms[room(0)]?.reads.isEmpty == true && rooms.resumes.isEmpty)
    }

    @Test func readsUnderWayAreLimited() {
        var rooms = linked()
        start(300, in: &rooms)
        rooms.subscriberLost(completeUntil: now)
        rooms.subscriberUp(run: "run")
        for number in 0..<300 { rooms.subscribed(room(number)) }
        var waiting = commands(rooms.turnEnded(now: now))
        var count = 0
        while let command = waiting.popLast() {
            count += 1
            let entries = waiting.count + 1
            #expect(entries * rooms.settings.shortReadCount <= rooms.settings.maximumReadEntryCount)
            #expect(rooms.rangeAnswered(command.ticket, entries: [entry("500-7")], now: now).isEmpty)
            waiting += commands(rooms.turnEnded(now: now))
        }
        #expect(count == 300)
        #expect(rooms.rooms.values.allSatisfy { $0.feed.state == .live })
    }

    @Test func oneRollbackIsOneEpoch() {
        var rooms = linked()
        start(50, in: &rooms)
        rooms.subscriberLost(completeUntil: now)
        rooms.readerLost()
        rooms.subscriberUp(run: "next")
        _ = rooms.readerUp(run: "next")
        _ = rooms.epochAnswered(Self.epoch)
        for number in 0..<50 { rooms.subscribed(room(number)) }
        let state = StreamState(time: 2_000, first: NoticeId("400-1"), maximumDeleted: NoticeId("0-0")!)
        var questions: [HistoryEpoch?] = []
        var waiting = commands(rooms.turnEnded(now: now))
        var states: [HistoryCommand] = []
        while let command = waiting.popLast() {
            if command.question == .state {
                states.append(command)
            } else {
                #expect(rooms.rangeAnswered(command.ticket, entries: [], now: now).isEmpty)
            }
            waiting += commands(rooms.turnEnded(now: now))
        }
        #expect(states.count == 50)
        for command in states {
            questions += epochQuestions(rooms.stateAnswered(command.ticket, state: state, now: now))
        }
        #expect(questions == [Self.epoch])
        // Nothing is asked while the epoch is in doubt, and the doubt outlives the reader.
        #expect(rooms.turnEnded(now: now).isEmpty)
        rooms.readerLost()
        #expect(epochQuestions(rooms.readerUp(run: "next")) == [Self.epoch])
        _ = rooms.epochAnswered(Self.epoch)
        #expect(!rooms.slots[0]!.isEpochSure)
        _ = rooms.epochAnswered(Self.nextEpoch)
        #expect(rooms.slots[0]!.isEpochSure)
        // From here on every room goes to its tail, and finds no evidence again; all are told at once.
        var actions = rooms.turnEnded(now: now)
        var tailCount = 0
        while !commands(actions).isEmpty {
            for command in commands(actions) {
                #expect(command.question == .tail)
                rooms.tailAnswered(command.ticket, time: 3_000, newest: entry("450-3"))
                tailCount += 1
            }
            actions = rooms.turnEnded(now: now)
            if tailCount < 50 { #expect(actions.count == commands(actions).count) }
        }
        guard case .tellLost(let told, .rollback)? = actions.first, actions.count == 1 else {
            Issue.record("\(actions)")
            return
        }
        #expect(told.count == 50 && told.allSatisfy { $0.since == position("450-3", Self.nextEpoch) })
    }

    @Test func newEpochIsToldToAllRoomsAtOnce() {
        var rooms = linked()
        start(2, in: &rooms)
        #expect(rooms.epochAnswered(Self.epoch).isEmpty)
        let actions = rooms.epochAnswered(Self.nextEpoch)
        guard case .tellLost(let told, .epoch)? = actions.first, actions.count == 1 else {
            Issue.record("\(actions)")
            return
        }
        #expect(Set(told.map(\.room)) == [room(0), room(1)])
        #expect(told.allSatisfy { $0.isLost && $0.since == position("500-7", Self.nextEpoch) })
    }

    @Test func unknownEpochIsLostBehindAnEcho() {
        var rooms = linked()
        start(1, in: &rooms)
        rooms.resume(client(1), [(room(0), position("500-7", Self.nextEpoch))])
        #expect(epochQuestions(rooms.turnEnded(now: now)) == [nil])
        #expect(rooms.epochAnswered(Self.epoch).isEmpty)
        let actions = rooms.turnEnded(now: now)
        guard case .askEcho(let number, _)? = actions.first, actions.count == 1 else {
            Issue.record("\(actions)")
            return
        }
        #expect(rooms.turnEnded(now: now).isEmpty)
        // It was on its way, and the client has seen it on another node.
        #expect(rooms.accept(entry("501-8"), in: room(0)) == .deliver)
        rooms.echoAnswered(number)
        let given = answers(rooms.turnEnded(now: now))
        #expect(given.first?.1.first?.isLost == true)
        #expect(given.first?.1.first?.position == position("501-8"))
    }

    /// Another node has seen first that Redis was emptied.
    @Test func clientMayKnowANewEpochBeforeItsNode() {
        var rooms = linked()
        start(1, in: &rooms)
        _ = rooms.checkEpoch()
        let earlier = rooms.epochQuestionCount
        for number in 1...2 { rooms.resume(client(number), [(room(0), position("500-7", Self.nextEpoch))]) }
        #expect(epochQuestions(rooms.turnEnded(now: now)) == [nil])
        // What was asked before the clients came proves nothing.
        #expect(rooms.epochAnswered(slot: 0, earlier, Self.epoch).isEmpty)
        #expect(rooms.turnEnded(now: now).isEmpty)
        #expect(!rooms.epochAnswered(Self.nextEpoch).isEmpty)
        let given = answers(rooms.turnEnded(now: now))
        #expect(given.count == 2 && given.allSatisfy { !$0.1[0].isLost && $0.1[0].source == .current })
    }

    /// The question for the epoch is lost with the reader, or refused: it is asked again.
    @Test func epochIsAskedAgainForAClientThatWaits() {
        var rooms = linked()
        start(1, in: &rooms)
        rooms.resume(client(1), [(room(0), position("500-7", Self.nextEpoch))])
        #expect(epochQuestions(rooms.turnEnded(now: now)) == [nil])
        #expect(epochQuestions(rooms.checkEpoch()) == [nil])
        rooms.readerLost()
        #expect(rooms.turnEnded(now: now).isEmpty)
        #expect(epochQuestions(rooms.readerUp(run: "run")) == [nil])
        #expect(rooms.turnEnded(now: now).isEmpty)
        #expect(!rooms.epochAnswered(Self.nextEpoch).isEmpty)
        #expect(answers(rooms.turnEnded(now: now)).first?.1[0].isLost == false)
    }

    @Test func clientThatIsAheadWaits() {
        var rooms = linked()
        start(1, in: &rooms)
        rooms.resume(client(1), [(room(0), position("501-8"))])
        let asked = commands(rooms.turnEnded(now: now))
        #expect(asked.count == 1)
        _ = rooms.rangeAnswered(asked[0].ticket, entries: [entry("501-8"), entry("502-9")], now: now)
        #expect(rooms.turnEnded(now: now).isEmpty)
        #expect(rooms.accept(entry("501-8"), in: room(0)) == .deliver)
        let given = answers(rooms.turnEnded(now: now))
        #expect(
            given.count == 1 && given[0].1[0].replay.frames.isEmpty && given[0].1[0].replay.isComplete)
    }

    @Test func clientWithoutAStreamNeedNotWaitForANotice() {
        for (own, since, needsEcho) in [
            ("900-0", "800-0", false), ("900-0", "950-0", true), ("500-7", "950-0", true),
        ] {
            var rooms = linked()
            start(1, in: &rooms)
            if own == "900-0" {
                // The stream has run out while the node was away.
                rooms.subscriberLost(completeUntil: now)
                rooms.subscriberUp(run: "run")
                rooms.subscribed(room(0))
                let range = commands(rooms.turnEnded(now: now))
                _ = rooms.rangeAnswered(range[0].ticket, entries: [], now: now)
                let state = commands(rooms.turnEnded(now: now))
                let gone = StreamState(time: 900_000, first: nil, maximumDeleted: NoticeId("0-0")!)
                _ = rooms.stateAnswered(state[0].ticket, state: gone, now: now)
            }
            let scale = own == "900-0" ? "000-0" : "-0"
            let id = since.replacing("-0", with: scale)
            rooms.resume(client(1), [(room(0), position(id))])
            let range = commands(rooms.turnEnded(now: now))
            #expect(range.count == 1)
            _ = rooms.rangeAnswered(range[0].ticket, entries: [], now: now)
            let state = commands(rooms.turnEnded(now: now))
            let time = NoticeId(id)!.milliseconds + 10
            _ = rooms.stateAnswered(
                state[0].ticket,
                state: StreamState(time: time, first: nil, maximumDeleted: NoticeId("0-0")!),
                now: now)
            let actions = rooms.turnEnded(now: now)
            guard needsEcho else {
                #expect(answers(actions).count == 1, "\(own) \(since)")
                continue
            }
            guard case .askEcho(let number, _)? = actions.first else {
                Issue.record("\(own) \(since): \(actions)")
                continue
            }
            rooms.echoAnswered(number)
            #expect(answers(rooms.turnEnded(now: now)).first?.1.first?.isLost == false, "\(own) \(since)")
        }
    }

    @Test func cacheIsBoundedAndTheFullestRoomPays() {
        var rooms = linked(1_000)
        start(3, in: &rooms)
        for number in 8...9 { _ = rooms.accept(entry("500-\(number)"), in: room(1)) }
        for number in 8...40 {
            _ = rooms.accept(entry("500-\(number)"), in: room(0))
            #expect(rooms.cacheBytes <= 1_000)
        }
        #expect(rooms.rooms[room(1)]?.feed.ring.memoryBytes == 200)
        #expect(rooms.rooms[room(0)]?.feed.ring.memoryBytes == 800)
        rooms.forget(room(0))
        #expect(rooms.cacheBytes == 200 && rooms.rooms[room(0)] == nil)
    }

    @Test func refusedReadIsTriedAgainWithTheNextReport() {
        var rooms = linked()
        rooms.track(room(0), isSubscribed: true)
        let asked = commands(rooms.turnEnded(now: now))
        rooms.refused(asked[0].ticket)
        #expect(rooms.turnEnded(now: now).isEmpty)
        _ = rooms.checkEpoch()
        #expect(commands(rooms.turnEnded(now: now)).map(\.question) == [.tail])
    }

    @Test func tooManyHeldMessagesAreReadInstead() {
        var settings = Rooms.Settings(historyAge: .seconds(600), cacheBytes: 10_000)
        settings.maximumHeldBytes = 250
        var rooms = Rooms(settings)
        rooms.subscriberUp(run: "run")
        _ = rooms.readerUp(run: "run")
        _ = rooms.epochAnswered(Self.epoch)
        start(1, in: &rooms)
        #expect(rooms.accept(entry("500-9"), in: room(0)) == .hold)
        let first = commands(rooms.turnEnded(now: now))
        for number in 10...11 { #expect(rooms.accept(entry("500-\(number)"), in: room(0)) == .hold) }
        #expect(rooms.rooms[room(0)]?.feed.heldBytes == 0)
        let all = (7...11).map { entry("500-\($0)") }
        #expect(rooms.rangeAnswered(first[0].ticket, entries: all, now: now).isEmpty)
        let second = commands(rooms.turnEnded(now: now))
        let frames = rooms.rangeAnswered(second[0].ticket, entries: all, now: now)
        #expect(frames.count == 4 && rooms.rooms[room(0)]?.feed.state == .live)
    }
}

extension DurableRooms {
    /// The answer to the last question.
    fileprivate mutating func epochAnswered(_ epoch: HistoryEpoch) -> [DurableAction<Frame>] {
        epochAnswered(slot: 0, epochQuestionCount, epoch)
    }
}
