import EventLoop
import Synchronization
import TestSupport
import Testing

@testable import Redis

/// A node that says what a test wants, and what has been asked of it.
final class FakeNode: Sendable {
    private let server: FakeRedis
    let asked: Commands

    final class Commands: Sendable {
        private let list = Mutex<[String]>([])
        var all: [String] { list.withLock { $0 } }
        func add(_ command: String) { list.withLock { $0.append(command) } }
    }

    /// - Parameter answer: to a command; nil for what every node says: `CLUSTER SLOTS` has an answer of its own.
    init(slots: @escaping @Sendable () -> String, _ answer: @escaping @Sendable ([String]) -> String?) throws
    {
        let asked = Commands()
        self.asked = asked
        server = try FakeRedis { connection in
            while let command = try connection.command() {
                if let text = answer(command) {
                    asked.add(command.joined(separator: " "))
                    connection.send(text)
                    continue
                }
                switch command[0] {
                case "PING": connection.send("+PONG\r\n")
                case "INFO": connection.send("$11\r\nrun_id:ab\r\n\r\n")
                case "EVAL": connection.send(":1\r\n")
                case "CLUSTER": connection.send(slots())
                default: connection.send("+OK\r\n")
                }
            }
        }
    }

    var port: Int { server.port }
    var address: RedisURL.Address { .tcp(host: "127.0.0.1", port: port) }
}

/// What nodes say of their slots; given when all ports are known.
final class Slots: Sendable {
    private let rows = Mutex<[(ClosedRange<Int>, Int)]>([])

    func set(_ rows: [(ClosedRange<Int>, Int)]) { self.rows.withLock { $0 = rows } }

    var text: String {
        rows.withLock { rows in
            "*\(rows.count)\r\n"
                + rows.map {
                    "*3\r\n:\($0.lowerBound)\r\n:\($0.upperBound)\r\n*2\r\n$9\r\n127.0.0.1\r\n:\($1)\r\n"
                }.joined()
        }
    }
}

private final class Rig {
    let scenario: Scenario
    let cluster: ClusterConnection
    var replies: [String] = []
    var redirections: [ClusterConnection.RedirectionKind] = []
    var troubles: [String] = []
    var promoted: [Set<RedisURL.Address>] = []

    init(_ url: String, timeout: Duration = .seconds(5)) throws {
        scenario = try Scenario()
        cluster = ClusterConnection(
            url: try RedisURL(url), clientName: "rig", timeout: timeout, silenceTimeout: .seconds(30),
            loop: scenario.loop)
        cluster.onRedirection = { [unowned self] in self.redirections.append($0) }
        cluster.onTrouble = { [unowned self] in self.troubles.append($0) }
        cluster.onMap = { [unowned self] in self.promoted.append($0) }
    }

    deinit { cluster.stop() }

    func send(_ arguments: String...) {
        cluster.send(RedisCommand(arguments.map { [UInt8]($0) })) { [unowned self] result in
            self.replies.append(result.words)
        }
    }

    func start() {
        scenario.step("all masters are up", until: { [unowned self] in self.isUp }) { [unowned self] in
            self.cluster.start()
        }
    }

    var isUp: Bool { !cluster.masters.isEmpty && cluster.masters.allSatisfy(\.isUp) }

    func await(_ count: Int, _ action: @escaping () throws -> Void = {}) {
        scenario.step("\(count) replies", until: { [unowned self] in self.replies.count >= count }, action)
    }
}

@Suite(.serialized) struct ClusterConnectionTests {
    /// `foo` is in slot 12,182.
    private static let slot = 12_182

    /// Two nodes, of which the first has the slots up to 12,000 + `extra`.
    private func twoNodes(
        _ first: @escaping @Sendable ([String]) -> String?,
        _ second: @escaping @Sendable ([String]) -> String?,
        firstHasAll: Bool = true
    ) throws -> (FakeNode, FakeNode, Slots) {
        let slots = Slots()
        let a = try FakeNode(slots: { slots.text }, first)
        let b = try FakeNode(slots: { slots.text }, second)
        slots.set([
            (0...(firstHasAll ? 16_382 : 8_000), a.port), ((firstHasAll ? 16_383 : 8_001)...16_383, b.port),
        ])
        return (a, b, slots)
    }

    private static func name(_ command: [String], _ text: String) -> String? {
        command[0] == "GET" ? text : nil
    }

    @Test func commandGoesToTheMasterOfItsKey() throws {
        let (a, b, _) = try twoNodes(
            { Self.name($0, "+first\r\n") }, { Self.name($0, "+second\r\n") }, firstHasAll: false)
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(2) {
            rig.send("GET", "foo")
            rig.send("GET", "bar")
        }
        try rig.scenario.run()
        #expect(rig.replies.sorted() == ["first", "second"] && rig.redirections.isEmpty)
        #expect(b.asked.all == ["GET foo"] && a.asked.all == ["GET bar"])
    }

    @Test func movedSlotIsFollowedAndRemembered() throws {
        let port = Mutex(0)
        let (a, b, slots) = try twoNodes(
            { Self.name($0, "-MOVED \(Self.slot) 127.0.0.1:\(port.withLock { $0 })\r\n") },
            { Self.name($0, "+second\r\n") })
        port.withLock { $0 = b.port }
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(1) {
            slots.set([(0...12_181, a.port), (12_182...16_383, b.port)])
            rig.send("GET", "foo")
        }
        rig.await(2) { rig.send("GET", "foo") }
        try rig.scenario.run()
        #expect(rig.replies == ["second", "second"] && rig.redirections == [.moved])
        #expect(a.asked.all == ["GET foo"] && b.asked.all == ["GET foo", "GET foo"])
        // Its keys came along: the master that had it is there.
        #expect(rig.promoted.allSatisfy { $0.isEmpty })
    }

    @Test func askIsFollowedOnceBehindAsking() throws {
        let port = Mutex(0)
        let (a, b, _) = try twoNodes(
            { Self.name($0, "-ASK \(Self.slot) 127.0.0.1:\(port.withLock { $0 })\r\n") },
            { $0[0] == "ASKING" ? "+OK\r\n" : Self.name($0, "+second\r\n") })
        port.withLock { $0 = b.port }
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(1) { rig.send("GET", "foo") }
        rig.await(2) { rig.send("GET", "foo") }
        try rig.scenario.run()
        #expect(rig.replies == ["second", "second"] && rig.redirections == [.ask, .ask])
        #expect(
            a.asked.all == ["GET foo", "GET foo"]
                && b.asked.all == ["ASKING", "GET foo", "ASKING", "GET foo"])
    }

    @Test func tryAgainIsTriedAgain() throws {
        let count = Mutex(0)
        let (a, b, _) = try twoNodes(
            { command in
                guard command[0] == "GET" else { return nil }
                let isFirst = count.withLock { count in
                    count += 1
                    return count == 1
                }
                return isFirst
                    ? "-TRYAGAIN Multiple keys request during rehashing of slot\r\n" : "+first\r\n"
            }, { _ in nil })
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(1) { rig.send("GET", "foo") }
        try rig.scenario.run()
        #expect(rig.replies == ["first"] && rig.redirections == [.tryagain])
        #expect(a.asked.all.count == 2 && b.asked.all.isEmpty)
    }

    @Test func nodesThatSendACommandRoundInCirclesEndItsWay() throws {
        let ports = Mutex((0, 0))
        let (a, b, _) = try twoNodes(
            { Self.name($0, "-MOVED \(Self.slot) 127.0.0.1:\(ports.withLock { $0.1 })\r\n") },
            { Self.name($0, "-MOVED \(Self.slot) 127.0.0.1:\(ports.withLock { $0.0 })\r\n") })
        ports.withLock { $0 = (a.port, b.port) }
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(1) { rig.send("GET", "foo") }
        try rig.scenario.run()
        #expect(rig.replies.count == 1 && rig.replies[0].hasPrefix("unavailable: sent round in the cluster"))
        #expect(a.asked.all.count == 3 && b.asked.all.count == 3)
    }

    @Test func answerOfAClusterThatIsDownIsPassedOn() throws {
        let isDown = Mutex(true)
        let (a, b, _) = try twoNodes(
            {
                Self.name(
                    $0, isDown.withLock { $0 } ? "-CLUSTERDOWN Hash slot not served\r\n" : "+first\r\n")
            }, { _ in nil })
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(1) {
            rig.send("GET", "foo")
        }
        rig.await(2) {
            isDown.withLock { $0 = false }
            rig.send("GET", "foo")
        }
        try rig.scenario.run()
        #expect(rig.replies == ["refused: CLUSTERDOWN Hash slot not served", "first"])
        #expect(b.asked.all.isEmpty)
    }

    @Test func everySeedIsAskedAndSaysWhatIsWrong() throws {
        let noCluster = try RedisServer()
        let rig = try Rig("cluster://127.0.0.1:1,127.0.0.1:\(noCluster.port)")
        rig.scenario.step("trouble", until: { !rig.troubles.isEmpty }) { rig.cluster.start() }
        rig.await(1) { rig.send("GET", "foo") }
        try rig.scenario.run()
        #expect(rig.troubles[0].contains("127.0.0.1:1: ") && rig.troubles[0].contains("refused"))
        #expect(
            rig.troubles[0].contains(
                "127.0.0.1:\(noCluster.port): ERR This instance has cluster support disabled"))
        #expect(rig.replies == ["unavailable: no map of the cluster"])
    }

    @Test func secondSeedTellsTheMap() throws {
        let (a, b, _) = try twoNodes({ Self.name($0, "+first\r\n") }, { _ in nil })
        let rig = try Rig("cluster://127.0.0.1:1,127.0.0.1:\(a.port)")
        rig.start()
        rig.await(1) { rig.send("GET", "foo") }
        try rig.scenario.run()
        #expect(rig.replies == ["first"] && b.asked.all.isEmpty)
    }

    /// The master that had the slots is away when another one has them: what it had written last may be missing there.
    @Test func masterThatTakesOverFromALostOneWasPromoted() throws {
        let slots = Slots()
        let b = try FakeNode(slots: { slots.text }) { _ in nil }
        var a: RedisServer? = try RedisServer()
        let port = try #require(a).port
        slots.set([(0...100, port), (101...16_383, b.port)])
        let rig = try Rig("cluster://127.0.0.1:\(b.port)")
        rig.start()
        rig.scenario.step("the first master is lost", until: { rig.cluster.lane(of: 7)?.isUp == false }) {
            a?.stop()
            a = nil
        }
        rig.scenario.step("another one has its slots", until: { rig.promoted.count == 2 }) {
            slots.set([(0...16_383, b.port)])
        }
        try rig.scenario.run()
        #expect(rig.promoted == [[], [b.address]])
    }

    /// Not with the next map, half a minute later.
    @Test(arguments: [true, false])
    func idleLaneEndsWithTheMapThatRetiresIt(isIdle: Bool) throws {
        let (a, b, slots) = try twoNodes({ _ in nil }, { _ in nil }, firstHasAll: false)
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.cluster.idleTime = isIdle ? .zero : .seconds(60)
        rig.start()
        rig.scenario.step("the new map", until: { rig.promoted.count == 2 }) {
            slots.set([(0...16_383, a.port)])
            rig.cluster.renewMap { _ in }
        }
        try rig.scenario.run()
        #expect(rig.cluster.lane(at: a.address)?.isUp == true)
        #expect((rig.cluster.lane(at: b.address) == nil) == isIdle)
    }

    @Test func commandWithoutAKeyGoesToMastersInTurn() throws {
        let answer: @Sendable ([String]) -> String? = { $0[0] == "PUBLISH" ? ":0\r\n" : nil }
        let (a, b, _) = try twoNodes(answer, answer)
        let rig = try Rig("cluster://127.0.0.1:\(a.port)")
        rig.start()
        rig.await(4) { for _ in 0..<4 { rig.send("PUBLISH", "room:a", "x") } }
        try rig.scenario.run()
        #expect(a.asked.all.count == 2 && b.asked.all.count == 2)
    }
}
