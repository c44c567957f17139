import EventLoop
import Glibc
import Notices
import Options
import Redis
import TestSupport
import Testing

@testable import Gateway

/// A worker's registry on a real Redis.
private final class Rig {
    let server: RedisServer
    let scenario: Scenario
    let worker: Worker
    let token = Token("AAAAbbbbCCCCdddd0000-_-_")!
    var outcomes: [String] = []
    private(set) var upCount = 0

    var registry: ClientRegistry { worker.registry }
    var key: String { "client:\(token.text)" }

    init() throws {
        server = try RedisServer()
        scenario = try Scenario()
        let configuration = try configuration([
            "--redis", "redis://127.0.0.1:\(server.port)", "--node-id", "n1", "--workers", "1",
            "--token-ttl", "60s",
        ])
        let state = NodeState(workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        let log = Log(level: .error, format: .text, nodeID: "n1")
        let node = NodeContext(configuration: configuration, log: log, state: state)
        worker = Worker(index: 0, node: node, loop: scenario.loop)
        registry.onUp = { [unowned self] _ in self.upCount += 1 }
        up(count: 1) { [unowned self] in self.registry.start() }
    }

    deinit { registry.stop() }

    func up(count: Int, _ action: @escaping () throws -> Void) {
        scenario.step("redis is up", until: { [unowned self] in self.upCount == count }, action)
    }

    /// Does something that has one outcome, and waits for it.
    func ask(_ action: @escaping (Rig) throws -> Void) {
        var before = 0
        let isThere = { [unowned self] in self.outcomes.count > before }
        scenario.step("an outcome", until: isThere) { [unowned self] in
            before = self.outcomes.count
            try action(self)
        }
    }

    func issue(isLogin: Bool = true, identity: String = "me", allowedRooms: String...) {
        let allowedRooms = allowedRooms.compactMap { RoomId($0) }
        ask { rig in
            rig.registry.issue(
                rig.token, identity: Identity(identity)!, isLogin: isLogin, allowedRooms: allowedRooms
            ) { rig.outcomes.append("issued \($0)") }
        }
    }

    func renew(after action: @escaping () throws -> Void = {}) {
        ask { rig in
            try action()
            rig.registry.renew(rig.token) { rig.outcomes.append("\($0)") }
        }
    }

    func attach(
        connection: UInt64 = 7, rooms: [String] = ["a", "b"], after action: @escaping () throws -> Void = {}
    ) {
        ask { rig in
            try action()
            let rooms = rooms.compactMap { RoomId($0) }
            rig.registry.attach(
                rig.token, connectionID: connection, connectedAt: 1_000, address: "192.0.2.1", rooms: rooms
            ) { attachment in
                guard case .attached(let record) = attachment else {
                    return rig.outcomes.append("\(attachment)")
                }
                let rooms = record.allowedRooms.isEmpty ? [] : [String(decoding: record.allowedRooms, as: UTF8.self)]
                let parts = [record.identity, "\(record.isLogin)", "\(record.ttlSeconds)"] + rooms
                rig.outcomes.append(parts.joined(separator: " "))
            }
        }
    }

    func remaining(after action: @escaping () throws -> Void = {}) {
        ask { rig in
            try action()
            rig.registry.remaining(rig.token) { remaining in
                if case .milliseconds(let left) = remaining {
                    rig.outcomes.append((1...60_000).contains(left) ? "some" : "\(left)")
                } else {
                    rig.outcomes.append("\(remaining)")
                }
            }
        }
    }

    /// Confirms the connection 7 of the time 1,000.
    func confirm(
        restoring: Bool = false, allowedRooms: String = "", after action: @escaping () throws -> Void = {}
    ) {
        ask { rig in
            try action()
            var descriptors: [Int32] = [0, 0]
            try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0)
            let client = Client(
                takingOver: Connection(socket: Socket(descriptor: descriptors[0]), host: rig.worker.host),
                worker: rig.worker, token: rig.token,
                connectionID: 7, connectedAt: 1_000, address: IPAddress("192.0.2.1")!,
                record: ClientRecord(
                    identity: "me", isLogin: false, issuedAt: 5, ttlSeconds: 90, allowedRooms: [UInt8](allowedRooms)))
            rig.registry.confirm(client, restoring: restoring) { confirmation in
                rig.outcomes.append(confirmation.map { "\($0)" } ?? "none")
                client.disconnect()
                close(descriptors[1])
            }
        }
    }

    func set(_ fields: String...) throws {
        try server.command(bytes: (["HSET", key] + fields).map { Array($0.utf8) })
    }

    func field(_ name: String) throws -> String? {
        guard case .bytes(let value) = try server.command("HGET", key, name) else { return nil }
        return String(decoding: value, as: UTF8.self)
    }

    func expect(_ name: String, _ value: String) throws {
        let found = try field(name)
        #expect(found == value)
    }

    func expectLife(_ range: ClosedRange<Int64>) throws {
        let seconds = try seconds()
        #expect(range.contains(seconds), "\(seconds) s")
    }

    /// The key's remaining life, to the next second.
    func seconds() throws -> Int64 {
        guard case .integer(let left) = try server.command("PTTL", key) else { return -3 }
        return left < 0 ? left : (left + 999) / 1_000
    }
}

@Suite(.serialized) struct ClientRegistryTests {
    @Test(arguments: [true, false])
    func issuedTokenIsARecordWithALife(isLogin: Bool) throws {
        let rig = try Rig()
        rig.issue(isLogin: isLogin)
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true"])
        #expect(try rig.field("userId") == (isLogin ? "me" : nil))
        #expect(try rig.field("deviceId") == (isLogin ? nil : "me"))
        #expect(try rig.field("isLogin") == "\(isLogin)")
        #expect(try rig.field("ttl") == "60")
        let issuedAt = Int64(try rig.field("issuedAt") ?? "") ?? 0
        #expect(abs(issuedAt - WallClock.unixMilliseconds) < 60_000)
        try rig.expectLife(59...60)
    }

    @Test func heartbeatRenewsByTheTtlOfTheRecord() throws {
        let rig = try Rig()
        rig.issue()
        rig.renew { try rig.server.command("EXPIRE", rig.key, "5") }
        rig.scenario.then { try rig.expectLife(59...60) }
        rig.renew { try rig.set("ttl", "900") }
        rig.scenario.then { try rig.expectLife(899...900) }
        rig.renew { try rig.server.command("HDEL", rig.key, "ttl") }
        try rig.scenario.run()
        #expect((59...60).contains(try rig.seconds()), "a record without one has the node's")
        #expect(rig.outcomes == ["issued true", "renewed", "renewed", "renewed"])
    }

    @Test func unknownDeletedAndExpiredTokensAreNotRenewed() throws {
        let rig = try Rig()
        rig.renew()
        rig.issue()
        rig.renew { try rig.server.command("DEL", rig.key) }
        rig.issue()
        rig.renew { try rig.server.command("PEXPIRE", rig.key, "0") }
        try rig.scenario.run()
        let unknown = "unknownToken"
        #expect(rig.outcomes == [unknown, "issued true", unknown, "issued true", unknown])
        #expect(try rig.seconds() == -2, "a heartbeat makes no record")
    }

    @Test func remainingLifeIsTold() throws {
        let rig = try Rig()
        rig.remaining()
        rig.issue()
        rig.remaining()
        rig.remaining { try rig.server.command("PERSIST", rig.key) }
        try rig.scenario.run()
        #expect(rig.outcomes == ["missing", "issued true", "some", "unlimited"])
    }

    @Test func connectionIsWrittenAndRenewsTheRecord() throws {
        let rig = try Rig()
        rig.attach()
        rig.issue()
        rig.attach {
            try rig.set("ttl", "500")
            try rig.server.command("EXPIRE", rig.key, "5")
        }
        try rig.scenario.run()
        #expect(rig.outcomes == ["unknownToken", "issued true", "me true 500"])
        let fields = try ["node", "ip", "rooms", "connectedAt", "connection", "ttl"].map { try rig.field($0) }
        #expect(fields == ["n1", "192.0.2.1", "a,b", "1000", "7", "500"])
        try rig.expectLife(499...500)
    }

    @Test func takeoverTellsTheNodeOfTheOlderConnection() throws {
        let rig = try Rig()
        var messages: [String] = []
        var isUp = false
        let subscriber = RedisSubscriber(
            url: try rig.server.url, clientName: "test", anchor: [UInt8]("gateway:n0"),
            silenceTimeout: .seconds(10), loop: rig.scenario.loop)
        subscriber.onUp = { isUp = true }
        subscriber.onMessage = { messages.append(String(decoding: $1, as: UTF8.self)) }
        defer { subscriber.stop() }
        rig.scenario.step("the subscriber", until: { isUp }) { subscriber.start() }
        rig.issue(isLogin: false)
        rig.attach(connection: 8) { try rig.set("node", "n0", "connection", "41") }
        rig.scenario.step("the message", until: { !messages.isEmpty })
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "me false 60"])
        #expect(messages == ["replaced \(rig.token.text) 41"])
        #expect(try rig.field("node") == "n1")
        #expect(try rig.field("connection") == "8")
    }

    @Test func boundTokenEntersItsRoomsOnly() throws {
        let rig = try Rig()
        rig.issue(identity: "me 2 too", allowedRooms: "a", "b c", "é")
        rig.scenario.then { try rig.expect("allowedRooms", "a,b c,é") }
        rig.attach(rooms: ["b c", "a"])
        rig.attach(rooms: ["é"])
        for rooms in [["a", "b"], ["b", "a"], ["b"], ["c"], ["x"], ["A"], [".*"], ["%a"]] { rig.attach(rooms: rooms) }
        try rig.scenario.run()
        let bound = "me 2 too true 60 a,b c,é"
        #expect(rig.outcomes == ["issued true", bound, bound] + [String](repeating: "roomNotAllowed", count: 8))
    }

    /// A refused attempt is as if it had not been: no field, no life, no word to the older connection's node.
    @Test func refusedRoomChangesNothing() throws {
        let rig = try Rig()
        var messageCount = 0
        var isUp = false
        let subscriber = RedisSubscriber(
            url: try rig.server.url, clientName: "test", anchor: [UInt8]("gateway:n0"),
            silenceTimeout: .seconds(10), loop: rig.scenario.loop)
        subscriber.onUp = { isUp = true }
        subscriber.onMessage = { _, _ in messageCount += 1 }
        defer { subscriber.stop() }
        rig.scenario.step("the subscriber", until: { isUp }) { subscriber.start() }
        rig.issue(allowedRooms: "a")
        rig.attach(connection: 8, rooms: ["b"]) {
            try rig.set("node", "n0", "connection", "41", "rooms", "a")
            try rig.server.command("EXPIRE", rig.key, "30")
        }
        rig.scenario.then {
            let fields = try ["node", "ip", "rooms", "connectedAt", "connection"].map { try rig.field($0) }
            #expect(fields == ["n0", nil, "a", nil, "41"])
            try rig.expectLife(29...30)
            #expect(messageCount == 0)
        }
        // What is allowed is told to the same node, so that the silence before proves something.
        rig.attach(connection: 9, rooms: ["a"])
        rig.scenario.step("the message", until: { messageCount > 0 })
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "roomNotAllowed", "me true 60 a"])
        #expect(messageCount == 1)
    }

    @Test func restoredRecordKeepsItsBinding() throws {
        let rig = try Rig()
        rig.confirm(restoring: true, allowedRooms: "a,b c")
        rig.scenario.then { try rig.expect("allowedRooms", "a,b c") }
        rig.attach(rooms: ["b"])
        try rig.scenario.run()
        #expect(rig.outcomes == ["restored", "roomNotAllowed"])
    }

    @Test func confirmationRenewsRestoresOrEnds() throws {
        let rig = try Rig()
        rig.confirm()
        rig.confirm(restoring: true)
        rig.scenario.then {
            let names = ["deviceId", "isLogin", "issuedAt", "ttl", "node", "ip", "connectedAt", "connection"]
            let fields = try names.map { try rig.field($0) }
            #expect(fields == ["me", "false", "5", "90", "n1", "192.0.2.1", "1000", "7"])
            try rig.expectLife(89...90)
        }
        rig.confirm { try rig.server.command("EXPIRE", rig.key, "5") }
        rig.scenario.then { try rig.expectLife(89...90) }
        // Another connection has the token: a newer one wins, an older one has lost it.
        rig.confirm(restoring: true) { try rig.set("connection", "9", "connectedAt", "1001", "node", "n2") }
        rig.scenario.then { try rig.expect("node", "n2") }
        rig.confirm { try rig.set("connection", "6", "connectedAt", "999") }
        try rig.scenario.run()
        #expect(rig.outcomes == ["revoked", "restored", "renewed", "replaced", "renewed"])
        #expect(try rig.field("node") == "n1")
        #expect(try rig.field("connection") == "7")
    }

    @Test func forgottenScriptsAreSentAgain() throws {
        let rig = try Rig()
        rig.issue()
        for _ in 0..<2 { rig.renew { try rig.server.command("SCRIPT", "FLUSH") } }
        rig.attach { try rig.server.command("SCRIPT", "FLUSH") }
        rig.confirm { try rig.server.command("SCRIPT", "FLUSH") }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "renewed", "me true 60", "renewed"])
    }

    @Test func nothingIsUnknownWhileRedisIsAwayOrNewlyEmpty() throws {
        let rig = try Rig()
        rig.issue()
        rig.scenario.step("the loss is noticed", until: {
            rig.registry.renew(rig.token) { if case .unavailable = $0 { rig.outcomes.append("gone") } }
            return rig.outcomes.contains("gone")
        }) { rig.server.stop() }
        rig.scenario.then { rig.outcomes = [] }
        rig.issue()
        rig.renew()
        rig.attach()
        rig.remaining()
        rig.confirm()
        rig.up(count: 2) { try rig.server.start() }
        rig.renew()
        rig.attach()
        rig.issue()
        rig.renew()
        try rig.scenario.run()
        #expect(
            rig.outcomes == [
                "issued false", "unavailable", "unavailable", "unavailable", "none",
                "unavailable", "unavailable", "issued true", "renewed",
            ])
    }
}
