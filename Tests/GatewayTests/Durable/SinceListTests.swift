import RedisSchema
import Testing

@testable import Gateway

@Suite struct SinceListTests {
    private let one = HistoryPosition(Array("k3f9x2ab.1-7".utf8))!
    private let other = HistoryPosition(Array("k3f9x2ab.2-9".utf8))!

    /// What a stream has said is understood again.
    @Test func lastEventIdIsTheTextOfThePositions() {
        for positions: [HistoryPosition?] in [[one], [one, other], [nil, other], [one, nil]] {
            let id = SinceList.text(positions)
            #expect(SinceList.positions(lastEventId: id, roomCount: positions.count) == positions)
        }
    }

    @Test func onePositionOfTwoRoomsIsAskedForInBoth() {
        #expect(SinceList.positions(lastEventId: "\(one)", roomCount: 2) == [one, one])
        #expect(SinceList.positions(lastEventId: "", roomCount: 2) == [nil, nil])
    }

    @Test(arguments: ["x", "k3f9x2ab.1", "k3f9x2ab.1-7,x", "k3f9x2ab.1-7 "])
    func anotherIdIsRefused(id: String) {
        #expect(SinceList.positions(lastEventId: id, roomCount: 2) == nil)
    }
}
