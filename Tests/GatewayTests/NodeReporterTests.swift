import EventLoop
import RedisSchema
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

    init(index: Int = 0, sharingMemory: Duration = .zero) throws {
        let server = try RedisServer()
        self.server = server
        worker = try WorkerRig("--redis", "redis://127.0.0.1:\(server.port)", "--prefix", "p:")
        let table = worker.worker.rooms
        let registry = worker.worker.registry
        reporter = NodeReporter(
            worker: index, node: worker.node, registry: registry, rooms: table, address: "[::1]:80",
            sharingMemory: sharingMemory, loop: worker.scenario.loop)
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

    func waitForReport(by reporter: NodeReporter? = nil, after action: @escaping () throws -> Void = {}) {
        var isOver = false
        scenario.step("a report", until: { isOver }) { [unowned self] in
            try action()
            (reporter ?? self.reporter).report()
            self.worker.worker.registry.afterCommandsSent { isOver = true }
        }
    }

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
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) {
            rig.reporter.report()
        }
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
        #expect(try rig.server.command("SISMEMBER", "p:roomcast:nodes", "n1") == .integer(1))
        guard case .integer(let life) = try rig.server.command("TTL", "p:node:n1") else {
            Issue.record("TTL is no number")
            return
        }
        #expect((NodeReport.lifeSeconds - 2...NodeReport.lifeSeconds).contains(life))
    }

    @Test func otherWorkersTellTheirRoomsOnly() throws {
        let rig = try Rig(index: 3)
        _ = try rig.worker.connect("a")
        rig.scenario.step("the rooms are there", until: { try !rig.hash().isEmpty }) {
            rig.reporter.report()
        }
        try rig.scenario.run()
        #expect(try rig.hash() == ["rooms:3", "a\t1\n"].map { Array($0.utf8) })
        #expect(try rig.server.command("EXISTS", "p:roomcast:nodes") == .integer(0))
        guard case .integer(let life) = try rig.server.command("TTL", "p:node:n1") else {
            Issue.record("TTL is no number")
            return
        }
        #expect(life > 0, "a key without a life would stay for ever")
    }

    @Test func onlyTheLargestRoomsAreTold() throws {
        let rig = try Rig()
        try rig.enter(Limits.roomSliceCount * 2 + 1)
        _ = try rig.worker.connect("room-7", "room-2000")
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) {
            rig.reporter.report()
        }
        try rig.scenario.run()
        let rooms = try #require(try rig.report()).topRooms
        #expect(rooms.count == NodeReport.topRoomCount)
        #expect(rooms.prefix(2).map { "\($0.room) \($0.count)" } == ["room-2000 2", "room-7 2"])
        #expect(rooms.dropFirst(2).allSatisfy { $0.count == 1 })
    }

    @Test func idsOfNodesThatAreGoneLeaveTheIndex() throws {
        let rig = try Rig()
        rig.scenario.step(
            "the gone are gone",
            until: {
                try rig.server.command("SMEMBERS", "p:roomcast:nodes")
                    == .array([.bytes(Array("alive".utf8))])
            }
        ) {
            try rig.server.command("SADD", "p:roomcast:nodes", "alive", "gone", "gone-2")
            try rig.server.command("HSET", "p:node:alive", "uptime", "1")
            rig.reporter.sweep()
        }
        try rig.scenario.run()
    }

    /// What no gateway has put in stays: a name that no node can have, and a set that is none.
    @Test func foreignMembersOfTheIndexStay() throws {
        let rig = try Rig()
        let foreign = ["order:17", "two words", "", String(repeating: "x", count: 65), "ü"]
        rig.scenario.step(
            "the gone is gone",
            until: {
                try rig.server.command("SISMEMBER", "p:roomcast:nodes", "gone") == .integer(0)
            }
        ) {
            try rig.server.command(
                bytes: (["SADD", "p:roomcast:nodes", "gone"] + foreign).map { Array($0.utf8) })
            rig.reporter.sweep()
        }
        rig.scenario.step(
            "nothing else is",
            until: {
                try rig.server.command("EXISTS", "p:node:n1") == .integer(1)
            }
        ) { rig.reporter.report() }
        try rig.scenario.run()
        #expect(try rig.server.command("SCARD", "p:roomcast:nodes") == .integer(Int64(foreign.count) + 1))
    }

    /// A key of another program with the name of a report is neither written, nor given a life, nor deleted.
    @Test(arguments: [["HSET", "p:node:n1", "name", "theirs"], ["SET", "p:node:n1", "theirs"]])
    func foreignKeyIsNoReport(command: [String]) throws {
        let rig = try Rig()
        var isOver = false
        rig.scenario.step("the report is refused", until: { isOver }) {
            try rig.server.command(bytes: command.map { Array($0.utf8) })
            rig.reporter.report()
            rig.worker.worker.registry.afterCommandsSent { isOver = true }
        }
        var hasLeft = false
        rig.scenario.step("the node has left", until: { hasLeft }) { rig.reporter.leave { hasLeft = true } }
        try rig.scenario.run()
        #expect(try rig.server.command("PTTL", "p:node:n1") == .integer(-1))
        let type = command[0] == "SET" ? "string" : "hash"
        #expect(try rig.server.command("TYPE", "p:node:n1") == .bytes(Array(type.utf8)))
        if type == "hash" { #expect(try rig.server.command("HLEN", "p:node:n1") == .integer(1)) }
        #expect(rig.worker.worker.registry.writes.refusal == nil, "one key says nothing of the others")
    }

    /// A report that Redis has no memory for must not live on as if it were new.
    @Test func reportThatIsNotTakenRunsOut() throws {
        let rig = try Rig()
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) {
            rig.reporter.report()
        }
        var isOver = false
        rig.scenario.step("the next is refused", until: { isOver }) {
            try rig.server.command("EXPIRE", "p:node:n1", "100")
            try rig.server.command("CONFIG", "SET", "maxmemory", "1")
            rig.reporter.report()
            rig.worker.worker.registry.afterCommandsSent { isOver = true }
        }
        try rig.scenario.run()
        guard case .integer(let life) = try rig.server.command("TTL", "p:node:n1") else { return }
        #expect(life > NodeReport.lifeSeconds, "nobody has given it a life since")
        #expect(rig.worker.worker.registry.writes.refusal?.hasPrefix("OOM") == true)
    }

    /// The report of a node that was killed is no other node; one that is written between two of ours is.
    @Test func anotherNodeWithTheSameIdIsNoticed() throws {
        let rig = try Rig()
        let state = rig.worker.node.state
        func report(after action: @escaping () throws -> Void = {}) { rig.waitForReport(after: action) }
        report { try rig.server.command("HSET", "p:node:n1", "run", "before", "uptime", "1") }
        rig.scenario.then { #expect(!state.isNodeIDShared) }
        report()
        rig.scenario.then { #expect(!state.isNodeIDShared) }
        report { try rig.server.command("HSET", "p:node:n1", "run", "other", "uptime", "1") }
        rig.scenario.then { #expect(state.isNodeIDShared) }
        report()
        rig.scenario.then { #expect(!state.isNodeIDShared) }
        var hasLeft = false
        rig.scenario.step("the node has left", until: { hasLeft }) {
            try rig.server.command("HSET", "p:node:n1", "run", "other")
            rig.reporter.leave { hasLeft = true }
        }
        try rig.scenario.run()
        #expect(try rig.server.command("EXISTS", "p:node:n1") == .integer(1), "the other's report stays")
        #expect(try rig.server.command("SISMEMBER", "p:roomcast:nodes", "n1") == .integer(1))
    }

    /// Nodes that start together report together, each with all its workers.
    @Test func anotherNodeIsNoticedWhicheverOfOurWorkersReportsNext() throws {
        let rig = try Rig()
        let (state, worker) = (rig.worker.node.state, rig.worker.worker)
        let second = NodeReporter(
            worker: 1, node: rig.worker.node, registry: worker.registry, rooms: worker.rooms, address: "",
            loop: rig.scenario.loop)
        rig.waitForReport()
        rig.waitForReport(by: second) {
            try rig.server.command("HSET", "p:node:n1", "run", "other", "uptime", "1")
        }
        rig.waitForReport()
        rig.scenario.then { #expect(state.isNodeIDShared) }
        try rig.scenario.run()
    }

    @Test func anotherNodeIsRememberedForAWhile() throws {
        let rig = try Rig(sharingMemory: .seconds(3_600))
        let state = rig.worker.node.state
        rig.waitForReport()
        rig.waitForReport { try rig.server.command("HSET", "p:node:n1", "run", "other", "uptime", "1") }
        rig.waitForReport()
        rig.scenario.then { #expect(state.isNodeIDShared) }
        try rig.scenario.run()
    }

    @Test func nodeThatEndsLeavesNothing() throws {
        let rig = try Rig()
        var hasLeft = false
        rig.scenario.step("the report is there", until: { try rig.report() != nil }) {
            rig.reporter.report()
        }
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
        #expect(
            try rig.server.command("KEYS", "*") == .array([.bytes(Array("p:epoch".utf8))]),
            "nothing is left in Redis of it")
    }

    /// The same question twice is one, the others wait for it, and when all is answered there is room for
    /// more.
    @Test func questionsAreAnsweredOneAfterTheOther() throws {
        let rig = try Rig()
        try rig.enter(Limits.roomSliceCount + 1)
        rig.scenario.step("the first end", until: { rig.ends == 1 }) {
            for _ in 0..<2 { rig.lister.list(reply: ReplyId("r1")!) }
            for number in 1...Limits.roomListWaitingCount {
                rig.lister.list(reply: ReplyId("other-\(number)")!)
            }
        }
        rig.scenario.step("an end of all", until: { rig.lister.waitingCount == 0 })
        rig.scenario.step("the second end", until: { rig.ends == 2 }) {
            rig.lister.list(reply: ReplyId("r1")!)
        }
        try rig.scenario.run()
        #expect(rig.answers.count == 4, "two chunks and two ends")
    }

    @Test func whoAsksTooMuchIsNotAnswered() throws {
        let rig = try Rig()
        try rig.enter(Limits.roomSliceCount + 1)
        rig.scenario.then {
            for number in 1...Limits.roomListWaitingCount {
                rig.lister.list(reply: ReplyId("other-\(number)")!)
            }
            rig.lister.list(reply: ReplyId("r1")!)
        }
        rig.scenario.step("an end of all", until: { rig.lister.waitingCount == 0 })
        rig.scenario.step("an end", until: { rig.ends == 1 }) { rig.lister.list(reply: ReplyId("r1")!) }
        try rig.scenario.run()
        #expect(rig.answers.count == 2, "the first question was dropped")
    }
}
