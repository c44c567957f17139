import EventLoop
import Synchronization
import TestSupport
import Testing

@testable import Redis

/// Three servers that answer as a cluster does whose slots move meanwhile; the ledger has how often each command was
/// carried out.
///
/// What holds: each command has one outcome, and was carried out once if that is a success, and never otherwise.
@Suite struct RedirectionModelTests {
    /// One of four, whose quarter of the slots moves as one slot would.
    private struct Key {
        let name: String
        var owner: Int
        /// The slot is on its way there.
        var target: Int?
        /// The target has the key already.
        var isMoved = false
    }

    private struct World {
        var random: SeededRandom
        var ports: [Int] = []
        var keys: [Key]
        /// By server: whether the command before was ASKING. Each has one connection.
        var isAsked = [false, false, false]
        var runCounts: [Int: Int] = [:]
        var counts: [String: Int] = [:]

        mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

        /// Something happens to a slot.
        mutating func move() {
            let index = below(keys.count)
            guard let target = keys[index].target else {
                keys[index].target = (keys[index].owner + 1 + below(2)) % 3
                return
            }
            if !keys[index].isMoved {
                keys[index].isMoved = true
            } else {
                keys[index] = Key(name: keys[index].name, owner: target)
            }
        }

        mutating func answer(_ command: [String], at server: Int) -> String? {
            let isAsked = isAsked[server]
            self.isAsked[server] = command[0] == "ASKING"
            guard command[0] == "SET" else { return nil }
            if below(4) == 0 { move() }
            let answer = answer(toKey: command[1], isAsked: isAsked, at: server)
            let kind = answer.split(separator: " ")[0].trimmingPrefix("-")
            counts[String(kind), default: 0] += 1
            if answer.hasPrefix("+") { runCounts[Int(command[2])!, default: 0] += 1 }
            return answer + "\r\n"
        }

        private mutating func answer(toKey name: String, isAsked: Bool, at server: Int) -> String {
            if below(40) == 0 { return "-CLUSTERDOWN The cluster is down" }
            let key = keys.first { $0.name == name }!
            let slot = HashSlot.of([UInt8](name.utf8))
            if server == key.owner {
                guard let target = key.target else { return "+OK" }
                // Of several keys some may be gone.
                guard key.isMoved else { return below(4) == 0 ? "-TRYAGAIN Multiple keys request" : "+OK" }
                return "-ASK \(slot) 127.0.0.1:\(ports[target])"
            }
            if server == key.target, isAsked {
                return key.isMoved ? "+OK" : "-TRYAGAIN Multiple keys request"
            }
            return "-MOVED \(slot) 127.0.0.1:\(ports[key.owner])"
        }

        /// CLUSTER SLOTS, of which now and then a server knows the old one.
        mutating func slots(at server: Int) -> String {
            let quarter = HashSlot.count / keys.count
            let rows = keys.indices.map { index in
                let owner = below(5) == 0 ? server : keys[index].owner
                return "*3\r\n:\(index * quarter)\r\n:\((index + 1) * quarter - 1)\r\n"
                    + "*2\r\n$9\r\n127.0.0.1\r\n:\(ports[owner])\r\n"
            }
            return "*\(rows.count)\r\n" + rows.joined()
        }
    }

    /// A key in each quarter of the slots.
    private static let names = (0..<4).map { quarter in
        (0...).lazy.map { "k\($0)" }.first {
            HashSlot.of([UInt8]($0.utf8)) / (HashSlot.count / 4) == quarter
        }!
    }

    /// - Returns: how often servers gave each kind of answer.
    private func play(seed: UInt64) throws -> [String: Int] {
        let keys = Self.names.enumerated().map { Key(name: $1, owner: $0 % 3) }
        let shared = Shared(World(random: SeededRandom(seed: seed), keys: keys))
        let nodes = try (0..<3).map { server in
            try FakeNode(slots: { shared.world.withLock { $0.slots(at: server) } }) { command in
                shared.world.withLock { $0.answer(command, at: server) }
            }
        }
        shared.world.withLock { $0.ports = nodes.map(\.port) }
        let loop = try EventLoop()
        let cluster = ClusterConnection(
            url: try RedisURL("cluster://127.0.0.1:\(nodes[0].port)"), clientName: nil,
            timeout: .seconds(600), silenceTimeout: nil, proof: .login, loop: loop)
        defer { cluster.stop() }
        cluster.start()
        loop.run(atMost: .seconds(60)) { cluster.map == nil || !cluster.hasTried }
        var outcomes: [Int: [String]] = [:]
        let count = 120
        for batch in 0..<count / 8 {
            for id in batch * 8..<(batch + 1) * 8 {
                let key = shared.world.withLock { Self.names[$0.below(4)] }
                cluster.send(RedisCommand(["SET", key, "\(id)"].map { [UInt8]($0) })) {
                    outcomes[id, default: []].append($0.words)
                }
            }
            loop.run(atMost: .seconds(60)) { outcomes.count < (batch + 1) * 8 }
        }
        let runCounts = shared.world.withLock { $0.runCounts }
        for id in 0..<count {
            let words = try #require(outcomes[id], "seed \(seed): \(id) has no outcome")
            let isSuccess = words == ["OK"]
            #expect(
                words.count == 1 && runCounts[id, default: 0] == (isSuccess ? 1 : 0),
                "seed \(seed): \(id) \(words) was carried out \(runCounts[id, default: 0]) times")
        }
        var counts = shared.world.withLock { $0.counts }
        counts["failed"] = outcomes.values.count { $0 != ["OK"] }
        return counts
    }

    private final class Shared: Sendable {
        let world: Mutex<World>
        init(_ world: World) { self.world = Mutex(world) }
    }

    @Test func eachCommandIsCarriedOutAsItsOutcomeSays() throws {
        var total: [String: Int] = [:]
        for seed in 0..<10 { total.merge(try play(seed: UInt64(seed)), uniquingKeysWith: +) }
        for kind in ["+OK", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "failed"] {
            #expect(total[kind, default: 0] > 10, "too little happened: \(total)")
        }
        // Those that were sent round for too long, and those of a cluster that is down.
        #expect(total["failed", default: 0] < total["+OK", default: 0] / 4, "\(total)")
    }
}
