import CHiredis
import Foundation
import Testing

@testable import Redis

@Suite struct ClusterMapTests {
    fileprivate static func node(_ host: String?, _ port: Int, _ id: String = "id") -> String {
        "*3\r\n" + (host.map { "$\($0.utf8.count)\r\n\($0)\r\n" } ?? "$-1\r\n")
            + ":\(port)\r\n$\(id.utf8.count)\r\n\(id)\r\n"
    }

    private static func row(_ first: Int, _ last: Int, _ nodes: String...) -> String {
        row(first...last, nodes)
    }

    fileprivate static func row(_ slots: ClosedRange<Int>, _ nodes: [String]) -> String {
        "*\(2 + nodes.count)\r\n:\(slots.lowerBound)\r\n:\(slots.upperBound)\r\n" + nodes.joined()
    }

    private static func map(_ rows: String..., host: String = "10.0.0.9") throws -> ClusterMap? {
        try map(rows, host: host)
    }

    fileprivate static func map(_ rows: [String], host: String) throws -> ClusterMap? {
        var parsed: ClusterMap?
        try withReply("*\(rows.count)\r\n" + rows.joined()) { parsed = ClusterMap($0, askedHost: host) }
        return parsed
    }

    private static func withReply(_ text: String, _ body: (RedisReply) -> Void) throws {
        let reader = try #require(redisReaderCreate())
        defer { redisReaderFree(reader) }
        let bytes = Array(text.utf8CString.dropLast())
        #expect(redisReaderFeed(reader, bytes, bytes.count) == REDIS_OK)
        var reply: UnsafeMutableRawPointer?
        #expect(redisReaderGetReply(reader, &reply) == REDIS_OK)
        let parsed = try #require(reply)
        body(RedisReply(UnsafePointer(parsed.assumingMemoryBound(to: redisReply.self))))
        freeReplyObject(parsed)
    }

    private static func address(_ host: String, _ port: Int) -> RedisURL.Address {
        .tcp(host: host, port: port)
    }

    @Test func eachSlotHasItsMaster() throws {
        let map = try #require(
            try Self.map(
                Self.row(0, 5_460, Self.node("10.0.0.1", 7001), Self.node("10.0.0.4", 7004)),
                Self.row(5_461, 5_461, Self.node("10.0.0.2", 7002)),
                Self.row(
                    5_463, 16_383, Self.node("10.0.0.1", 7001), Self.node("10.0.0.4", 7004),
                    Self.node("::1", 7005))))
        #expect(map.masters == [Self.address("10.0.0.1", 7001), Self.address("10.0.0.2", 7002)])
        #expect(map.owner(of: 0) == map.masters[0] && map.owner(of: 5_460) == map.masters[0])
        #expect(map.owner(of: 5_461) == map.masters[1] && map.owner(of: 5_462) == nil)
        #expect(map.owner(of: 16_383) == map.masters[0])
        #expect(map.slotCount(of: map.masters[0]) == 16_382 && map.slotCount(of: map.masters[1]) == 1)
        #expect(map.firstSlot(of: map.masters[1]) == 5_461 && map.firstSlot(of: Self.address("x", 1)) == nil)
        #expect(map.nodes == map.masters + [Self.address("10.0.0.4", 7004), Self.address("::1", 7005)])
        #expect(map.isReplica(Self.address("::1", 7005), of: map.masters[0]))
        #expect(!map.isReplica(Self.address("::1", 7005), of: map.masters[1]) && !map.isWhole)
    }

    @Test func nodeWithoutAHostIsOnTheOneThatWasAsked() throws {
        for host in ["", nil] {
            let map = try Self.map(Self.row(0, 16_383, Self.node(host, 7001)), host: "redis.example")
            #expect(map?.masters == [Self.address("redis.example", 7001)] && map?.isWhole == true)
        }
    }

    @Test func nodeThatNobodyKnowsIsLeftOut() throws {
        let map = try #require(
            try Self.map(
                Self.row(0, 9, Self.node("?", 7001)),
                Self.row(10, 16_383, Self.node("host", 7002), Self.node("?", 1))))
        #expect(
            map.masters == [Self.address("host", 7002)] && map.owner(of: 9) == nil && map.nodes.count == 1)
    }

    @Test(arguments: [
        "*0\r\n", "*1\r\n*0\r\n", "+OK\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:9\r\n:8\r\n*2\r\n$1\r\na\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:0\r\n",
        "*1\r\n*3\r\n:-1\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n$1\r\n0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n",
    ])
    func answerOfAnotherFormIsNoMap(text: String) throws {
        try Self.withReply(text) { #expect(ClusterMap($0, askedHost: "h") == nil) }
    }

    @Test func movesAreBetweenTheMastersOfEachSlot() throws {
        let (a, b, c) = (Self.address("a", 1), Self.address("b", 1), Self.address("c", 1))
        let before = try ClusterMap([(0...99, a, [c]), (100...16_383, b, [])])
        let after = try ClusterMap([(0...49, b, []), (50...98, c, [a]), (100...16_383, b, [])])
        #expect(
            after.moves(since: before) == [ClusterMap.Move(from: a, to: b), ClusterMap.Move(from: a, to: c)])
        #expect(before.moves(since: before).isEmpty)
        let moved = before.moved(7, to: c)
        #expect(moved.owner(of: 7) == c && moved.owner(of: 8) == a && moved.masters == [a, b, c])
        #expect(moved.moves(since: before) == [ClusterMap.Move(from: a, to: c)])
    }

    /// Twelve nodes and 600 gateways: each node has about 50.
    @Test func feedsSpreadOverAllNodes() {
        let nodes = (0..<12).map { Self.address("10.0.0.\($0)", 6379) }
        var counts: [RedisURL.Address: Int] = [:]
        for index in 0..<600 {
            let order = FeedPlace.order(nodes, for: "gateway-\(index)")
            #expect(Set(order) == Set(nodes))
            counts[order[0], default: 0] += 1
            // Without the first one the others keep their order.
            #expect(
                FeedPlace.order(nodes.filter { $0 != order[0] }, for: "gateway-\(index)")
                    == Array(order.dropFirst()))
        }
        #expect(counts.count == 12 && counts.values.allSatisfy { (25...80).contains($0) })
    }

    @Test(arguments: [
        (
            "MOVED 8978 127.0.0.1:27003",
            Redirection.moved(slot: 8_978, to: .tcp(host: "127.0.0.1", port: 27_003))
        ),
        ("ASK 1 ::1:7", .ask(slot: 1, to: .tcp(host: "::1", port: 7))),
        ("MOVED 0 :7001", .moved(slot: 0, to: .tcp(host: "asked", port: 7_001))),
        ("MOVED 0 ?:7001", .moved(slot: 0, to: nil)), ("MOVED 0 host:0", .moved(slot: 0, to: nil)),
        ("ASK 3 redis-1.example:6379", .ask(slot: 3, to: .tcp(host: "redis-1.example", port: 6_379))),
        ("TRYAGAIN Multiple keys request during rehashing of slot", .tryAgain),
        ("CLUSTERDOWN Hash slot not served", .clusterDown), ("MOVED 16384 a:1", nil), ("MOVED x a:1", nil),
        ("MOVED", nil),
        ("ERR unknown", nil), ("", nil),
    ])
    func redirectionIsRead(message: String, redirection: Redirection?) {
        #expect(Redirection(message, askedHost: "asked") == redirection)
    }
}

extension ClusterMap {
    /// Masters with their replicas and slots, as a server tells them.
    init(_ rows: [(slots: ClosedRange<Int>, master: Address, replicas: [Address])]) throws {
        let rows = try rows.map { row in
            let nodes = try ([row.master] + row.replicas).map { address in
                guard case .tcp(let host, let port) = address else { throw NoAddress() }
                return ClusterMapTests.node(host, port)
            }
            return ClusterMapTests.row(row.slots, nodes)
        }
        self = try #require(try ClusterMapTests.map(rows, host: ""))
    }

    private struct NoAddress: Error {}
}
