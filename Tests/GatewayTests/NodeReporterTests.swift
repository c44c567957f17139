import EventLoop
import Notices
import Redis
import TestSupport
import Testing

@testable import Gateway

/// A worker whose reporter and lister work on a real Redis.
private final class Rig {
    let server: RedisServer
    let worker: WorkerRig
    let reporter: NodeReporter
    let lister: RoomLister
    private let subscriber: RedisSubscriber
    private(set) var answers: [RoomListMessage] = []
    private(set) var answerBytes: [Int] = []
    private var isUp = false

    var scenario: Scenario { worker.scenario }

    init(index: Int = 0) throws {
        let server = try RedisServer()
        self.server = server
        worker = try WorkerRig("--redis", "redis://127.0.0.1:\(server.port)", "--prefix", "p:")
        let table = worker.worker.rooms
        let registry = worker.worker.registry
        reporter = NodeReporter(
            worker: index, node: worker.node, registry: registry, rooms: table, address: "[::1]:80",
            loop: worker.scenario.loop)
        lister = RoomLister(
            worker: index, configuration: worker.node.configuration, registry: registry, rooms: table,
            loop: worker.scenario.loop)
        subscriber = RedisSubscriber(
            url: try server.url, clientName: "rig", anchor: [UInt8]("p:gateway:reply:r1"),
            silenceTimeout: .seconds(10), loop: worker.scenario.loop)
        subscriber.onMessage = { [unowned self] in self.take(Array($1)) }
        registry.onUp = { [unowned self] _ in self.isUp = true }
        scenario.step("redis is up", until: { [unowned self] in self.isUp && self.subscriber.isUp }) {
            [unowned self] in
            self.worker.worker.registry.start()
            self.subscriber.start()
        }
    }

    deinit { subscriber.stop() }

    private func take(_ payload: [UInt8]) {
        answerBytes.append(payload.count)
        if let message = RoomListMessage(payload) { answers.append(message) }
    }

    func hash() throws -> [[UInt8]] {
        guard case .array(let reply) = try server.command("HGETALL", "p:node:n1") else { return [] }
        return reply.compactMap { if case .bytes(let bytes) = $0 { bytes } else { nil } }
    }

    func report() throws -> NodeReport? { NodeReport(id: "n1", hash: try hash()) }

    var ends: Int { answers.count { if case .end = $0 { true } else { false } } }

    /// Rooms of one member each, more cheaply than by clients with sockets.
    func enter(_ count: Int) throws {
        let peer = try worker.connect("seat")
        for number in 0..<count {
            let pending = worker.worker.rooms.prepare([try #require(RoomId("room-\(number)"))])
            pending.rooms[0].pendingCount = 0
            _ = pending.rooms[0].add(peer.client)
        }
    }
}

@Suite(.serialized) struct NodeReporterTests {
    @Test func nodeTellsItsTotalsAndItsRooms() throws {
        let rig = try Rig()
        _ = try rig.worker.connect("a", "b")
        _ = try rig.worker.connect("b")
        rig.worker.node.metrics.workers[0].close(.goingAway)
        rig.worker.node.metrics.workers[0].reject(.missingRoom)
        rig.worker.node.metrics.workers[0].reject(.tokenError)
        rig.worker.node.metrics.workers[0].publishToFlush.record(nanoseconds: 200_000)
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) { rig.reporter.report() }
        try rig.scenario.run()
        let report = try #require(try rig.report())
        #expect(report.address == "[::1]:80")
        #expect(report.version == Roomcast.version)
        #expect(abs(report.startedAt - WallClock.unixMilliseconds) < 60_000)
        #expect(report.connections == 2)
        #expect(report.connectionsLimit == 1_000)
        #expect(report.rejected == 2)
        #expect(report.closes == [.init(reason: "1001", count: 1)])
        #expect(report.publishToFlush.count == NodeReport.publishToFlushBounds.count + 1)
        #expect(report.publishToFlush.prefix(3) == [0, 1, 1])
        #expect(report.memoryBytes > 1 << 20)
        #expect(!report.isReady)
        #expect(report.topRooms.map { "\($0.room) \($0.count)" } == ["b 2", "a 1"])
        #expect(try rig.server.command("SISMEMBER", "p:nodes", "n1") == .integer(1))
        guard case .integer(let life) = try rig.server.command("TTL", "p:node:n1") else {
            Issue.record("TTL is no number")
            return
        }
        #expect((NodeReport.lifeSeconds - 2...NodeReport.lifeSeconds).contains(life))
    }

    @Test func otherWorkersTellTheirRoomsOnly() throws {
        let rig = try Rig(index: 3)
        _ = try rig.worker.connect("a")
        rig.scenario.step("the rooms are there", until: { try !rig.hash().isEmpty }) { rig.reporter.report() }
        try rig.scenario.run()
        #expect(try rig.hash() == ["rooms:3", "a\t1\n"].map { Array($0.utf8) })
        #expect(try rig.server.command("EXISTS", "p:nodes") == .integer(0))
        guard case .integer(let life) = try rig.server.command("TTL", "p:node:n1") else {
            Issue.record("TTL is no number")
            return
        }
        #expect(life > 0, "a key without a life would stay for ever")
    }

    @Test func onlyTheLargestRoomsAreTold() throws {
        let rig = try Rig()
        try rig.enter(RoomWalk.sliceCount * 2 + 1)
        _ = try rig.worker.connect("room-7", "room-2000")
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) { rig.reporter.report() }
        try rig.scenario.run()
        let rooms = try #require(try rig.report()).topRooms
        #expect(rooms.count == NodeReport.topRoomCount)
        #expect(rooms.prefix(2).map { "\($0.room) \($0.count)" } == ["room-2000 2", "room-7 2"])
        #expect(rooms.dropFirst(2).allSatisfy { $0.count == 1 })
    }

    @Test func idsOfNodesThatAreGoneLeaveTheIndex() throws {
        let rig = try Rig()
        rig.scenario.step("the gone are gone", until: {
            try rig.server.command("SMEMBERS", "p:nodes") == .array([.bytes(Array("alive".utf8))])
        }) {
            try rig.server.command("SADD", "p:nodes", "alive", "gone", "gone-2")
            try rig.server.command("HSET", "p:node:alive", "uptime", "1")
            rig.reporter.sweep()
        }
        try rig.scenario.run()
    }

    @Test func nodeThatEndsLeavesNothing() throws {
        let rig = try Rig()
        var hasLeft = false
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) { rig.reporter.report() }
        rig.scenario.step("the node has left", until: { hasLeft }) { rig.reporter.leave { hasLeft = true } }
        try rig.scenario.run()
        #expect(try rig.server.command("KEYS", "p:node*") == .array([]))
    }

    @Test func nodeLeavesAlsoWithoutRedis() throws {
        let rig = try Rig()
        var hasLeft = false
        rig.scenario.step("the node has left", until: { hasLeft }) {
            rig.server.stop()
            rig.reporter.leave { hasLeft = true }
        }
        try rig.scenario.run()
    }
}

@Suite(.serialized) struct RoomListerTests {
    @Test func allRoomsComeInChunksAndThenTheEnd() throws {
        let rig = try Rig()
        let count = 20_000
        try rig.enter(count)
        rig.scenario.step("the end", until: { rig.ends == 1 }) { rig.lister.list(reply: ReplyId("r1")!) }
        try rig.scenario.run()
        #expect(rig.answers.last == .end(worker: 0, workerCount: 1, roomCount: count + 1))
        #expect(rig.answerBytes.allSatisfy { $0 <= RoomListMessage.maximumChunkBytes })
        #expect(rig.answers.count > 2)
        var names: Set<String> = []
        for case .rooms(worker: 0, let rooms) in rig.answers {
            names.formUnion(rooms.map { "\($0.room) \($0.count)" })
        }
        #expect(names.count == count + 1)
        #expect(names.contains("room-19999 1"))
        #expect(try rig.server.command("DBSIZE") == .integer(0), "nothing is left in Redis")
    }

    /// The same question twice is one, the others wait for it, and when all is answered there is room for more.
    @Test func questionsAreAnsweredOneAfterTheOther() throws {
        let rig = try Rig()
        try rig.enter(RoomWalk.sliceCount + 1)
        rig.scenario.step("the first end", until: { rig.ends == 1 }) {
            for _ in 0..<2 { rig.lister.list(reply: ReplyId("r1")!) }
            for number in 1...RoomLister.maximumWaitingCount { rig.lister.list(reply: ReplyId("other-\(number)")!) }
        }
        rig.scenario.step("an end of all", until: { rig.lister.waitingCount == 0 })
        rig.scenario.step("the second end", until: { rig.ends == 2 }) { rig.lister.list(reply: ReplyId("r1")!) }
        try rig.scenario.run()
        #expect(rig.answers.count == 4, "two chunks and two ends")
    }

    @Test func whoAsksTooMuchIsNotAnswered() throws {
        let rig = try Rig()
        try rig.enter(RoomWalk.sliceCount + 1)
        rig.scenario.then {
            for number in 1...RoomLister.maximumWaitingCount { rig.lister.list(reply: ReplyId("other-\(number)")!) }
            rig.lister.list(reply: ReplyId("r1")!)
        }
        rig.scenario.step("an end of all", until: { rig.lister.waitingCount == 0 })
        rig.scenario.step("an end", until: { rig.ends == 1 }) { rig.lister.list(reply: ReplyId("r1")!) }
        try rig.scenario.run()
        #expect(rig.answers.count == 2, "the first question was dropped")
    }
}
