import EventLoop
import Redis
import TestSupport
import Testing

@testable import Gateway

/// Two clients whose records a real Redis has not (any more).
private final class Rig {
    let server: RedisServer
    let workers: WorkerRig
    let confirmation: RecordConfirmation
    let peers: [TestPeer]
    private var upCount = 0

    var registry: ClientRegistry { workers.worker.registry }
    private var clients: [Member] { peers.map(\.client) }

    init() throws {
        server = try RedisServer()
        workers = try WorkerRig("--redis", "redis://127.0.0.1:\(server.port)")
        confirmation = RecordConfirmation(
            registry: workers.worker.registry, timeout: .seconds(30), loop: workers.scenario.loop)
        peers = [try workers.connect("a"), try workers.connect("a", "b")]
        registry.onUp = { [unowned self] _ in self.upCount += 1 }
        step("redis is up", until: { $0.upCount == 1 }) { $0.registry.start() }
    }

    func step(
        _ name: String, until isDone: @escaping (Rig) throws -> Bool,
        _ action: @escaping (Rig) throws -> Void
    ) {
        workers.scenario.step(
            name, until: { [unowned self] in try isDone(self) }, { [unowned self] in try action(self) })
    }

    func start(restoring: Bool, isSubscribed: Bool = true) {
        let clients = clients
        confirmation.start(restoring: restoring, isSubscribed: isSubscribed) { clients }
    }

    /// Redis dies with the commands that were just given to it, and comes back empty.
    func restartAfter(_ action: @escaping (Rig) -> Void) {
        step("the loss is noticed", until: { !$0.isConnected() }) {
            $0.server.freeze()
            action($0)
            $0.server.stop()
        }
        step("redis is back", until: { $0.upCount == 2 }) { try $0.server.start() }
    }

    /// A walk, and behind it everything that it has asked for.
    func walk(restoring: Bool, after action: @escaping (Rig) throws -> Void = { _ in }) {
        var isDone = false
        step("the walk is done", until: { _ in isDone }) { rig in
            try action(rig)
            rig.start(restoring: restoring)
            rig.registry.afterCommandsSent { isDone = true }
        }
    }

    func recordCount() throws -> Int {
        try clients.count { try server.command("EXISTS", "client:\($0.token.text)") == .integer(1) }
    }

    func forget(_ peer: TestPeer) throws {
        try server.command("DEL", "client:\(peer.client.token.text)")
    }

    private func isConnected() -> Bool {
        var isUp = true
        registry.remaining(peers[0].client.token) { if case .unavailable = $0 { isUp = false } }
        return isUp
    }
}

@Suite(.serialized) struct RecordConfirmationTests {
    @Test func missingRecordsAreWrittenAgainWhenRestoring() throws {
        let rig = try Rig()
        rig.walk(restoring: true)
        try rig.workers.scenario.run()
        #expect(try rig.recordCount() == 2)
        #expect(rig.peers.allSatisfy { $0.client.phase == .open })
        #expect(!rig.confirmation.isRunning)
    }

    /// A restoration that has reached everybody is over: what is missing afterwards was revoked.
    @Test func restorationEndsWithItsWalk() throws {
        let rig = try Rig()
        rig.walk(restoring: true)
        rig.walk(restoring: false) { try $0.forget($0.peers[0]) }
        rig.step("it is closed", until: { $0.peers[0].client.phase == .closing }) { _ in }
        try rig.workers.scenario.run()
        rig.peers[0].read()
        #expect(rig.peers[0].received == TestPeer.closing(.revoked))
        #expect(rig.peers[1].client.phase == .open)
        #expect(try rig.recordCount() == 1)
    }

    /// A record that the handshake has found is missing when it is complete: Redis was emptied just now, and no one has
    /// noticed it yet.
    @Test(arguments: [false, true]) func lossBeforeTheConfirmationIsNoRevocation(isWalk: Bool) throws {
        let rig = try Rig()
        rig.step(
            "the state of Redis is known", until: { try $0.server.command("EXISTS", "epoch") == .integer(1) }
        ) { _ in }
        rig.walk(restoring: true)
        rig.step("they are written again", until: { try $0.recordCount() == ($0.peers.count) }) { rig in
            try rig.server.command("FLUSHALL")
            rig.registry.onLoss = { [unowned rig] in rig.start(restoring: true) }
            if isWalk { return rig.start(restoring: false) }
            for peer in rig.peers { rig.confirmation.confirm(peer.client, since: rig.registry.lossCount) }
        }
        try rig.workers.scenario.run()
        #expect(rig.peers.allSatisfy { $0.client.phase == .open })
    }

    /// The loss may come with the restoration under way; the next walk, whatever it was for, owes it.
    @Test func interruptedRestorationIsOwed() throws {
        let rig = try Rig()
        rig.restartAfter { $0.start(restoring: true) }
        rig.walk(restoring: false)
        rig.walk(restoring: false) { try $0.forget($0.peers[1]) }
        rig.step("it is closed", until: { $0.peers[1].client.phase == .closing }) { _ in }
        try rig.workers.scenario.run()
        #expect(rig.peers[0].client.phase == .open)
        #expect(rig.workers.closedCount(.revoked) == 1, "only the one whose record was deleted afterwards")
        #expect(rig.peers[1].client.phase == .closing)
        #expect(try rig.recordCount() == 1)
    }

    /// A Redis out of memory refuses to write records; that must not look like their revocation.
    @Test func refusedRestorationIsTriedAgain() throws {
        let rig = try Rig()
        rig.walk(restoring: true) { try $0.server.command("CONFIG", "SET", "maxmemory", "1") }
        rig.step("the records are written", until: { try $0.recordCount() == 2 }) {
            #expect(try $0.recordCount() == 0)
            #expect($0.confirmation.isRunning, "until then a missing record proves nothing")
            try $0.server.command("CONFIG", "SET", "maxmemory", "0")
        }
        rig.step("the restoration is over", until: { !$0.confirmation.isRunning }) { _ in }
        rig.walk(restoring: false) { try $0.forget($0.peers[0]) }
        rig.step("it is closed", until: { $0.peers[0].client.phase == .closing }) { _ in }
        try rig.workers.scenario.run()
        #expect(rig.peers[0].client.phase == .closing)
        #expect(rig.peers[1].client.phase == .open)
    }

    /// A restart of Redis ends both connections of a node: one walk is for both returns.
    @Test func walkWaitsForTheSubscriber() throws {
        let rig = try Rig()
        var isOver = false
        rig.step("nothing is written yet", until: { _ in isOver }) {
            $0.start(restoring: true, isSubscribed: false)
            $0.registry.afterCommandsSent { isOver = true }
        }
        rig.walk(restoring: false) {
            let count = try $0.recordCount()
            #expect(count == 0 && $0.confirmation.isRunning)
        }
        try rig.workers.scenario.run()
        #expect(try rig.recordCount() == 2, "the restoration is owed")
        let calls = try #require(try rig.server.information("commandstats", "cmdstat_hset"))
        #expect(calls.hasPrefix("calls=2,"), "\(calls)")
    }

    /// But not for long: other nodes' clients ask for these records.
    @Test func walkBeginsWithoutTheSubscriber() throws {
        let rig = try Rig()
        rig.step("the records are written", until: { try $0.recordCount() == 2 }) {
            $0.start(restoring: true, isSubscribed: false)
        }
        try rig.workers.scenario.run()
    }

    @Test func newClientIsConfirmedAlone() throws {
        let rig = try Rig()
        rig.step("it is confirmed", until: { try $0.recordCount() == 1 }) {
            $0.confirmation.confirm($0.peers[0].client, since: $0.registry.lossCount &- 1)
        }
        rig.step("the other one is revoked", until: { $0.peers[1].client.phase == .closing }) {
            $0.confirmation.confirm($0.peers[1].client, since: $0.registry.lossCount)
        }
        try rig.workers.scenario.run()
        #expect(!rig.confirmation.isRunning)
        #expect(rig.workers.closedCount(.revoked) == 1)
    }

    @Test func refusedConfirmationOfANewClientIsTriedAgain() throws {
        let rig = try Rig()
        rig.step("it is refused", until: { $0.confirmation.isRunning }) {
            try $0.server.command("CONFIG", "SET", "maxmemory", "1")
            $0.confirmation.confirm($0.peers[0].client, since: $0.registry.lossCount &- 1)
        }
        rig.step("it is confirmed", until: { try $0.recordCount() == 1 && !$0.confirmation.isRunning }) {
            try $0.server.command("CONFIG", "SET", "maxmemory", "0")
        }
        try rig.workers.scenario.run()
        #expect(rig.peers[0].client.phase == .open)
    }

    @Test func clientThatHasLeftIsNotWrittenAgain() throws {
        let rig = try Rig()
        rig.walk(restoring: true) { $0.peers[0].client.close(.goingAway) }
        try rig.workers.scenario.run()
        #expect(try rig.recordCount() == 1)
    }
}
