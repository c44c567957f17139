import Foundation
import Testing

@testable import Gateway

@Suite struct PrometheusTextTests {
    private struct Sample {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    private func lines(_ prepare: (Metrics, NodeState) -> Void = { _, _ in }) -> [Substring] {
        let metrics = Metrics(workerCount: 2, feedCount: 2)
        let state = NodeState(workerCount: 2, maximumClientCount: 500, maximumHttpConnectionCount: 9)
        prepare(metrics, state)
        return PrometheusText(metrics, state: state, nodeID: "n.1_x-y", droppedLogLines: 3).text
            .split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// `name{label="value",…} number`; nil for anything else.
    private func sample(_ line: Substring) throws -> Sample? {
        let grammar =
            #/
            ([a-zA-Z_:][a-zA-Z0-9_:]*)
            (?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})?
            \ ([^\ ]+)
            /#
        guard let match = try grammar.wholeMatch(in: line), let value = Double(match.3) else { return nil }
        var labels: [String: String] = [:]
        for label in (match.2 ?? "").matches(of: #/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/#) {
            labels[String(label.1)] = String(label.2)
        }
        return Sample(name: String(match.1), labels: labels, value: value)
    }

    private func samples(_ lines: [Substring], _ name: String) throws -> [Sample] {
        try lines.compactMap { $0.hasPrefix("#") ? nil : try sample($0) }.filter { $0.name == name }
    }

    @Test func everyLineMatchesTheExpositionFormat() throws {
        var lines = lines()
        #expect(lines.last == "", "the last line ends with a line feed")
        lines.removeLast()
        var types: [String: String] = [:]
        var family = ""
        var seen: Set<String> = []
        for line in lines {
            if let match = line.wholeMatch(of: #/# HELP ([a-z_]+) ([^\\]+)/#) {
                family = String(match.1)
                #expect(types[family] == nil, "\(family) comes twice")
            } else if let match = line.wholeMatch(of: #/# TYPE ([a-z_]+) (counter|gauge|histogram)/#) {
                #expect(match.1 == family, "HELP and TYPE belong together")
                types[family] = String(match.2)
            } else {
                let sample = try #require(try sample(line), "no sample: \(line)")
                let suffixes = types[family] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                #expect(suffixes.contains { sample.name == family + $0 }, "\(line) stands in \(family)")
                #expect(sample.value >= 0)
                #expect(seen.insert(String(line.prefix { $0 != " " })).inserted, "\(line) comes twice")
            }
        }
        for (name, type) in types {
            #expect(name.hasPrefix("roomcast_") || name.hasPrefix("process_"))
            #expect((type == "counter") == name.hasSuffix("_total"), "\(name)")
        }
        #expect(types.count > 20)
    }

    @Test func histogramBucketsAreCumulative() throws {
        let lines = lines { metrics, _ in
            metrics.workers[0].publishToFlush.record(nanoseconds: 50_000)
            metrics.workers[0].publishToFlush.record(nanoseconds: 600_000)
            metrics.workers[1].publishToFlush.record(nanoseconds: 600_000)
            metrics.workers[1].publishToFlush.record(nanoseconds: 60_000_000_000)
        }
        let buckets = try samples(lines, "roomcast_publish_to_flush_seconds_bucket")
        #expect(buckets.map(\.value) == buckets.map(\.value).sorted())
        let bounds = buckets.map { Double($0.labels["le"] ?? "") ?? .nan }
        #expect(bounds == DelayBuckets.bounds + [.infinity])
        #expect(buckets.first?.value == 1)
        #expect(buckets.first { $0.labels["le"] == "0.0005" }?.value == 1)
        #expect(buckets.first { $0.labels["le"] == "0.001" }?.value == 3)
        #expect(buckets.dropLast().last?.value == 3)
        #expect(buckets.last?.labels["le"] == "+Inf")
        #expect(buckets.last?.value == 4)
        #expect(try samples(lines, "roomcast_publish_to_flush_seconds_count").map(\.value) == [4])
        let sum = try #require(try samples(lines, "roomcast_publish_to_flush_seconds_sum").first).value
        #expect(abs(sum - 60.00125) < 1e-9)
    }

    @Test func workersAndFeedsAreSummedAndReasonsKeptApart() throws {
        let lines = lines { metrics, state in
            metrics.workers[0].clients[Transport.webSocket.rawValue].set(3)
            metrics.workers[1].clients[Transport.webSocket.rawValue].set(2)
            metrics.workers[1].clients[Transport.events.rawValue].set(2)
            metrics.workers[0].handshakes[Transport.events.rawValue].add(5)
            metrics.workers[1].handshakes[Transport.webSocket.rawValue].add(4)
            metrics.feeds[0].messagesReceived.add(5)
            metrics.feeds[1].messagesReceived.add(6)
            metrics.feeds[0].countGap(milliseconds: 1_000)
            metrics.feeds[1].countGap(milliseconds: 500)
            metrics.workers[0].close(.replaced)
            metrics.workers[1].close(.replaced)
            metrics.workers[1].close(.lost)
            metrics.workers[0].reject(.missingToken)
            state.setFeedUp(true, feed: 0)
            state.setCommandsUp(true, worker: 0)
            state.setCommandsUp(true, worker: 1)
        }
        #expect(try samples(lines, "roomcast_connections").map(\.value) == [7])
        #expect(try samples(lines, "roomcast_handshakes_total").map(\.value) == [9])
        for (name, values) in [
            ("roomcast_transport_connections", [5.0, 2]), ("roomcast_transport_handshakes_total", [4, 5]),
        ] {
            let samples = try samples(lines, name)
            #expect(samples.map { $0.labels["transport"] } == ["websocket", "events"])
            #expect(samples.map(\.value) == values)
        }
        #expect(try samples(lines, "roomcast_messages_received_total").map(\.value) == [11])
        #expect(try samples(lines, "roomcast_gaps_total").map(\.value) == [2])
        #expect(try samples(lines, "roomcast_gap_seconds_total").map(\.value) == [1.5])
        #expect(try samples(lines, "roomcast_connections_limit").map(\.value) == [500])
        #expect(try samples(lines, "roomcast_ready").map(\.value) == [1])
        #expect(try samples(lines, "roomcast_redis_up").map(\.value) == [1, 1])
        let closes = try samples(lines, "roomcast_closes_total")
        #expect(closes.first { $0.labels["code"] == "4001" }?.value == 2)
        #expect(closes.first { $0.labels["code"] == "lost" }?.value == 1)
        #expect(closes.first { $0.labels["code"] == "1013" }?.value == 0)
        let rejected = try samples(lines, "roomcast_handshakes_rejected_total")
        #expect(rejected.first { $0.labels["reason"] == "missing_token" }?.value == 1)
        #expect(rejected.map(\.value).reduce(0, +) == 1)
        #expect(try samples(lines, "roomcast_info").map { $0.labels["node"] } == ["n.1_x-y"])
    }

    @Test func linkIsUpWhenAllOfItsConnectionsAre() throws {
        let lines = lines { _, state in state.setCommandsUp(true, worker: 1) }
        let up = try samples(lines, "roomcast_redis_up")
        #expect(up.map { $0.labels["role"] } == ["subscriber", "command"])
        #expect(up.map(\.value) == [0, 0])
    }

    @Test func processIsMeasured() throws {
        let lines = lines()
        #expect(try samples(lines, "process_cpu_seconds_total").allSatisfy { $0.value > 0 })
        #expect(try samples(lines, "process_resident_memory_bytes").map { $0.value > 1e6 } == [true])
        let opened = open("/dev/null", O_RDONLY)
        defer { close(opened) }
        let limit = try #require(try samples(lines, "process_max_fds").first?.value)
        let count = try #require(try samples(self.lines(), "process_open_fds").first?.value)
        #expect(count > 3 && count <= limit)
        let start = try #require(try samples(lines, "process_start_time_seconds").first?.value)
        #expect(abs(start - Date().timeIntervalSince1970) < 3600)
        for name in ["process_open_fds", "process_max_fds", "process_start_time_seconds"] {
            #expect(lines.contains("# TYPE \(name) gauge"))
        }
    }
}
