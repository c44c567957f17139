import EventLoop
import Foundation
import RedisSchema
import Redis
import Synchronization
import TestSupport
import Testing

@testable import Gateway

/// A feed on a real Redis, and what it has posted to its two workers.
private final class Rig {
    let server: RedisServer!
    let scenario: Scenario
    let node: NodeContext
    private let feed: Feed
    private(set) var received: [[String]] = [[], []]

    convenience init(_ options: String...) throws {
        let server = try RedisServer()
        try self.init(server, port: server.port, options)
    }

    /// On a Redis that is played.
    convenience init(_ fake: FakeRedis, _ options: String...) throws {
        try self.init(nil, port: fake.port, options)
    }

    private init(_ server: RedisServer?, port: Int, _ options: [String]) throws {
        self.server = server
        scenario = try Scenario()
        let configuration = try configuration(
            ["--redis", "redis://127.0.0.1:\(port)", "--node-id", "n1", "--workers", "2"] + options)
        let state = NodeState(workerCount: 2, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        // Nothing is logged: warnings are what these tests bring about.
        let log = Log(level: .error, format: .text, nodeID: "n1")
        node = NodeContext(configuration: configuration, log: log, state: state)
        feed = Feed(index: 0, node: node, loop: scenario.loop)
        for worker in 0...1 {
            node.workerMailboxes[worker].open(on: scenario.loop) { [unowned self] messages in
                self.received[worker] += messages.map(Rig.text)
            }
        }
        feed.start()
    }

    func join(_ room: String, worker: Int) {
        node.feedMailboxes[0].post(.join(room: RoomId(room)!, worker: worker))
    }

    /// Waits until a worker has received a message so many times.
    func await(
        _ message: String, worker: Int = 0, count: Int = 1, _ action: @escaping () throws -> Void = {}
    ) {
        let isThere = { [unowned self] in self.received[worker].count { $0 == message } >= count }
        scenario.step("\(message) for \(worker)", until: isThere, action)
    }

    func run() throws {
        scenario.then { [unowned self] in self.node.feedMailboxes[0].post(.stop) }
        try scenario.run()
    }

    private static func text(_ message: WorkerMessage) -> String {
        switch message {
        case .deliver(let message):
            "\(message.room): "
                + String(decoding: message.encoded(as: .webSocketText).bytes.dropFirst(2), as: UTF8.self)
        case .news(let news): text(news)
        }
    }

    private static func text(_ news: WorkerNews) -> String {
        switch news {
        case .subscribed(let room, _): "subscribed \(room)"
        case .subscriptionsLost: "lost"
        case .subscriptionsRestored: "restored"
        case .gapEnded(let milliseconds): "gap \(milliseconds > 0)"
        case .messagesLost(let rooms, let milliseconds):
            "missing \(rooms.map(\.description).sorted()) \(milliseconds > 0)"
        case .refused(let room, _): "refused \(room)"
        case .master(let address): "master \(address)"
        case .renewCommands(let reason): "renew: \(reason)"
        case .replaced(let token, let connection): "replaced \(token.text) \(connection)"
        case .revoked(let token): "revoked \(token.text)"
        case .listRooms(let reply): "list \(reply)"
        case .resumed(let connection, _): "resumed \(connection)"
        case .historyLost(let rooms): "history lost \(rooms.map(\.room.description))"
        case .adopt, .makeRoom, .drain, .stop: "?"
        }
    }
}

/// Publishes `1` to rooms in turn, over and over, while the loop under test does its work.
private final class Publishing: Sendable {
    private let url: RedisURL
    private let rooms: [String]
    private let isStopped = Atomic(false)

    init(to url: RedisURL, rooms: [String]) {
        self.url = url
        self.rooms = rooms
    }

    func start() {
        Thread.detachNewThread { [self] in
            // The server ends with the test, which may cut off the last batch.
            do { try publish() } catch {
                if !isStopped.load(ordering: .relaxed) { Issue.record("\(error)") }
            }
        }
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    private func publish() throws {
        let session = try RedisSession(to: url, timeout: .seconds(10), loop: EventLoop())
        var next = 0
        while !isStopped.load(ordering: .relaxed) {
            let commands = (0..<50).map { _ in
                next = (next + 1) % rooms.count
                return ["PUBLISH", "room:\(rooms[next])", "1"].map { [UInt8]($0) }
            }
            _ = try session.replies(to: commands)
        }
    }
}

@Suite(.serialized) struct FeedTests {
    @Test func messagesGoToTheWorkersThatHaveTheRoom() throws {
        let rig = try Rig()
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("subscribed b", worker: 1) { rig.join("b", worker: 1) }
        rig.await("subscribed a", worker: 1) { rig.join("a", worker: 1) }
        rig.await("b: 3", worker: 1) {
            for (room, payload) in [("a", "1"), ("c", "2"), ("a", "no JSON"), ("b", "3")] {
                try rig.server.command("PUBLISH", "room:\(room)", payload)
            }
        }
        try rig.run()
        #expect(rig.received[0].filter { $0.contains(": ") } == ["a: 1"])
        #expect(rig.received[1].filter { $0.contains(": ") } == ["a: 1", "b: 3"])
        #expect(rig.node.metrics.feeds[0].messagesReceived.value == 3)
        #expect(rig.node.metrics.feeds[0].heldBack[HeldBackReason.notJson.rawValue].value == 1)
    }

    @Test(arguments: ["replaced AAAAbbbbCCCCdddd0000-_-_ 42", "revoked AAAAbbbbCCCCdddd0000-_-_"])
    func controlMessageIsToldToEveryWorker(text: String) throws {
        let rig = try Rig()
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await(text) { try rig.server.command("PUBLISH", "gateway:n1", text) }
        rig.await(text, worker: 1)
        try rig.run()
        #expect(rig.node.metrics.feeds[0].messagesReceived.value == 0, "it is no room's message")
    }

    @Test func lossAndReturnAreToldToEveryWorker() throws {
        let rig = try Rig()
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("restored", worker: 1, count: 2) {
            try rig.server.command("CLIENT", "KILL", "TYPE", "pubsub")
        }
        rig.await("restored", count: 2)
        try rig.run()
        #expect(rig.received[0].filter { $0 != "restored" } == ["subscribed a", "lost", "subscribed a"])
        #expect(rig.received[1].suffix(2) == ["lost", "restored"])
        #expect(rig.node.metrics.feeds[0].reconnects.value == 1)
    }

    /// A connection that is lost before every room is back was a connection all the same: what it confirmed
    /// holds no longer.
    @Test func lossBeforeAllRoomsAreBackIsALossToo() throws {
        let connectionCount = Mutex(0)
        let fake = try FakeRedis { connection in
            try connection.expect("SETNAME")
            // The one that reads histories is turned away.
            guard try !connection.expect("-n1\r\n").contains("reader") else { return }
            let number = connectionCount.withLock { count in
                defer { count += 1 }
                return count
            }
            connection.send("+OK\r\n")
            try connection.expect("INFO")
            connection.send("$9\r\nrun_id:12\r\n")
            func confirm(_ channels: [String]) {
                for channel in channels {
                    connection.send(
                        "*3\r\n$9\r\nsubscribe\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:1\r\n")
                }
            }
            // The anchor comes first; behind it, in one write, the rooms in any order and the anchor again.
            try connection.expect("gateway:n1\r\n")
            confirm(["gateway:n1"])
            if number == 0 {
                try connection.expect("room:a\r\n")
                confirm(["room:a", "gateway:n1"])
                try connection.expect("room:b\r\n")
                return confirm(["room:b"])
            }
            let asked = try connection.expect("gateway:n1\r\n")
            let rooms = asked.split(separator: "\r\n").filter { $0.hasPrefix("room:") }.map { String($0) }
            // Answers come in the order of the commands. The confirmation of the anchor at their end is
            // missing.
            confirm(Array(rooms[...rooms.firstIndex(of: "room:a")!]))
            guard number == 3 else { return }
            confirm(Array(rooms[(rooms.firstIndex(of: "room:a")! + 1)...]) + ["gateway:n1"])
            connection.send("*3\r\n$7\r\nmessage\r\n$6\r\nroom:a\r\n$1\r\n1\r\n")
            _ = connection.awaitEnd()
        }
        let rig = try Rig(fake, "--gap-notice", "on")
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("a: 1") { rig.join("b", worker: 0) }
        try rig.run()
        // Told to be subscribed once for each connection at most, and for the last one.
        let told = rig.received[0].filter { ["subscribed a", "lost"].contains($0) }
        for (message, next) in zip(told, told.dropFirst()) where message == "subscribed a" {
            #expect(next == "lost")
        }
        #expect(told.last == "subscribed a")
        #expect(told.count { $0 == "lost" } == 3)
        #expect(rig.node.metrics.feeds[0].reconnects.value == 1, "the node was away once")
        #expect(rig.received[0].count { $0 == "gap true" } == 1, "one gap, told once")
        #expect(rig.node.metrics.feeds[0].gaps.value == 1)
    }

    /// A room that has no members any more goes with the connection, unsaid by Redis: it is no longer
    /// counted.
    @Test func roomThatGoesWithTheConnectionIsNotCounted() throws {
        let rig = try Rig("--unsubscribe-grace", "1h")
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("restored", count: 2) {
            #expect(rig.node.metrics.feeds[0].rooms.value == 1)
            rig.node.feedMailboxes[0].post(.leave(room: RoomId("a")!, worker: 0))
            try rig.server.command("CLIENT", "KILL", "TYPE", "pubsub")
        }
        rig.scenario.step("it is not counted", until: { rig.node.metrics.feeds[0].rooms.value == 0 })
        try rig.run()
    }

    @Test func roomThatRedisRefusesIsRefusedToEveryWorkerAndCostsNoConnection() throws {
        let rig = try Rig()
        rig.await("restored") {
            try rig.server.command("ACL", "SETUSER", "default", "resetchannels", "&gateway:*", "&room:a")
        }
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("refused b") { rig.join("b", worker: 0) }
        rig.await("refused b", worker: 1) { rig.join("b", worker: 1) }
        rig.await("a: 1") { try rig.server.command("PUBLISH", "room:a", "1") }
        try rig.run()
        #expect(rig.node.metrics.feeds[0].reconnects.value == 0)
    }

    /// With six thousand rooms the first ones are back long before the last one.
    @Test func gapIsToldBeforeAnyMessageThatIsPublishedBehindIt() throws {
        let rig = try Rig("--gap-notice", "on")
        let rooms = (0..<6_000).map { "r\($0)" }
        rig.scenario.step(
            "all rooms", until: { rig.received[0].count { $0.hasPrefix("subscribed") } == rooms.count }
        ) {
            for room in rooms { rig.join(room, worker: 0) }
        }
        let publishing = try Publishing(to: rig.server.url, rooms: rooms)
        defer { publishing.stop() }
        rig.scenario.step(
            "the publisher is at work", until: { rig.received[0].last?.hasSuffix(": 1") == true }
        ) {
            publishing.start()
        }
        // On a busy machine the publisher may sleep all the while; then it is done again.
        var rounds = 0
        func cut() throws {
            try rig.server.command("CLIENT", "KILL", "TYPE", "pubsub")
            rounds += 1
        }
        func heldCount() -> Int {
            guard let gap = rig.received[0].lastIndex(of: "gap true") else { return 0 }
            return rig.received[0][gap...].prefix { $0 != "restored" }.count { $0.hasSuffix(": 1") }
        }
        rig.scenario.step(
            "something was published while rooms were coming back",
            until: {
                guard rig.received[0].count(where: { $0 == "restored" }) == 1 + rounds else { return false }
                if heldCount() > 0 { return true }
                try cut()
                return false
            }, cut)
        rig.scenario.step("the publisher goes on", until: { rig.received[0].last?.hasSuffix(": 1") == true })
        try rig.run()
        for part in rig.received[0].split(separator: "lost").dropFirst() {
            let gap = try #require(part.firstIndex(of: "gap true"))
            #expect(
                !part[..<gap].contains { $0.hasSuffix(": 1") },
                "what is published behind a gap comes behind it")
        }
        #expect(rig.node.metrics.feeds[0].gaps.value == rounds)
    }

    @Test func nobodyIsToldOfAGapUnlessItIsAskedFor() throws {
        let rig = try Rig()
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("restored", count: 2) { try rig.server.command("CLIENT", "KILL", "TYPE", "pubsub") }
        try rig.run()
        #expect(!rig.received[0].contains("gap true"))
        #expect(rig.node.metrics.feeds[0].gaps.value == 1)
        #expect(rig.node.metrics.feeds[0].gapMilliseconds.value >= 1)
    }

    /// A worker that is far behind misses messages until it has caught up; where they are missing stands the
    /// word of it, whether or not clients hear of gaps, and the other worker gets everything.
    @Test(arguments: [true, false]) func messagesThatAreDroppedForAWorkerAreAGap(isTold: Bool) throws {
        let rig = try Rig("--gap-notice", isTold ? "on" : "off")
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        rig.await("subscribed b") { rig.join("b", worker: 0) }
        rig.await("subscribed c") { rig.join("c", worker: 0) }
        rig.await("subscribed b", worker: 1) { rig.join("b", worker: 1) }
        let backlog = rig.node.backlogs[0]
        rig.await("c: 1") { try rig.server.command("PUBLISH", "room:c", "1") }
        rig.await("b: 3", worker: 1) {
            backlog.add(Limits.workerBacklogBytes + 1_000)
            for (room, text) in [("a", "2"), ("b", "3")] {
                try rig.server.command("PUBLISH", "room:\(room)", text)
            }
        }
        // Not before it has caught up well: else there would be a notice for every few messages.
        rig.await("b: 4", worker: 1) {
            backlog.subtract(Limits.workerBacklogBytes / 4)
            try rig.server.command("PUBLISH", "room:b", "4")
        }
        // No message is needed to end it.
        rig.scenario.step("the gap is counted", until: { rig.node.metrics.feeds[0].gaps.value == 1 }) {
            backlog.subtract(Limits.workerBacklogBytes / 2)
        }
        rig.await("b: 5") { try rig.server.command("PUBLISH", "room:b", "5") }
        rig.await("b: 5", worker: 1)
        try rig.run()
        let told = rig.received.map { $0.filter { $0.contains(": ") || $0.hasPrefix("missing") } }
        #expect(told[0] == ["c: 1", "missing [\"a\", \"b\"] true", "b: 5"])
        #expect(told[1] == ["b: 3", "b: 4", "b: 5"])
        #expect(rig.node.metrics.feeds[0].messagesShed.value == 3)
        #expect(rig.node.metrics.feeds[0].gapMilliseconds.value >= 1)
    }

    @Test func roomIsLeftWhenItsGraceIsOver() throws {
        let rig = try Rig("--unsubscribe-grace", "0s")
        rig.await("subscribed a") { rig.join("a", worker: 0) }
        let nobody = Reply.array([.bytes(Array("room:a".utf8)), .integer(0)])
        rig.scenario.step(
            "the room is left",
            until: {
                try rig.server.command("PUBSUB", "NUMSUB", "room:a") == nobody
            }
        ) { rig.node.feedMailboxes[0].post(.leave(room: RoomId("a")!, worker: 0)) }
        rig.await("subscribed a", count: 2) { rig.join("a", worker: 0) }
        try rig.run()
        #expect(rig.received[0].filter { $0 == "lost" } == [])
    }
}
