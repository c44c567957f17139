// The built publisher against a real Redis.
import Foundation
import TestSupport
import Testing

@testable import Publisher

@Suite(.serialized) struct PublisherRunTests {
    private let redis: RedisServer

    init() throws { redis = try RedisServer() }

    private func start(_ arguments: String..., variables: [String: String] = [:]) throws -> Child {
        try Child.publisher(
            arguments, variables: ["REDIS_URL": try redis.url.description].merging(variables) { $1 })
    }

    /// Subscribes to rooms; every message shows as three lines: `message`, the channel, the payload.
    private func subscribe(_ channels: String...) throws -> Child {
        let socket = redis.socketPath
        let child = try Child("/usr/bin/env", ["redis-cli", "-s", socket, "subscribe"] + channels)
        for channel in channels {
            try eventually("\(channel) is subscribed") {
                try redis.command("PUBSUB", "NUMSUB", channel)
                    == .array([.bytes(Array(channel.utf8)), .integer(1)])
            }
        }
        return child
    }

    private func messages(_ subscriber: Child) -> [String] {
        let lines = subscriber.outputText.split(separator: "\n").map(String.init)
        return lines.indices.filter { lines[$0] == "message" && $0 + 2 < lines.count }.map {
            "\(lines[$0 + 1]) \(lines[$0 + 2])"
        }
    }

    @Test func eachRoomIsToldHowManyNodesReceivedIt() throws {
        let subscriber = try subscribe("room:a", "room:ü")
        let publisher = try start(
            "--room", "a", "--room", "ü", "--room", "none", "--type", "t", "--data", "{\"x\": 1.0}")
        #expect(try publisher.finish() == 0)
        #expect(publisher.outputText == "a: 1 node\nü: 1 node\nnone: 0 nodes\n")
        #expect(publisher.errorText == "")
        try eventually("both messages arrive") { messages(subscriber).count == 2 }
        let payload = #"{"type":"t","data":{"x": 1.0}}"#
        #expect(messages(subscriber) == ["room:a \(payload)", "room:ü \(payload)"])
        try subscriber.terminate()
    }

    @Test func dataMayComeFromStandardInput() throws {
        let subscriber = try subscribe("p:room:a")
        let publisher = try start(
            "--room", "a", "--data", "-", "--json", variables: ["PUBLISHER_PREFIX": "p:"])
        try publisher.write(" [1,\n2] \n")
        #expect(try publisher.finish() == 0)
        #expect(publisher.outputText == "{\"room\":\"a\",\"nodes\":1}\n")
        try eventually("the message arrives") { messages(subscriber).count == 1 }
        #expect(subscriber.outputText.contains("{\"type\":\"notice\",\"data\":[1,\n2]}\n"))
        try subscriber.terminate()
    }

    @Test func byteOrderMarkIsNoData() throws {
        let subscriber = try subscribe("room:a")
        let data = try start("--room", "a", "--data", "-")
        try data.write("\u{FEFF}1")
        #expect(try data.finish() == 0)
        let file = try start("--file", "-")
        try file.write("\u{FEFF}{\"room\":\"a\",\"data\":2}\n")
        #expect(try file.finish() == 0, "\(file.errorText)")
        try eventually("both messages arrive") { messages(subscriber).count == 2 }
        try subscriber.terminate()
    }

    @Test func misspeltVariablesAreNamed() throws {
        let publisher = try start(
            "--room", "a", "--data", "1",
            variables: ["PUBLISHER_TYP": "hunter2", "PUBLISHER_PORT": "tcp://10.0.0.1:80"])
        #expect(try publisher.finish() == 0)
        #expect(
            publisher.errorText
                == "publisher: warning: unknown environment variable PUBLISHER_TYP, did you mean PUBLISHER_TYPE?\n"
        )
        // Options of the other commands are known.
        let known = try start(
            "--room", "a", "--data", "1", variables: ["PUBLISHER_TOP": "5", "PUBLISHER_INTERVAL": "1s"])
        #expect(try known.finish() == 0)
        #expect(known.errorText == "")
    }

    @Test func wrongUsageIsOneLineAndSendsNothing() throws {
        let calls = [
            ["--room", "a", "--data", "{"], ["--room", "a", "--data", ""], ["--bogus"], [], ["extra"],
            ["--file", "/nonexistent"], ["--file", "/"], ["--room", "a", "--data", "1", "--timeout", "5"],
        ]
        for arguments in calls {
            let variables = ["REDIS_URL": try redis.url.description]
            let publisher = try Child.publisher(arguments, variables: variables)
            #expect(try publisher.finish() == 2, "\(arguments)")
            #expect(publisher.outputText == "")
            #expect(publisher.errorText.hasPrefix("publisher: "))
            #expect(publisher.errorText.split(separator: "\n").count == 1, "\(publisher.errorText)")
        }
        let standardInput = try start("--room", "a", "--data", "-")
        try standardInput.write("not json")
        #expect(try standardInput.finish() == 2)
        // INFO tells how often a command was called since the start.
        let statistics = try redis.command("INFO", "commandstats")
        guard case .bytes(let bytes) = statistics else {
            Issue.record("INFO answered \(statistics)")
            return
        }
        #expect(!String(decoding: bytes, as: UTF8.self).contains("cmdstat_publish"))
    }

    @Test func helpAndVersionNeedNothing() throws {
        let help = try start("--help", variables: ["PUBLISHER_REDIS_PASSWORD": "hunter2"])
        #expect(try help.finish() == 0)
        #expect(help.outputText == PublisherOptions.program.helpText)
        #expect(help.outputText.split(separator: "\n").allSatisfy { $0.count <= 100 })
        #expect(!help.outputText.contains("hunter2"))
        let version = try start("--version")
        #expect(try version.finish() == 0)
        #expect(version.outputText.hasPrefix("publisher "))
    }

    @Test func missingRedisIsTold() throws {
        redis.stop()
        let url = "unix://\(redis.socketPath)"
        let publisher = try start("--room", "a", "--data", "1", variables: ["REDIS_URL": url])
        #expect(try publisher.finish() == 1)
        #expect(publisher.errorText.contains("cannot reach Redis at \(url): "))
        #expect(publisher.errorText.contains("nothing was sent"))
    }

    @Test func refusalsOfOneRoomDoNotKeepTheOthers() throws {
        try redis.command("ACL", "SETUSER", "default", "resetchannels", "&room:ok*")
        let publisher = try start("--room", "ok1", "--room", "no", "--room", "ok2", "--data", "1")
        #expect(try publisher.finish() == 1)
        #expect(publisher.outputText == "ok1: 0 nodes\nok2: 0 nodes\n")
        #expect(publisher.errorText.contains("no: not published: NOPERM"))
        #expect(publisher.errorText.contains("published to 2 of 3 rooms"))
    }

    @Test func passwordsLogIn() throws {
        try redis.command("CONFIG", "SET", "requirepass", "hunter2")
        let without = try start("--room", "a", "--data", "1")
        #expect(try without.finish() == 1)
        #expect(without.errorText.contains("NOAUTH"))
        let wrong = try start("--room", "a", "--data", "1", variables: ["REDIS_PASSWORD": "hunter3"])
        #expect(try wrong.finish() == 1)
        #expect(wrong.errorText.contains("Redis refused AUTH: WRONGPASS"))
        #expect(!wrong.errorText.contains("hunter3"))
        let right = try start("--room", "a", "--data", "1", variables: ["REDIS_PASSWORD": "hunter2"])
        #expect(try right.finish() == 0)
    }

    @Test func filesKeepTheirOrder() throws {
        let subscriber = try subscribe("room:a")
        let count = 3000
        let publisher = try start("--file", "-", "--json")
        let lines = (0..<count).map { #"{"room":"a","type":"t","data":\#($0)}"# }
        try publisher.write(lines.joined(separator: "\n"))
        #expect(try publisher.finish() == 0)
        #expect(publisher.errorText == "")
        #expect(
            publisher.outputText.hasPrefix(
                "{\"ending\":\"complete\",\"sent\":3000,\"receivers\":3000,\"errors\":0,"))
        try eventually("all messages arrive") { messages(subscriber).count == count }
        #expect(messages(subscriber) == (0..<count).map { #"room:a {"type":"t","data":\#($0)}"# })
        try subscriber.terminate()
    }

    @Test func badLinesStopOrAreSkipped() throws {
        let file = redis.directory.appendingPathComponent("notices").path
        let long = String(repeating: "x", count: Notice.maximumBytes)
        let text = """
            {"room":"a","data":1}

            {"room":"a","data":}
            {"room":"a","data":2}
            {"room":"a","data":"\(long)"}
            {"room":"a","data":3}
            """
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let stopped = try start("--file", file)
        #expect(try stopped.finish() == 1)
        #expect(stopped.outputText.hasPrefix("sent 1, receivers 0, errors 1 (bad lines 1, "))
        #expect(stopped.errorText.contains("publisher: line 3: not JSON"))
        #expect(stopped.errorText.contains("stopped: nothing after line 3 "))
        let skipped = try start("--file", file, "--on-error", "skip")
        #expect(try skipped.finish() == 1)
        #expect(skipped.outputText.hasPrefix("sent 3, receivers 0, errors 2 (bad lines 2, "))
        #expect(skipped.errorText.contains("line 3: not JSON"))
        #expect(skipped.errorText.contains("line 5: longer than 1048576 bytes"))
    }

    @Test func refusedLinesFollowTheErrorRule() throws {
        try redis.command("ACL", "SETUSER", "default", "resetchannels", "&room:ok")
        let text = ["ok", "no", "ok"].map { #"{"room":"\#($0)","data":1}"# + "\n" }.joined()
        let skipped = try start("--file", "-", "--on-error", "skip")
        try skipped.write(text)
        #expect(try skipped.finish() == 1)
        #expect(skipped.outputText.hasPrefix("sent 2, receivers 0, errors 1 (bad lines 0, refused 1, "))
        #expect(skipped.errorText.contains("line 2: not published: NOPERM"))
        // Paced, each answer is known before the next line is sent.
        let stopped = try start("--file", "-", "--rate", "20")
        try stopped.write(text)
        #expect(try stopped.finish() == 1)
        #expect(stopped.outputText.hasPrefix("sent 1, receivers 0, errors 1 (bad lines 0, refused 1, "))
        #expect(stopped.errorText.contains("stopped: nothing after line 2 of stdin was sent"))
    }

    @Test func floodsOfBadLinesAreCounted() throws {
        let publisher = try start("--file", "-", "--on-error", "skip", "--quiet")
        try publisher.write(String(repeating: "x\n", count: 100))
        #expect(try publisher.finish() == 1)
        #expect(publisher.outputText == "")
        #expect(publisher.errorText.split(separator: "\n").count == FilePublisher.maximumComplaintCount + 1)
        #expect(publisher.errorText.hasSuffix("further errors are only counted\n"))
    }

    @Test func whatHasArrivedIsSentBeforeWaitingForMore() throws {
        let subscriber = try subscribe("room:a")
        let publisher = try start("--file", "-")
        try publisher.write("{\"room\":\"a\",\"data\":1}\n{\"room\":\"a\",")
        try eventually("the first message arrives") { messages(subscriber).count == 1 }
        try publisher.write("\"data\":2}\n")
        try eventually("the second message arrives") { messages(subscriber).count == 2 }
        #expect(try publisher.finish() == 0)
        try subscriber.terminate()
    }

    @Test func interruptsEndWithASummary() throws {
        let subscriber = try subscribe("room:a")
        let publisher = try start("--file", "-")
        try publisher.write("{\"room\":\"a\",\"data\":1}\n")
        try eventually("the message arrives") { messages(subscriber).count == 1 }
        publisher.interrupt()
        try eventually("the summary is there") { publisher.outputText.hasSuffix(" s\n") }
        #expect(try publisher.finish() == 130)
        #expect(publisher.outputText.hasPrefix("sent 1, receivers 1, errors 0, "))
        #expect(publisher.errorText.contains("interrupted: nothing after line 1 of stdin was sent"))
        try subscriber.terminate()
    }

    @Test func lostRedisLeavesLinesWithoutAnswer() throws {
        let subscriber = try subscribe("room:a")
        let publisher = try start("--file", "-", "--json")
        try publisher.write("{\"room\":\"a\",\"data\":1}\n")
        try eventually("the message arrives") { messages(subscriber).count == 1 }
        redis.stop()
        try publisher.write("{\"room\":\"a\",\"data\":2}\n{\"room\":\"a\",\"data\":3}\n")
        #expect(try publisher.finish() == 1)
        #expect(
            publisher.outputText.hasPrefix("{\"ending\":\"failed\",\"sent\":1,\"receivers\":1,\"errors\":"))
        #expect(!publisher.outputText.contains("\"unanswered\":0"))
        #expect(publisher.errorText.contains("lost Redis: "))
        #expect(publisher.errorText.contains("they may have been published or not"))
    }
}
