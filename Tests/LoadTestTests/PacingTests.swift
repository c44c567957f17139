import Testing

@testable import LoadTest

struct PacerTests {
    @Test func thingsAreDueEvenly() {
        var pacer = Pacer(start: 1000, ratePerSecond: 4)
        #expect(pacer.take(at: 999, limit: 10).isEmpty)
        #expect(pacer.take(at: 1000, limit: 10) == 0..<1)
        #expect(pacer.nextDue == 250_001_000)
        #expect(pacer.take(at: 250_000_999, limit: 10).isEmpty)
        #expect(pacer.take(at: 750_001_000, limit: 10) == 1..<4)
    }

    @Test func theLimitPutsOffAndForgetsNothing() {
        var pacer = Pacer(start: 0, ratePerSecond: 1000)
        #expect(pacer.take(at: 10_000_000, limit: 4) == 0..<4)
        #expect(pacer.take(at: 10_000_000, limit: 0).isEmpty)
        #expect(pacer.take(at: 10_000_000, limit: 100) == 4..<11)
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
    @Test func aMessageIsCompleteWithItsLastReceiver() {
        var counter = WindowCounter(window: 2, receiverCounts: [3, 1])
        #expect(!counter.complete(room: 0, sequence: 0))
        #expect(!counter.complete(room: 0, sequence: 1))
        #expect(counter.complete(room: 1, sequence: 0))
        #expect(!counter.complete(room: 0, sequence: 0))
        #expect(counter.complete(room: 0, sequence: 0))
    }

    @Test func aPlaceIsUsedAgainByTheMessageAWindowLater() {
        var counter = WindowCounter(window: 1, receiverCounts: [2])
        for sequence in 0..<3 {
            #expect(!counter.complete(room: 0, sequence: sequence))
            #expect(counter.complete(room: 0, sequence: sequence))
        }
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
