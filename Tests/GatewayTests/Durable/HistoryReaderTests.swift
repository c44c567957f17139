import EventLoop
import Redis
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

private struct Unexpected: Error { let answer: String }

/// The reader of a node on a real cluster of one server that has every slot.
private final class Rig {
    let server: RedisServer
    let scenario: Scenario
    let reader: HistoryReader
    private(set) var answers: [HistoryReader.Answer] = []
    private(set) var serverOf: ((Int) -> HistoryServer?)?

    init() throws {
        server = try RedisServer(isCluster: true)
        _ = try server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        scenario = try Scenario()
        let configuration = try configuration([
            "--redis", "cluster://127.0.0.1:\(server.port)", "--node-id", "n1", "--workers", "1", "--prefix",
            "p:",
        ])
        let node = NodeContext(
            configuration: configuration, log: Log(level: .error, format: .text, nodeID: "n1"),
            state: NodeState(workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1))
        let broadcaster = Broadcaster(node: node, metrics: node.metrics.feeds[0])
        reader = HistoryReader(node: node, loop: scenario.loop) { room, id, frame in
            HistoryEntry(
                id: id, frame: broadcaster.message(of: room, frame, id: id, isDurable: true), memoryBytes: 1)
        }
        reader.onAnswer = { [unowned self] in self.answers.append($0) }
        reader.onServers = { [unowned self] in self.serverOf = $0 }
        scenario.step(
            "every slot is read",
            until: { [unowned self] in
                guard case .bytes(let info) = try self.server.command("CLUSTER", "INFO"),
                    String(decoding: info, as: UTF8.self).contains("cluster_state:ok")
                else { return false }
                return self.serverOf.map { serverOf in [0, 16_383].allSatisfy { serverOf($0) != nil } }
                    == true
            }
        ) { [unowned self] in self.reader.start() }
    }

    deinit { reader.stop() }

    /// Asks, and waits for the answer.
    func ask(
        _ question: @escaping () throws -> Void, _ check: @escaping (HistoryReader.Answer) throws -> Void
    ) {
        scenario.step("an answer", until: { [unowned self] in !self.answers.isEmpty }) { try question() }
        scenario.then { [unowned self] in
            try check(self.answers.removeFirst())
        }
    }
}

@Suite struct HistoryReaderTests {
    private let room = RoomId("lobby")!

    private func command(_ ticket: UInt64, _ question: HistoryCommand.Question) -> HistoryCommand {
        HistoryCommand(ticket: ticket, room: room, question: question)
    }

    @Test func epochLiesInItsSlot() throws {
        let keys = Keys(prefix: "p:")
        for slot in [0, 1, 8_000, 16_383] { #expect(HashSlot.of(keys.epoch(ofSlot: slot)) == slot) }
        let channel = Channels(prefix: "p:").room(room)
        #expect(HashSlot.of(keys.once(OnceKey("k")!, of: channel)) == HashSlot.of(channel))
    }

    @Test func epochOfASlotIsMadeAndReplaced() throws {
        let rig = try Rig()
        var epoch: HistoryEpoch?
        rig.ask({ rig.reader.askEpoch(slot: 5_000, 1, inDoubt: nil) }) {
            guard case .epoch(5_000, 1, let made) = $0 else { throw Unexpected(answer: "\($0)") }
            epoch = made
            let key = String(decoding: Keys(prefix: "p:").epoch(ofSlot: 5_000), as: UTF8.self)
            #expect(try rig.server.command("GET", key) == .bytes(made.bytes))
        }
        rig.ask({ rig.reader.askEpoch(slot: 5_000, 2, inDoubt: nil) }) {
            guard case .epoch(5_000, 2, epoch!) = $0 else { throw Unexpected(answer: "\($0)") }
        }
        rig.ask({ rig.reader.askEpoch(slot: 5_000, 3, inDoubt: epoch) }) {
            guard case .epoch(5_000, 3, let next) = $0 else { throw Unexpected(answer: "\($0)") }
            #expect(next != epoch)
        }
        try rig.scenario.run()
    }

    @Test func timeComesWithWhatIsRead() throws {
        let rig = try Rig()
        rig.ask({ rig.reader.ask(command(1, .tail)) }) {
            guard case .tail(1, let time, nil) = $0 else { throw Unexpected(answer: "\($0)") }
            #expect(time > 1_700_000_000_000)
        }
        rig.ask({ rig.reader.ask(command(2, .state)) }) {
            guard case .state(2, let state) = $0 else { throw Unexpected(answer: "\($0)") }
            #expect(state.first == nil && state.time > 1_700_000_000_000)
        }
        // The reader has loaded the library.
        rig.scenario.then {
            let reply = try rig.server.command(
                "FCALL", "roomcast_publish", "1", "p:room:lobby", #"{"type":"n","data":1}"#)
            guard case .array = reply else { throw Unexpected(answer: "\(reply)") }
        }
        var first: NoticeId?
        rig.ask({ rig.reader.ask(command(3, .tail)) }) {
            guard case .tail(3, _, let newest?) = $0 else { throw Unexpected(answer: "\($0)") }
            first = newest.id
            #expect(newest.id.number == 1)
        }
        rig.ask({ rig.reader.ask(command(4, .range(from: first!, count: 8))) }) {
            guard case .range(4, let entries) = $0 else { throw Unexpected(answer: "\($0)") }
            #expect(entries.map(\.id) == [first!])
        }
        rig.ask({ rig.reader.ask(command(5, .state)) }) {
            guard case .state(5, let state) = $0 else { throw Unexpected(answer: "\($0)") }
            #expect(state.first == first)
        }
        // A key of another type is no stream.
        rig.ask({
            _ = try rig.server.command("SET", "p:room:lobby", "x")
            rig.reader.ask(command(6, .tail))
        }) {
            guard case .tail(6, let time, nil) = $0 else { throw Unexpected(answer: "\($0)") }
            #expect(time > 1_700_000_000_000)
        }
        try rig.scenario.run()
    }

    @Test func refusalIsNoAbsence() throws {
        let rig = try Rig()
        rig.ask({
            _ = try rig.server.command("ACL", "SETUSER", "default", "-xrevrange")
            rig.reader.ask(command(1, .tail))
        }) {
            guard case .refused(1) = $0 else { throw Unexpected(answer: "\($0)") }
        }
        try rig.scenario.run()
    }

    @Test func serverThatIsGoneGivesNoAnswer() throws {
        let rig = try Rig()
        rig.scenario.step("no server", until: { rig.serverOf?(0) == nil }) { rig.server.stop() }
        rig.ask({ rig.reader.ask(command(1, .tail)) }) {
            guard case .failed(1) = $0 else { throw Unexpected(answer: "\($0)") }
        }
        rig.ask({ rig.reader.askEpoch(slot: 1, 7, inDoubt: nil) }) {
            guard case .noEpoch(1, 7) = $0 else { throw Unexpected(answer: "\($0)") }
        }
        try rig.scenario.run()
    }
}
