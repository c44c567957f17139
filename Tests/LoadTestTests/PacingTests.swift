import Testing

@testable import LoadTest

struct PacerTests {
    /// What is taken at each of the times, in turn.
    private func taken(_ pacer: Pacer, _ calls: [(now: Int64, limit: Int)]) -> [Range<Int>] {
        var pacer = pacer
        return calls.map { pacer.take(at: $0.now, limit: $0.limit) }
    }

    @Test func thingsAreDueEvenly() {
        let pacer = Pacer(start: 1000, ratePerSecond: 4)
        let times: [Int64] = [999, 1000, 250_000_999, 750_001_000]
        #expect(taken(pacer, times.map { ($0, 10) }) == [0..<0, 0..<1, 1..<1, 1..<4])
        #expect(pacer.nextDue == 1000)
    }

    @Test func theLimitPutsOffAndForgetsNothing() {
        let pacer = Pacer(start: 0, ratePerSecond: 1000)
        let now: Int64 = 10_000_000
        #expect(taken(pacer, [(now, 4), (now, 0), (now, 100)]) == [0..<4, 4..<4, 4..<11])
    }

    @Test func itDoesNotDriftOverALongRun() {
        let pacer = Pacer(start: 0, ratePerSecond: 3)
        #expect(pacer.dueTime(of: 3_000_000) == 1_000_000_000_000_000)
    }

    @Test func aRateBelowOneASecondWorks() {
        #expect(Pacer(start: 0, ratePerSecond: 0.5).dueTime(of: 2) == 4_000_000_000)
    }
}

struct WindowCounterTests {
    /// Which of the arrivals, each a room and a sequence number, complete a message.
    private func completed(_ counter: WindowCounter, _ arrivals: [(room: Int, sequence: Int)]) -> [Bool] {
        var counter = counter
        return arrivals.map { counter.complete(room: $0.room, sequence: $0.sequence) }
    }

    @Test func aMessageIsCompleteWithItsLastReceiver() {
        let counter = WindowCounter(window: 2, receiverCounts: [3, 1])
        let arrivals = [(0, 0), (0, 1), (1, 0), (0, 0), (0, 0)]
        #expect(completed(counter, arrivals) == [false, false, true, false, true])
    }

    @Test func aPlaceIsUsedAgainByTheMessageAWindowLater() {
        let counter = WindowCounter(window: 1, receiverCounts: [2])
        let arrivals = [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2), (0, 2)]
        #expect(completed(counter, arrivals) == [false, true, false, true, false, true])
    }
}

struct RoomAssignmentTests {
    @Test func clientsGoRoundTheRooms() {
        let assignment = RoomAssignment(roomCount: 3, roomsPerClient: 1)
        #expect((0..<5).map { assignment.rooms(ofClient: $0) } == [[0], [1], [2], [0], [1]])
    }

    @Test func theSecondRoomIsTheNextOne() {
        let assignment = RoomAssignment(roomCount: 3, roomsPerClient: 2)
        #expect((0..<3).map { assignment.rooms(ofClient: $0) } == [[0, 1], [1, 2], [2, 0]])
        #expect(RoomAssignment(roomCount: 1, roomsPerClient: 2).rooms(ofClient: 4) == [0])
    }

    @Test(arguments: [1, 2, 7]) func messagesOfARoomAreNumberedWithoutGaps(roomCount: Int) {
        let assignment = RoomAssignment(roomCount: roomCount, roomsPerClient: 1)
        var nextSequences = Array(repeating: 0, count: roomCount)
        for number in 0..<50 {
            for room in 0..<roomCount {
                #expect(assignment.messageCount(before: number, in: room) == nextSequences[room])
            }
            let room = assignment.room(ofMessage: number)
            #expect(assignment.sequence(ofMessage: number) == nextSequences[room])
            nextSequences[room] += 1
        }
    }
}
