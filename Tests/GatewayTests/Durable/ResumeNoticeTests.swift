import RedisSchema
import Testing

@testable import Gateway

@Suite struct ResumeNoticeTests {
    @Test func writtenByteForByte() {
        let notice = ResumeNotice.bytes([
            resumed("lobby", "k3f9x2ab.1795969278590-57", isLost: false),
            resumed("user-42", "k3f9x2ab.1795969200000-0", isLost: true),
        ])
        let expected =
            #"{"type":"resume","data":{"rooms":[{"room":"lobby","since":"k3f9x2ab.1795969278590-57","lost":false},"#
            + #"{"room":"user-42","since":"k3f9x2ab.1795969200000-0","lost":true}]}}"#
        #expect(String(decoding: notice, as: UTF8.self) == expected)
    }

    @Test func namesStandAsInNotices() {
        let notice = ResumeNotice.bytes([resumed("é \"a\\b\"", "k3f9x2ab.1-1", isLost: false)])
        #expect(String(decoding: notice, as: UTF8.self).contains(#"{"room":"é \"a\\b\"","since":"#))
    }

    @Test func sinceHasAnItemForEachRoomThatCounts() {
        let (first, second) = ("k3f9x2ab.1795969278590-57", "00000000.1-0")
        #expect(positions("", 2) == [nil, nil])
        #expect(positions(first, 1) == [first])
        #expect(positions(first, 2) == [first, nil])
        #expect(positions("\(first),", 2) == [first, nil])
        #expect(positions(",\(second)", 2) == [nil, second])
        #expect(positions("\(first),\(second)", 2) == [first, second])
        #expect(positions("\(first),\(second),what,ever", 2) == [first, second])
        #expect(positions("\(first),what", 1) == [first])
        #expect(positions(",,,", 2) == [nil, nil])
        for malformed in ["x", "\(first),x", "\(first) ,", "\(first);\(second)", "k3f9x2ab.01-1"] {
            #expect(positions(malformed, 2) == nil, "\(malformed)")
        }
    }

    private func resumed(_ room: String, _ since: String, isLost: Bool) -> ResumedRoom {
        ResumedRoom(room: RoomId(room)!, since: HistoryPosition(since)!, isLost: isLost)
    }

    private func positions(_ list: String, _ roomCount: Int) -> [String?]? {
        Array(list.utf8).withUnsafeBytes { SinceList.positions($0, roomCount: roomCount) }
            .map { $0.map { $0?.description } }
    }
}
