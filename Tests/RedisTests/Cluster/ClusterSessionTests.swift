import EventLoop
import Synchronization
import TestSupport
import Testing

@testable import Redis

/// A session to a cluster: `foo` is in slot 12,182, `bar` in slot 5,061.
@Suite(.serialized) struct ClusterSessionTests {
    private static let boundary = 8_000

    private func twoNodes(
        _ answer: @escaping @Sendable ([String]) -> String?
    ) throws -> (FakeNode, FakeNode, Slots) {
        let slots = Slots()
        let a = try FakeNode(slots: { slots.text }, answer)
        let b = try FakeNode(slots: { slots.text }, answer)
        slots.set([(0...Self.boundary, a.port), (Self.boundary + 1...16_383, b.port)])
        return (a, b, slots)
    }

    private func session(_ hosts: String, timeout: Duration = .seconds(30)) throws -> RedisSession {
        try RedisSession(to: RedisURL("cluster://\(hosts)"), timeout: timeout, loop: try EventLoop())
    }

    private func command(_ arguments: String...) -> RedisCommand {
        RedisCommand(arguments.map { [UInt8]($0) })
    }

    @Test func commandsGoWhereTheirKeysAre() throws {
        let (a, b, _) = try twoNodes { $0[0] == "GET" ? "+\($0[1])\r\n" : nil }
        let session = try session("127.0.0.1:\(a.port)")
        var replies: [Int: String] = [:]
        try session.call([command("GET", "foo"), command("GET", "bar")]) { replies[$1] = $0.string }
        #expect(replies == [0: "foo", 1: "bar"])
        #expect(a.asked.all == ["GET bar"] && b.asked.all == ["GET foo"])
    }

    /// As for the library of a room's server.
    @Test func commandWithoutAKeyGoesNearOne() throws {
        let (a, b, _) = try twoNodes { $0[0] == "FUNCTION" ? "+OK\r\n" : nil }
        let session = try session("127.0.0.1:\(a.port)")
        var count = 0
        for _ in 0..<3 {
            session.send(command("FUNCTION", "LOAD"), near: [UInt8]("foo")) { _ in count += 1 }
        }
        try session.wait { count == 3 }
        #expect(a.asked.all.isEmpty && b.asked.all.count == 3)
    }

    @Test func batchesGoNearTheFirstKey() throws {
        let (a, b, _) = try twoNodes { $0[0] == "PUBLISH" ? ":1\r\n" : nil }
        for _ in 0..<8 {
            let session = try session("127.0.0.1:\(a.port)")
            var count = 0
            for key in ["foo", "bar"] {
                var batch = RedisBatch()
                batch.appendPublish([UInt8]("x"), to: [UInt8](key))
                session.send(batch, near: [UInt8](key)) { _ in count += 1 }
            }
            try session.wait { count == 2 }
        }
        #expect(a.asked.all.isEmpty && b.asked.all.count == 16)
    }

    /// A master that has just been started refuses keys, and passes nothing on.
    @Test func noticesWaitUntilTheirMasterServesKeys() throws {
        let count = Mutex(0)
        let (_, b, _) = try twoNodes { command in
            guard command[0] == "PTTL" else { return command[0] == "PUBLISH" ? ":1\r\n" : nil }
            let number = count.withLock { number in
                number += 1
                return number
            }
            return number < 3 ? "-CLUSTERDOWN The cluster is down\r\n" : ":-2\r\n"
        }
        let session = try session("127.0.0.1:\(b.port)")
        let begin = ContinuousClock.now
        var answerCount = 0
        for number in 0..<6 {
            if number % 2 == 0 {
                session.send(command("PUBLISH", "foo", "\(number)"), near: [UInt8]("foo")) { _ in
                    answerCount += 1
                }
            } else {
                var batch = RedisBatch()
                batch.appendPublish([UInt8]("\(number)"), to: [UInt8]("foo"))
                session.send(batch, near: [UInt8]("foo")) { _ in answerCount += 1 }
            }
        }
        try session.wait { answerCount == 6 }
        let asking = b.asked.all.prefix { $0 == "PTTL foo" }
        #expect(Array(b.asked.all.dropFirst(asking.count)) == (0..<6).map { "PUBLISH foo \($0)" })
        // After so long they are published all the same.
        #expect(asking.count == 3 || ContinuousClock.now - begin >= .seconds(3))
    }

    @Test func whoMayNotAskForKeysPublishesAtOnce() throws {
        let (_, b, _) = try twoNodes {
            $0[0] == "PTTL" ? "-NOPERM no permissions\r\n" : $0[0] == "PUBLISH" ? ":1\r\n" : nil
        }
        let session = try session("127.0.0.1:\(b.port)")
        var isDone = false
        session.send(command("PUBLISH", "foo", "1"), near: [UInt8]("foo")) { _ in isDone = true }
        try session.wait { isDone }
        #expect(b.asked.all == ["PTTL foo", "PUBLISH foo 1"])
    }

    @Test func commandWithoutAKeyGoesElsewhereWhenItsMasterIsAway() throws {
        let (a, _, slots) = try twoNodes { $0[0] == "PUBLISH" ? ":1\r\n" : nil }
        slots.set([(0...Self.boundary, a.port), (Self.boundary + 1...16_383, 1)])
        let session = try session("127.0.0.1:\(a.port)")
        var count = 0
        session.send(command("PUBLISH", "foo", "x"), near: [UInt8]("foo")) {
            if case .success = $0 { count += 1 }
        }
        var batch = RedisBatch()
        batch.appendPublish([UInt8]("x"), to: [UInt8]("foo"))
        session.send(batch, near: [UInt8]("foo")) { if case .numbers = $0 { count += 1 } }
        try session.wait { count == 2 }
        #expect(a.asked.all.count == 2)
    }

    @Test func eachMasterIsAskedByItself() throws {
        let (a, b, _) = try twoNodes { ["SCAN", "GET"].contains($0[0]) ? "+\($0[1])\r\n" : nil }
        let session = try session("127.0.0.1:\(a.port)")
        #expect(session.masters == [a.address, b.address] && session.usedMasters.isEmpty)
        #expect(session.master(of: [UInt8]("foo")) == b.address)
        for master in session.masters {
            try session.call([command("SCAN", "0"), command("GET", "foo")], at: master) { _, _ in }
        }
        #expect(a.asked.all == ["SCAN 0"] && b.asked.all.sorted() == ["GET foo", "GET foo", "SCAN 0"])
        #expect(Set(session.usedMasters) == [a.address, b.address])
    }

    @Test func batchesStayAtOneMaster() throws {
        let (a, b, _) = try twoNodes { $0[0] == "PUBLISH" ? ":1\r\n" : nil }
        let session = try session("127.0.0.1:\(a.port)")
        var count = 0
        for number in 0..<20 {
            var batch = RedisBatch()
            batch.appendPublish([UInt8]("\(number)"), to: [UInt8]("room:a"))
            session.send(batch) { if case .numbers(let numbers) = $0 { count += numbers.count } }
            try session.wait { count == number + 1 }
        }
        let all = [a.asked.all, b.asked.all]
        #expect(all.contains { $0.isEmpty } && all.contains { $0.count == 20 })
        #expect((all.first { !$0.isEmpty } ?? []) == (0..<20).map { "PUBLISH room:a \($0)" })
    }

    /// One of them is enough to begin; what is for the other one has no outcome.
    @Test func commandForAMasterThatIsAwayEndsTheSession() throws {
        let (a, _, slots) = try twoNodes { $0[0] == "GET" ? "+\($0[1])\r\n" : nil }
        slots.set([(0...Self.boundary, a.port), (Self.boundary + 1...16_383, 1)])
        let session = try session("127.0.0.1:\(a.port)")
        var found: String?
        try session.call([command("GET", "bar")]) { reply, _ in found = reply.string }
        #expect(found == "bar")
        #expect(throws: RedisSessionError.lost("not connected")) {
            try session.call([command("GET", "foo")]) { _, _ in }
        }
        // What it was given may be sent again over another session: nothing may be there before.
        #expect(throws: RedisSessionError.lost("not connected")) {
            try session.call([command("GET", "bar")]) { _, _ in }
        }
        var isLost = false
        session.send(RedisBatch()) { if case .lost = $0 { isLost = true } }
        session.flush()
        #expect(isLost && a.asked.all == ["GET bar"])
    }

    @Test func everySeedIsNamedWithItsReason() throws {
        let noCluster = try RedisServer()
        let hosts = "127.0.0.1:1,127.0.0.1:\(noCluster.port)"
        let error = #expect(throws: RedisSessionError.self) {
            try session(hosts, timeout: .milliseconds(600))
        }
        let text = try #require(error).description
        #expect(
            text.hasPrefix(
                "cannot reach Redis at cluster://\(hosts): no node of the cluster tells its map: "))
        #expect(text.contains("127.0.0.1:1: Connection refused"))
        #expect(text.contains("127.0.0.1:\(noCluster.port): ERR This instance has cluster support disabled"))
        #expect(!text.contains("\n"))
    }

    /// Nothing changes by waiting: the timeout is longer than the test.
    @Test func refusalByEverySeedEndsTheWait() throws {
        let noCluster = try RedisServer(password: "right")
        let error = #expect(throws: RedisSessionError.self) {
            try session(":hunter2@127.0.0.1:\(noCluster.port)", timeout: .seconds(3600))
        }
        let text = try #require(error).description
        #expect(text.contains("127.0.0.1:\(noCluster.port): AUTH: WRONGPASS") && !text.contains("hunter2"))
    }

    /// As while nodes have not met yet, or a failover is under way.
    @Test func mapIsAwaited() throws {
        let count = Mutex(0)
        let (a, b, slots) = try twoNodes { command in
            guard command[0] == "CLUSTER",
                count.withLock({
                    $0 += 1; return $0
                }) < 3
            else { return nil }
            return "*0\r\n"
        }
        let session = try session("127.0.0.1:\(a.port)")
        #expect(session.masters == [a.address, b.address] && count.withLock { $0 } >= 3)
        _ = slots
    }

    /// The first one is asked to try again; meanwhile the slot is the other master's.
    @Test func commandsOfASlotKeepTheirOrderOverRedirections() throws {
        let other = Mutex(0)
        let count = Mutex(0)
        let slots = Slots()
        let a = try FakeNode(slots: { slots.text }) { command in
            guard command[0] == "SET" else { return nil }
            let isFirst = count.withLock { count in
                count += 1
                return count == 1
            }
            return isFirst
                ? "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
                : "-MOVED 12182 127.0.0.1:\(other.withLock { $0 })\r\n"
        }
        let b = try FakeNode(slots: { slots.text }) { $0[0] == "SET" ? "+\($0[2])\r\n" : nil }
        other.withLock { $0 = b.port }
        slots.set([(0...16_382, a.port), (16_383...16_383, b.port)])
        let session = try session("127.0.0.1:\(a.port)")
        slots.set([(0...1, a.port), (2...16_383, b.port)])
        var replies: [String] = []
        func set(_ number: Int) {
            session.send(command("SET", "foo", "\(number)")) {
                if case .success(let reply) = $0 { replies.append(reply.string ?? "") }
            }
        }
        for number in 1...3 { set(number) }
        try session.wait { a.asked.all.count >= 3 }
        for number in 4...6 { set(number) }
        try session.wait { replies.count == 6 }
        #expect(replies == (1...6).map { "\($0)" })
        #expect(b.asked.all == (1...6).map { "SET foo \($0)" })
    }
}
