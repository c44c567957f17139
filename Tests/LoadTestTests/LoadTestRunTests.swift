// The built load test against the built gateway and a real Redis.
import Foundation
import TestSupport
import Testing

@testable import LoadTest

@Suite(.serialized) struct LoadTestRunTests {
    private let redis: RedisServer

    init() throws { redis = try RedisServer() }

    private func start(_ gateway: String, _ arguments: String...) throws -> Child {
        try start(gateway, arguments)
    }

    private func start(_ gateway: String, _ arguments: [String]) throws -> Child {
        try Child(
            "loadtest",
            [
                "--gateway", gateway, "--redis", "redis://127.0.0.1:\(redis.port)", "--json", "--warmup",
                "200ms",
            ]
                + arguments)
    }

    private func report(_ child: Child) throws -> RunReport {
        try JSONDecoder().decode(RunReport.self, from: Data(child.outputText.utf8))
    }

    /// Processes that this run has left behind.
    private func holderCount(of parent: Int) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int($0) }.filter { pid in
            let stat = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
            let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
            return fields.count > 1 && fields[1] == "\(parent)"
        }.count
    }

    @Test func aHealthyGatewayLosesNothing() throws {
        let gateway = try GatewayNode(redis)
        let child = try start(
            gateway.endpoint, "--clients", "200", "--rooms", "10", "--rate", "200", "--duration", "1s",
            "--processes", "2", "--pids", "\(gateway.child.programID())")
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.problems == [] && report.exitCode == 0)
        #expect(report.handshakes.opened == 200 && report.tokens.issued == 200)
        let checked = report.deliveries.checked
        #expect(checked.isPerfect)
        #expect(checked.expected == report.messages.published * 20 && checked.received == checked.expected)
        // A second at 200 a second, and what a busy machine shifts over its edges.
        #expect((150...250).contains(report.messages.measured))
        #expect(report.deliveries.measured == report.messages.measured * 20)
        #expect(report.deliveries.latencyMicroseconds.count == UInt64(report.deliveries.measured))
        #expect(report.deliveries.latencyMicroseconds.p50 > 0)
        #expect(try #require(report.server).residentBytesConnected > 1 << 20)
        #expect(report.messages.reachedNoNode == 0)
    }

    /// Every delivery of an event stream is checked as that of a WebSocket is, also beside it.
    @Test(arguments: [["events"], ["mixed"], ["mixed", "--durable"]])
    func eventStreamsAreCheckedToo(options: [String]) throws {
        let gateway = try GatewayNode(redis)
        let child = try start(
            gateway.endpoint,
            ["--clients", "40", "--rooms", "4", "--rate", "100", "--duration", "500ms", "--transport"]
                + options)
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.handshakes.opened == 40 && report.deliveries.checked.isPerfect)
        #expect(report.deliveries.checked.received == report.messages.published * 10)
    }

    /// And shows it to the gateway alone.
    @Test(arguments: [true, false]) func issueKeyIsShownToTheGateway(isJoined: Bool) throws {
        let key = "s3cret-Issue-Key_0123"
        let gateway = try GatewayNode(redis, options: ["--issue-key", key])
        let without = try start(gateway.endpoint, "--clients", "5", "--duration", "100ms")
        #expect(try without.finish() == 3)
        #expect(try report(without).tokens.failures == ["401": 5])
        let (option, value) = isJoined ? ("--issue-key=\(key)", "--quiet") : ("--issue-key", key)
        let child = try start(
            gateway.endpoint, option, value, "--clients", "5", "--rate", "100", "--duration", "10m")
        let pid = try child.programID()
        try eventually("messages flow") { try published(redis) > 10 }
        let shown = try String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)
        #expect(shown.contains("--issue-key") && !shown.contains(key))
        kill(pid_t(pid), SIGINT)
        #expect(try child.finish() == 0, "\(child.errorText)")
        #expect(try report(child).tokens.issued == 5)
        #expect(!(child.outputText + child.errorText).contains(key))
    }

    /// Ten tokens and ten handshakes at once, and ten a second then.
    @Test func gatewaysThatAskForPatienceGetIt() throws {
        let limits = ["--token-rate-per-address", "10", "--handshake-rate", "10"]
        let gateway = try GatewayNode(redis, options: limits)
        let child = try start(gateway.endpoint, "--clients", "25", "--duration", "100ms", "--processes", "2")
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.tokens.issued == 25 && report.tokens.failures == [:])
        #expect(report.handshakes.opened == 25 && report.handshakes.failures == [:])
        #expect(Array(report.tokens.postponed.keys) == ["429"])
        #expect(Array(report.handshakes.postponed.keys) == ["503"])
        #expect(ReportTable.text(report).contains("postponed     tokens; "))
    }

    @Test func clientsThatComeBackWaitAsLongAsTheyAreAskedTo() throws {
        let gateway = try GatewayNode(redis, options: ["--handshake-rate", "10"])
        let child = try start(
            gateway.endpoint, "--clients", "20", "--rate", "50", "--churn", "30",
            "--duration", "1s", "--settle", "30s")
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.connections.churned > 10 && report.connections.churnFailures == [:])
        #expect(Array(report.connections.churnPostponed.keys) == ["503"])
        #expect(report.deliveries.checked.isPerfect)
    }

    /// As browsers do: beside its WebSocket each client keeps a connection, and beats over it.
    @Test func clientsHaveConnectionsOfTheirOwnForTheirBeats() throws {
        let gateway = try GatewayNode(redis)
        let idle = try descriptorCount(gateway)
        let child = try start(
            gateway.endpoint, "--clients", "40", "--heartbeat-connections", "own", "--rate", "50",
            "--duration", "10m", "--processes", "2")
        let pid = try child.programID()
        try eventually("both connections of each stand") { try descriptorCount(gateway) == idle + 80 }
        try eventually("messages flow") { try published(redis) > 10 }
        // Forty in 25 s: some beats come soon.
        let already = try beatCount(redis)
        try eventually("beats come") { try beatCount(redis) > already + 10 }
        #expect(try descriptorCount(gateway) == idle + 80)
        kill(pid_t(pid), SIGINT)
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.setting.heartbeatConnections == .own)
        #expect(report.heartbeats.sent > 3 && report.heartbeats.failures == [:])
        #expect(report.heartbeats.connections == 40)
        #expect(report.deliveries.checked.isPerfect)
    }

    @Test func theWindowEndsAfterItsMessages() throws {
        let gateway = try GatewayNode(redis)
        for window in ["1", "16"] {
            let child = try start(
                gateway.endpoint, "--clients", "50", "--window", window, "--messages", "300", "--payload",
                "512B",
                "--processes", "2")
            #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
            let report = try report(child)
            #expect((300..<320).contains(report.messages.measured))
            #expect(report.deliveries.measured == report.messages.measured * 50)
        }
    }

    @Test func clientsInTwoRoomsThatComeAndGoAreOwedWhatTheyWereThereFor() throws {
        let gateway = try GatewayNode(redis)
        let child = try start(
            gateway.endpoint, "--clients", "60", "--rooms", "6", "--rooms-per-client", "2", "--rate", "500",
            "--churn", "40", "--slow", "3", "--duration", "2s")
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.connections.churned > 20 && report.connections.slow == 3)
        let checked = report.deliveries.checked
        #expect(checked.isPerfect && checked.received == checked.expected)
        // All of them in two rooms, less the slow ones and the gaps of those who left.
        let atMost = report.messages.published * 57 * 2 / 6
        #expect((atMost / 2...atMost + 100).contains(checked.received))
    }

    @Test func clientsThatDoNotReadAreCutOffAndTheOthersLoseNothing() throws {
        let gateway = try GatewayNode(redis, options: ["--maximum-queue-bytes", "1MiB"])
        let child = try start(
            // Eight at a time: less than a queue, however long a reader is kept from reading.
            gateway.endpoint, "--clients", "6", "--slow", "2", "--window", "8",
            "--payload", "\(64 / Installation.slowness)KiB", "--messages", "400")
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.connections.slow == 2)
        #expect(report.connections.slowCloses.values.reduce(0, +) == 2)
        #expect(report.connections.serverCloses == [:])
        #expect(report.deliveries.checked.expected == report.messages.published * 4)
        #expect(report.deliveries.measured == report.messages.measured * 4)
    }

    @Test func aGatewayThatDiesIsFound() throws {
        let gateways = [try GatewayNode(redis), try GatewayNode(redis)]
        let child = try start(
            gateways.map(\.endpoint).joined(separator: ","), "--clients", "40", "--rate", "100",
            "--duration",
            "10m", "--settle", "500ms")
        try eventually("messages flow") { try published(redis) > 50 }
        try gateways[0].crash()
        try eventually("its subscriber is gone") { try subscriberCount(redis) == 1 }
        let already = try published(redis)
        try eventually("more is published") { try published(redis) > already + 20 }
        kill(pid_t(try child.programID()), SIGINT)
        #expect(try child.finish() == 1)
        let report = try report(child)
        #expect(report.isInterrupted)
        #expect(report.connections.serverCloses.values.reduce(0, +) == 20)
        // Half of the clients have lost 20 messages each at least; the others have all of theirs.
        #expect(report.deliveries.checked.lost >= 20 * 20)
        #expect(report.deliveries.checked.duplicated == 0)
    }

    /// What a run of 40 clients tells that is interrupted some time after its gateway has crashed.
    private func reportOfACrash(_ arguments: String...) throws -> RunReport {
        let gateways = [try GatewayNode(redis), try GatewayNode(redis)]
        let child = try start(
            gateways[0].endpoint,
            ["--failover", gateways[1].endpoint, "--clients", "40", "--duration", "10m", "--processes", "2"]
                + arguments)
        try eventually("messages flow") { try published(redis) > 50 }
        try gateways[0].crash()
        try eventually("its subscriber is gone") { try subscriberCount(redis) == 1 }
        let already = try published(redis)
        try eventually("more is published") { try published(redis) > already + 100 }
        kill(pid_t(try child.programID()), SIGINT)
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        return try report(child)
    }

    @Test func clientsOfADeadGatewayGoToTheOther() throws {
        let report = try reportOfACrash("--rate", "100")
        let failover = try #require(report.failover)
        #expect(failover.returned == 40)
        #expect(failover.lost.values.reduce(0, +) == 40)
        #expect(failover.absenceMicroseconds.count == 40)
        #expect(failover.seconds * 1e6 >= failover.absenceMicroseconds.p50)
        #expect(report.connections.serverCloses == [:])
        #expect(report.deliveries.checked.isPerfect)
        #expect(report.deliveries.checked.received > 50 * 40)
    }

    /// Their account goes on over both connections, so that a notice of the time between would be missing
    /// in it.
    @Test func durableClientsOfADeadGatewayMissNothing() throws {
        let report = try reportOfACrash(
            "--rate", "200", "--rooms", "4", "--rooms-per-client", "2", "--durable")
        #expect(try #require(report.failover).returned == 40)
        #expect(report.messages.refused == 0)
        let checked = report.deliveries.checked
        #expect(checked.isPerfect)
        #expect(checked.received == checked.expected && checked.expected == report.messages.published * 20)
    }

    @Test func interruptedItReportsAndLeavesNobodyBehind() throws {
        let gateway = try GatewayNode(redis)
        let child = try start(
            gateway.endpoint, "--clients", "20", "--rate", "100", "--duration", "10m", "--processes", "3")
        let pid = try child.programID()
        try eventually("messages flow") { try published(redis) > 50 }
        #expect(try holderCount(of: pid) == 3)
        kill(pid_t(pid), SIGINT)
        #expect(try child.finish() == 0, "\(child.errorText) \(child.outputText)")
        let report = try report(child)
        #expect(report.isInterrupted && report.deliveries.checked.received > 0)
        #expect(try holderCount(of: pid) == 0)
    }

    @Test func loadProcessesEndWithTheirParent() throws {
        let gateway = try GatewayNode(redis)
        let child = try start(
            gateway.endpoint, "--clients", "20", "--rate", "100", "--duration", "10m", "--processes", "2")
        let pid = try child.programID()
        let holders = try children(of: pid, count: 2)
        try eventually("messages flow") { try published(redis) > 10 }
        kill(pid_t(pid), SIGKILL)
        try eventually("they end") {
            holders.allSatisfy { !FileManager.default.fileExists(atPath: "/proc/\($0)") }
        }
    }

    @Test func aServerThatIsNotThereIsToldApart() throws {
        let gateway = try GatewayNode(redis)
        let nowhere = try start("127.0.0.1:1", "--clients", "10", "--duration", "100ms")
        #expect(try nowhere.finish() == 3)
        redis.stop()
        let noRedis = try start(gateway.endpoint, "--clients", "10", "--rate", "10", "--duration", "100ms")
        #expect(try noRedis.finish() == 3)
        #expect(try report(noRedis).problems.first?.contains("Redis") == true)
    }

    /// As full servers do. Where many connect in one turn it is there before a client knows that it is
    /// connected.
    @Test func refusalBeforeTheRequestIsReadAsOne() throws {
        let port = try HttpClientTests.serve(answerCounts: Array(repeating: 0, count: 60), isEager: true)
        let child = try Child(
            "loadtest",
            [
                "--gateway", "127.0.0.1:\(port)", "--token", "none", "--path", "/{room}",
                "--clients", "60", "--connect-rate", "1000000", "--duration", "100ms", "--json",
            ])
        #expect(try child.finish() == 3)
        #expect(try report(child).handshakes.failures == ["503": 60])
    }

    @Test func wrongUsageIsOneLineOnStandardError() throws {
        let child = try Child("loadtest", ["--gateway", "127.0.0.1:1", "--pids", "\(Int32.max)"])
        #expect(try child.finish() == 2)
        #expect(child.outputText == "")
        #expect(
            child.errorText.hasPrefix("loadtest: --pids: ")
                && child.errorText.split(separator: "\n").count == 1)
    }

    private func children(of pid: Int, count: Int) throws -> [Int] {
        var found: [Int] = []
        try eventually("\(count) load processes run") {
            found = try String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
                .split(separator: " ").compactMap { Int($0) }
            return found.count == count
        }
        return found
    }

    private func descriptorCount(_ gateway: GatewayNode) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(gateway.child.programID())/fd").count
    }

    /// How many script calls Redis has seen: handshakes and beats.
    private func beatCount(_ redis: RedisServer) throws -> Int {
        let text = try redis.information("commandstats", "cmdstat_evalsha") ?? ""
        return Int(text.dropFirst("calls=".count).prefix { $0.isNumber }) ?? 0
    }

    /// How many PUBLISH commands Redis has seen.
    private func published(_ redis: RedisServer) throws -> Int {
        let text = try redis.information("commandstats", "cmdstat_publish") ?? ""
        return Int(text.dropFirst("calls=".count).prefix { $0.isNumber }) ?? 0
    }

    /// How many connections subscribe to the rooms of a run with one room.
    private func subscriberCount(_ redis: RedisServer) throws -> Int {
        guard case .bytes(let list) = try redis.command("CLIENT", "LIST", "TYPE", "pubsub") else {
            return -1
        }
        return String(decoding: list, as: UTF8.self).split(separator: "\n").count
    }
}
