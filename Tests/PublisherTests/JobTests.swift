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
        #expect(job.redis.timeout == .seconds(5))
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

    @Test func redisComesFromItsVariables() throws {
        let arguments = ["--file", "x"]
        #expect(try job(arguments).redis.url.description == "redis://127.0.0.1:6379")
        #expect(try job(arguments, ["REDIS_URL": "redis://a"]).redis.url.description == "redis://a:6379")
        let both = ["REDIS_URL": "redis://a", "PUBLISHER_REDIS": "redis://b", "REDIS_PASSWORD": "p"]
        #expect(try job(arguments, both).redis.url.description == "redis://:***@b:6379")
        #expect(try job(arguments, both).redis.url.authArguments == ["p"])
    }
}
