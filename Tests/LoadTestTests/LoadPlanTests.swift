import Glibc
import Network
import Testing

@testable import LoadTest

struct LoadPlanTests {
    private func plan(_ arguments: String..., descriptorLimit: Int = 20_000) throws -> LoadPlan {
        guard case .run(let values) = try LoadTestOptions.program.parse(arguments, environment: { _ in nil })
        else { throw CancellationError() }
        return try LoadPlan(values, descriptorLimit: descriptorLimit)
    }

    private func expectRefused(
        _ arguments: [String], descriptorLimit: Int = 20_000, naming option: String,
        _ location: SourceLocation = #_sourceLocation
    ) {
        do {
            guard
                case .run(let values) = try LoadTestOptions.program.parse(
                    arguments, environment: { _ in nil })
            else { return }
            _ = try LoadPlan(values, descriptorLimit: descriptorLimit)
            Issue.record("was accepted", sourceLocation: location)
        } catch {
            #expect(
                "\(error)".contains(option) && "\(error)".contains("expected"), "\(error)",
                sourceLocation: location)
        }
    }

    @Test func everyDefaultHasItsOwnForm() throws {
        let plan = try plan("--gateway", "127.0.0.1:1")
        #expect(plan.clientCount == 1000 && plan.processCount == 1)
        #expect(plan.pace == .idle)
        #expect(plan.load.hasHeartbeats && plan.load.path == "/ws")
    }

    @Test func everyOtherClientIsAnEventStreamWhereBothAreMixed() throws {
        func streams(_ transport: String) throws -> [Bool] {
            let load = try plan("--gateway", "h:1", "--transport", transport).load
            return (0..<4).map { load.isEventStream(client: $0) }
        }
        #expect(try streams("websocket") == [false, false, false, false])
        #expect(try streams("events") == [true, true, true, true])
        #expect(try streams("mixed") == [false, true, false, true])
        expectRefused(["--gateway", "h:1", "--transport", "sse"], naming: "--transport")
    }

    @Test func issueKeyIsForGatewaysTokens() throws {
        let key = String(repeating: "k", count: 16)
        #expect(try plan("--gateway", "h:1").load.issueKey == nil)
        #expect(try plan("--gateway", "h:1", "--issue-key", key).load.issueKey == key)
        let long = String(repeating: "k", count: 257)
        for wrong in [String(key.dropLast()), long, key + ",k", key + " k", key + "\r"] {
            expectRefused(["--gateway", "h:1", "--issue-key", wrong], naming: "--issue-key")
        }
        expectRefused(
            ["--gateway", "h:1", "--token", "none", "--path", "/a", "--issue-key", key],
            naming: "--issue-key")
    }

    @Test(arguments: [("0.01", 0.01), ("0.2", 0.2), ("2000", 2000), ("1000000", 1_000_000)])
    func ratesMayHaveAFraction(text: String, rate: Double) throws {
        #expect(try plan("--gateway", "h:1", "--rate", text).pace == .rate(rate))
    }

    @Test(arguments: ["0", "0.009", "1000000.1", "-1", "1e3", "nan", "1.2.3", ".", ""])
    func otherRatesAreRefused(text: String) {
        expectRefused(["--gateway", "h:1", "--rate", text], naming: "--rate")
    }

    @Test func oneProcessHoldsFifteenThousand() throws {
        #expect(try plan("--gateway", "h:1", "--clients", "15000").processCount == 1)
        #expect(try plan("--gateway", "h:1", "--clients", "15001").processCount == 2)
        #expect(try plan("--gateway", "h:1", "--clients", "15000", "--processes", "3").processCount == 3)
    }

    @Test func tooFewDescriptorsAreRefusedWithTheNumberThatDoes() {
        expectRefused(
            ["--gateway", "h:1", "--clients", "2000"], descriptorLimit: 1024, naming: "--processes 3")
        #expect(throws: Never.self) {
            try plan("--gateway", "h:1", "--clients", "2000", "--processes", "3", descriptorLimit: 1024)
        }
    }

    @Test func connectionsOfTheirOwnTakeTwoDescriptorsAClient() throws {
        let (option, own) = ("--heartbeat-connections", "own")
        #expect(try plan("--gateway", "h:1").load.heartbeatConnections == .shared)
        #expect(try plan("--gateway", "h:1", option, own, "--clients", "7500").processCount == 1)
        #expect(try plan("--gateway", "h:1", option, own, "--clients", "7501").processCount == 2)
        let arguments = ["--gateway", "h:1", option, own]
        expectRefused(arguments + ["--clients", "449"], descriptorLimit: 1024, naming: "--processes 2")
        #expect(throws: Never.self) {
            try plan("--gateway", "h:1", option, own, "--clients", "448", descriptorLimit: 1024)
        }
        for wrong in [["--heartbeats", "off"], ["--token", "none", "--path", "/a"]] {
            expectRefused(arguments + wrong, naming: option)
        }
        expectRefused(["--gateway", "h:1", option, "each"], naming: option)
    }

    @Test func wrongUsageNamesTheOption() {
        let gateway = ["--gateway", "h:1"]
        expectRefused([], naming: "--gateway")
        expectRefused(["--gateway", "h"], naming: "--gateway")
        expectRefused(gateway + ["--clients", "0"], naming: "--clients")
        expectRefused(gateway + ["--rate", "5", "--window", "5"], naming: "--window")
        expectRefused(gateway + ["--window", "5", "--churn", "1"], naming: "--churn")
        expectRefused(gateway + ["--window", "5", "--failover", "h:2"], naming: "--failover")
        expectRefused(gateway + ["--failover", "h"], naming: "--failover")
        expectRefused(gateway + ["--window", "65536", "--rooms", "1000000"], naming: "--window")
        expectRefused(gateway + ["--payload", "\(LoadPayload.minimumBytes - 1)B"], naming: "--payload")
        expectRefused(gateway + ["--rooms-per-client", "2"], naming: "--rooms")
        expectRefused(gateway + ["--slow", "1000"], naming: "--slow")
        expectRefused(gateway + ["--messages", "10"], naming: "--messages")
        expectRefused(gateway + ["--token", "none"], naming: "--path")
        expectRefused(gateway + ["--path", "/x"], naming: "--path")
        expectRefused(gateway + ["--publish-url", "http://h:1/pub"], naming: "--publish-url")
        expectRefused(gateway + ["--redis", "http://h"], naming: "--redis")
        expectRefused(
            gateway + ["--redis", "cluster://h", "--prefix", "{x}:"],
            naming: "--prefix: expected no brace with a URL that begins with cluster:// or clusters://")
        expectRefused(gateway + ["--durable", "--payload", "65537B"], naming: "--payload")
        expectRefused(gateway + ["--durable", "--token", "none", "--path", "/x"], naming: "--durable")
        expectRefused(
            gateway + ["--durable", "--publish-url", "http://h:1/pub/{room}"], naming: "--publish-url")
    }

    @Test func anotherServerIsReachedByItsPath() throws {
        let plan = try plan(
            "--gateway", "h:1", "--token", "none", "--path", "/sub/{room}", "--publish-url",
            "http://h:2/pub/{room}")
        #expect(!plan.load.hasHeartbeats)
        #expect(RoomName.path(plan.load.path, rooms: [4], run: 0xab) == "/sub/load-ab-4")
        guard case .http(let url) = plan.target else {
            Issue.record("not by HTTP")
            return
        }
        #expect(url.endpoint == Endpoint("h:2") && url.path == "/pub/{room}")
    }

    @Test func theSmallestPayloadIsAccepted() throws {
        let size = LoadPayload.minimumBytes
        #expect(try plan("--gateway", "h:1", "--payload", "\(size)B").load.payloadBytes == size)
    }
}

struct TokenFetchTests {
    @Test func theTokenStandsInData() {
        #expect(TokenFetch.token(in: #"{"data":"ab-_9"}"#) == "ab-_9")
        for text in ["", "{}", #"{"data":""}"#, #"{"error":"x"}"#, #"{"data":"a b"}"#] {
            #expect(TokenFetch.token(in: text) == nil)
        }
    }
}
