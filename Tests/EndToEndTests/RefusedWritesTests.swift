// A Redis that answers, delivers and refuses to write: to clients as one that is away.
import Foundation
import Testing

@Suite struct RefusedWritesTests {
    private static let options = ["--heartbeat-timeout", "6s", "--token-ttl", "11s"]

    /// One way to refuse writes, and its end.
    enum Trouble: String, CaseIterable, Sendable {
        case noDisk, noMemory, noReplicas, replica, noScripts, noExpire, noPttl

        /// What stands in `/readyz`.
        var word: String {
            switch self {
            case .noDisk: "MISCONF"
            case .noMemory: "OOM"
            case .noReplicas: "NOREPLICAS"
            // Such a server is left at once.
            case .replica: "connections are down"
            case .noScripts, .noExpire, .noPttl: "redis refuses writes"
            }
        }

        var begin: [JSON] {
            switch self {
            // Its directory goes instead.
            case .noDisk: ["SET", "some", "change"]
            case .noMemory: ["CONFIG", "SET", "maxmemory", "1"]
            case .noReplicas: ["CONFIG", "SET", "min-replicas-to-write", "1"]
            case .replica: ["REPLICAOF", "127.0.0.1", "1"]
            case .noScripts: ["ACL", "SETUSER", "default", "-evalsha", "-eval"]
            case .noExpire: ["ACL", "SETUSER", "default", "-expire"]
            case .noPttl: ["ACL", "SETUSER", "default", "-pttl"]
            }
        }

        var end: [JSON] {
            switch self {
            case .noDisk: ["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]
            case .noMemory: ["CONFIG", "SET", "maxmemory", "0"]
            case .noReplicas: ["CONFIG", "SET", "min-replicas-to-write", "0"]
            case .replica: ["REPLICAOF", "NO", "ONE"]
            case .noScripts, .noExpire, .noPttl: ["ACL", "SETUSER", "default", "allcommands"]
            }
        }
    }

    private func lines(_ node: GatewayNode, with text: String) -> Int {
        node.child.errorOutput.split(separator: "\n").count { $0.contains(text) }
    }

    private struct Beat: Sendable {
        let answer: Answer
        let at: ContinuousClock.Instant
    }

    /// Beats every half second until it is cancelled; returns the answers and when they came.
    private func beat(_ node: GatewayNode, _ token: String) async throws -> [Beat] {
        var beats: [Beat] = []
        while !Task.isCancelled {
            beats.append(Beat(answer: try await node.heartbeat(token), at: .now))
            try? await Task.sleep(for: .milliseconds(500))
        }
        return beats
    }

    /// The longest time between two beats that were taken, since some moment.
    private func longestSilence(_ beats: [Beat], since start: ContinuousClock.Instant) -> Duration {
        let times = [start] + beats.filter { $0.answer.status == 200 && $0.at > start }.map(\.at) + [.now]
        return zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? .zero
    }

    /// Refused for longer than a record lives without a heartbeat: nobody is closed, nobody is lost, and
    /// afterwards all is as it was.
    @Test(arguments: Trouble.allCases)
    func refusalIsNotTheClientsFault(trouble: Trouble) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let directory = cluster.driver.directory.appending(path: "data")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let saving = trouble == .noDisk ? ["--save", "1 1", "--dir", directory.path] : []
            let redis = try await RedisServer(cluster.driver, options: saving)
            var nodes: [GatewayNode] = []
            for number in 1...2 {
                let options = Self.options + ["--gap-notice", "off"]
                nodes.append(
                    try await GatewayNode(cluster.driver, id: "n\(number)", redis: redis, options: options))
            }
            let room = cluster.room()
            var clients: [Client] = []
            var tokens: [String] = []
            var beats: [Task<[Beat], any Error>] = []
            for node in nodes {
                let token = try await node.token()
                clients.append(try await node.connect(room, token: token))
                tokens.append(token)
                let other = nodes[0]
                beats.append(Task { try await beat(other, token) })
            }
            defer { for beat in beats { beat.cancel() } }
            // It beats until writes are refused, which takes a while where a snapshot has to fail first.
            let silentToken = try await nodes[1].token()
            let silent = try await nodes[1].connect(room, token: silentToken)
            let beating = nodes[0]
            let lastBeats = Task { try await beat(beating, silentToken) }
            defer { lastBeats.cancel() }
            if trouble == .noDisk { try FileManager.default.removeItem(at: directory) }
            try await redis.command(trouble.begin, user: nil, password: nil)
            for node in nodes {
                try await eventually("\(node.id) says why") {
                    let answer = try await node.ready()
                    return answer.status == 503 && answer.body.contains(trouble.word)
                }
            }
            lastBeats.cancel()
            if trouble != .replica {
                let metrics = try await nodes[0].metrics()
                #expect(metrics["roomcast_redis_refuses_writes"] == 1)
            }
            // Longer than a record lives.
            #expect(try await silent.closed(within: .seconds(13)) == nil)
            for client in clients { #expect(try await client.closed(within: .zero) == nil) }
            try await redis.publish(room: room, "1")
            for client in clients + [silent] { #expect(try await client.next() == .text("1")) }

            try await redis.command(trouble.end, user: nil, password: nil)
            for node in nodes {
                try await eventually("\(node.id) is ready") { try await node.ready().status == 200 }
            }
            let restored = ContinuousClock.now
            let closing = try await silent.closed()
            #expect(closing?.code == 4000, "who is silent now is cut")
            try await redis.publish(room: room, "2")
            var ends: [Event] = []
            for client in clients { ends.append(try await client.next()) }
            var unknown: Set<String> = []
            for token in tokens {
                try await eventually("beats are taken, or the token has run out") {
                    let status = try await nodes[0].heartbeat(token).status
                    if status == 500 { unknown.insert(token) }
                    return status == 200 || status == 500
                }
            }
            for ((token, beat), end) in zip(zip(tokens, beats), ends) {
                beat.cancel()
                let taken = try await beat.value
                // A test that the machine kept waiting has been silent itself.
                guard !unknown.contains(token) else {
                    #expect(longestSilence(taken, since: restored) > .seconds(5), "lost although it beat")
                    continue
                }
                if end != .text("2") {
                    #expect(end == .closed(4000))
                    #expect(longestSilence(taken, since: restored) > .seconds(5), "cut although it beat")
                }
                let answers = taken.map(\.answer)
                let refused = answers.filter { $0.status != 200 }
                #expect(refused.allSatisfy { $0.status == 503 && $0.headers["retry-after"] != nil })
                #expect(answers.contains { $0.status == 200 })
            }
            for node in nodes where trouble != .replica {
                let told = node.child.errorOutput.split(separator: "\n").compactMap { line in
                    line.firstRange(of: "redis refuses commands").map { line[$0.lowerBound...] }
                }
                #expect(Set(told).count == told.count, "nothing is told twice: \(told)")
                if trouble.word != "redis refuses writes" { #expect(told.count == 1, "\(told)") }
                #expect(lines(node, with: "redis accepts commands again") == 1)
            }
        }
    }

    /// A short refusal that ends between two looks is noticed by the heartbeats that it cost.
    @Test func nodeIsBackAsSoonAsWritesAre() async throws {
        try await Cluster.with(options: Self.options) { cluster in
            for _ in 0..<2 {
                try await cluster.redis.command("CONFIG", "SET", "min-replicas-to-write", "1")
                try await eventually("not ready") { try await cluster.node.ready().status == 503 }
                #expect(try await cluster.node.get("/get/token?isLogin=true&userId=a").status == 503)
                try await cluster.redis.command("CONFIG", "SET", "min-replicas-to-write", "0")
                try await eventually("ready") { try await cluster.node.ready().status == 200 }
            }
            #expect(lines(cluster.node, with: "redis accepts commands again") == 2)
        }
    }
}
