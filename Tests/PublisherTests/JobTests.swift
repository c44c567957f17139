import RedisSchema
import Options
import Testing

@testable import Publisher

@Suite struct JobTests {
    private func job(_ arguments: [String], _ environment: [String: String] = [:]) throws -> Job {
        let request = try PublisherOptions.program.parse(arguments) { environment[$0] }
        guard case .run(let values) = request else { throw UsageError("printed") }
        return try Job(values)
    }

    private func message(_ arguments: [String], _ environment: [String: String] = [:]) throws -> String {
        let error = #expect(throws: UsageError.self) { try job(arguments, environment) }
        return try #require(error).description
    }

    @Test func roomsKeepTheirOrderAndLoseRepeats() throws {
        let job = try job(["--room", "b", "--room", "a", "--room", "b", "--data", "1"])
        let rooms = try ["b", "a"].map { try #require(RoomId($0)) }
        #expect(job.source == .rooms(rooms, data: "1"))
        #expect(job.type == "notice")
        #expect(job.errorRule == .stop)
        #expect(job.ratePerSecond == nil)
        #expect(job.targets[0].timeout == .seconds(5))
        #expect(!job.isJson && !job.isQuiet)
    }

    @Test func filesTakeTheirOptions() throws {
        let job = try job([
            "--file", "-", "--rate", "10", "--on-error=skip", "--json", "--quiet", "--prefix", "s:",
        ])
        #expect(job.source == .file(path: "-"))
        #expect(job.ratePerSecond == 10)
        #expect(job.errorRule == .skip)
        #expect(job.isJson && job.isQuiet)
        let room = try #require(RoomId("a"))
        #expect(String(decoding: job.channels.room(room), as: UTF8.self) == "s:room:a")
    }

    @Test func combinationsWithoutSenseAreRefused() throws {
        #expect(try message([]).contains("expected --room and --data, or --file"))
        #expect(try message(["--data", "1"]).contains("expected --room"))
        #expect(try message(["--room", "a"]).hasPrefix("--data: missing"))
        #expect(try message(["--file", "x", "--room", "a"]).hasPrefix("--file: "))
        #expect(try message(["--file", "x", "--data", "1"]).hasPrefix("--file: "))
        #expect(try message(["--room", "a", "--data", "1", "--rate", "5"]).hasPrefix("--rate: "))
        #expect(try message(["--room", "a", "--data", "1", "--on-error", "skip"]).hasPrefix("--on-error: "))
        #expect(throws: Never.self) { try job(["--room", "a", "--data", "1"], ["PUBLISHER_RATE": "5"]) }
    }

    @Test func wrongValuesNameTheirOption() throws {
        #expect(
            try message(["--room", "", "--data", "1"]).hasPrefix(
                "--room: invalid value \"\", expected 1 to 128"))
        #expect(try message(["--room", "a\u{7}", "--data", "1"]).hasPrefix("--room: "))
        #expect(
            try message(["--room", "a,b", "--data", "1"]).hasSuffix("without control characters and commas"))
        #expect(try message(["--file", "x", "--from-line", "0"]).hasPrefix("--from-line: "))
        #expect(
            try message(["--file", "x", "--from-line", "9223372036854775807"]).hasPrefix("--from-line: "))
        #expect(try message(["--room", "a", "--data", "1", "--from-line", "2"]).hasPrefix("--from-line: "))
        #expect(try message(["--file", "x", "--rate", "0"]).hasPrefix("--rate: "))
        #expect(try message(["--file", "x", "--on-error", "ask"]).contains("expected stop|skip"))
        #expect(try message(["--file", ""]).hasPrefix("--file: "))
        let redis = try message(["--file", "x"], ["REDIS_URL": "http://:hunter2@h"])
        #expect(redis.hasPrefix("REDIS_URL: invalid value: the scheme is not redis://, "))
        #expect(!redis.contains("hunter2"))
    }

    @Test(arguments: ["{x}:", "x{", "}x"]) func noPrefixForAClusterHasABrace(_ prefix: String) throws {
        let cluster = ["--file", "x", "--redis", "cluster://127.0.0.1:7000"]
        #expect(
            try message(cluster + ["--prefix", prefix]).hasPrefix(
                "--prefix: expected no brace with a URL that begins with cluster:// or clusters://"))
        #expect(try message(cluster, ["PUBLISHER_PREFIX": prefix]).hasPrefix("PUBLISHER_PREFIX: "))
        #expect(throws: Never.self) { try job(cluster + ["--prefix", "x:"]) }
        let room = ["--room", "a{b}", "--data", "1", "--redis", "cluster://127.0.0.1:7000"]
        #expect(
            try message(room + ["--durable"])
                == "--room a{b}: in a Redis Cluster a room with { or } has no durable notices")
        #expect(throws: Never.self) { try job(room) }
        #expect(throws: Never.self) { try job(["--file", "x", "--prefix", prefix]) }
    }

    @Test func redisComesFromItsVariables() throws {
        let arguments = ["--file", "x"]
        #expect(try job(arguments).targets[0].url.description == "redis://127.0.0.1:6379")
        #expect(
            try job(arguments, ["REDIS_URL": "redis://a"]).targets[0].url.description == "redis://a:6379")
        let both = ["REDIS_URL": "redis://a", "PUBLISHER_REDIS": "redis://b", "REDIS_PASSWORD": "p"]
        #expect(try job(arguments, both).targets[0].url.description == "redis://:***@b:6379")
        #expect(try job(arguments, both).targets[0].url.authArguments == ["p"])
    }

    @Test func durableNoticesHaveTheirDefaults() throws {
        let arguments = ["--room", "a", "--data", "1"]
        #expect(try job(arguments).durability == nil)
        let durability = try #require(try job(arguments + ["--durable"]).durability)
        #expect(durability.once == nil && durability.replicaCount == nil)
        #expect(durability.bounds == HistoryBounds(limit: 1000, age: .seconds(3600)))
        let given = try #require(
            try job(
                arguments,
                [
                    "PUBLISHER_DURABLE": "on", "PUBLISHER_ONCE": "k", "PUBLISHER_HISTORY_LIMIT": "7",
                    "PUBLISHER_HISTORY_AGE": "10m", "PUBLISHER_REPLICAS": "2",
                ]
            ).durability)
        #expect(given.once == OnceKey("k") && given.replicaCount == 2)
        #expect(given.bounds == HistoryBounds(limit: 7, age: .seconds(600)))
    }

    @Test func wrongBoundsAreRefused() throws {
        let durable = ["--room", "a", "--data", "1", "--durable"]
        for (option, values) in [
            ("--history-limit", ["0", "1000000001", "x", "1e3"]),
            ("--history-age", ["9m", "600", "87601h"]),
            ("--replicas", ["0", "101", "-1"]),
            ("--once", ["", "a\u{1}", String(repeating: "k", count: 257)]),
        ] {
            for value in values where !(option == "--once" && value.isEmpty) {
                #expect(
                    try message(durable + [option, value]).hasPrefix("\(option): "), "\(option) \(value)")
            }
        }
        for option in ["--once", "--history-limit", "--history-age", "--replicas"] {
            #expect(
                try message(["--room", "a", "--data", "1", option, option == "--history-age" ? "10m" : "1"])
                    .hasPrefix("\(option): "), "\(option)")
        }
        #expect(try message(["--file", "-", "--durable", "--once", "k"]).hasPrefix("--once: "))
    }
}
