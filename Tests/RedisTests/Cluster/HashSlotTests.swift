import Testing

@testable import Redis

@Suite struct HashSlotTests {
    /// What `CLUSTER KEYSLOT` of Redis 7.0 says; the first is the specification's check of the CRC.
    @Test(arguments: [
        ("123456789", 0x31C3), ("foo", 12182), ("", 0), ("{user1000}.following", 3443),
        ("{user1000}.followers", 3443), ("user1000", 3443), ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061), ("bar", 5061), ("foo}bar{", 11_073),
        ("client:abc", 15_182),
    ])
    func slotIsThatOfRedis(key: String, slot: Int) { #expect(HashSlot.of([UInt8](key)) == slot) }

    @Test func tagOfASlotIsInIt() {
        for slot in 0..<HashSlot.count {
            let tag = HashSlot.tag(of: slot)
            #expect(HashSlot.of([UInt8]("any:{") + tag + [UInt8]("}:rest")) == slot)
        }
    }

    @Test(arguments: [
        (["GET", "k1"], "k1"), (["EVALSHA", "abc", "1", "k2", "x"], "k2"), (["EVAL", "return 1", "0"], nil),
        (["FCALL", "roomcast_publish", "2", "room:a", "once:b"], "room:a"), (["PING"], nil),
        (["PUBLISH", "room:a", "x"], nil),
        (["XINFO", "STREAM", "room:b"], "room:b"),
        (["MEMORY", "USAGE", "room:b"], "room:b"), (["SCAN", "0"], nil),
        (["XRANGE", "room:c", "-", "+"], "room:c"),
        (["SADD", "{a}b", "c"], "a"), (["FCALL_RO", "roomcast1_version", "0"], nil), (["TIME"], nil),
        (["GET"], nil),
    ])
    func commandsAreInTheSlotOfTheirFirstKey(arguments: [String], key: String?) {
        let command = RedisCommand(arguments.map { [UInt8]($0) })
        #expect(command.slot == key.map { HashSlot.of([UInt8]($0)) })
    }
}
