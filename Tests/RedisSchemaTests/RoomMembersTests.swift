import Testing

@testable import RedisSchema

@Suite struct RoomMembersTests {
    private func members(_ name: String, _ count: Int) throws -> RoomMembers {
        RoomMembers(room: try #require(RoomId(name)), count: count)
    }

    @Test func everyRoomIdComesBack() throws {
        let names = [
            "lobby", " ", ";", "=", "a b", "a;b=c:d", "房间", "é", "e\u{301}", "🎉", "\"", "\\n", "%09",
            String(repeating: "r", count: RoomId.maximumBytes), "rooms 1", "end 0 1 2",
        ]
        let rooms = try names.enumerated().map { try members($1, $0 * 1_000_000) }
        #expect(RoomMembers.decode(RoomMembers.encode(rooms)) == rooms)
        #expect(RoomMembers.decode([UInt8]()) == [])
    }

    @Test func sumsAreInOrderOfSizeThenOfBytes() throws {
        let merged = RoomMembers.merged([
            try members("b", 1), try members("a", 1), try members("z", 9), try members("b", 4),
            try members("é", 5), try members("e\u{301}", 5),
        ])
        #expect(merged.map { "\($0.count)" } == ["9", "5", "5", "5", "1"])
        #expect(merged.map(\.room.bytes.count) == [1, 1, 3, 2, 1])
        #expect(merged.map(\.room.bytes.first) == [0x7A, 0x62, 0x65, 0xC3, 0x61])
    }

    /// Anybody who writes into Redis can write such counts.
    @Test func sumsThatOverflowAreTheLargestNumber() throws {
        let rooms = RoomMembers.decode(Array("a\t9223372036854775807\na\t9223372036854775807\nb\t1\n".utf8))
        #expect(RoomMembers.merged(rooms) == [try members("a", Int.max), try members("b", 1)])
        #expect(RoomMembers.decode(Array("a\t9223372036854775808\na\t-1\n".utf8)).isEmpty)
    }

    @Test func messagesOfAnAnswerComeBack() throws {
        let messages: [RoomListMessage] = [
            .rooms(worker: 3, [try members("a b", 2), try members("end 1 2 3", 1)]), .rooms(worker: 0, []),
            .end(worker: 63, workerCount: 64, roomCount: 20_000),
        ]
        for message in messages { #expect(RoomListMessage(message.bytes) == message) }
    }

    @Test func anythingElseIsNoMessage() {
        for text in [
            "", "\n", "rooms", "rooms\n", "rooms x\na\t1\n", "rooms -1\n", "rooms 1 2\n", "end 1 2",
            "end 1 2 3 4",
            "end 1 2 3\n", "end 1 2 x", "End 1 2 3", "end  1 2 3",
        ] {
            #expect(RoomListMessage(Array(text.utf8)) == nil, "\(text)")
        }
    }

    @Test func replyIdsAreSafeInAChannelsName() throws {
        for text in ["a", "Az09-_", String(repeating: "r", count: 64)] {
            #expect(ReplyId(text)?.description == text)
        }
        for text in ["", String(repeating: "r", count: 65), "a b", "a:b", "*", "é", "a\n", "a\u{0}"] {
            #expect(ReplyId(text) == nil, "\(text)")
        }
        let reply = try #require(ReplyId("r1"))
        #expect(RoomListMessage.request(reply: reply) == Array("rooms r1".utf8))
    }
}
