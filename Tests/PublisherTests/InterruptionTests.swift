// What the built publisher tells when it cannot come to its end: which lines are out, which are not, which
// nobody knows.
import Foundation
import Options
import TestSupport
import Testing

@testable import Publisher

@Suite(.serialized) struct InterruptionTests {
    private func start(_ port: Int, _ arguments: [String]) throws -> Child {
        try Child.publisher(arguments, variables: ["REDIS_URL": "redis://127.0.0.1:\(port)"])
    }

    private func file(_ lines: [String]) throws -> String {
        let path = "/tmp/roomcast-test-\(UUID().uuidString).ndjson"
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func line(_ number: Int) -> String { #"{"room":"a","data":\#(number)}"# }

    private func nextLine(_ child: Child) throws -> Int {
        let match = child.errorText.firstMatch(of: #/go on with --from-line (\d+)/#)
        return try #require(match.flatMap { Int($0.1) }, "\(child.errorText)")
    }

    /// Redis dies while the window is full: every line is answered, named, or behind the line to go on from.
    @Test(arguments: [0, 1, 300, 600])
    func lossLeavesNoLineUnaccounted(answerCount: Int) throws {
        let redis = try ScriptedRedis(answering: answerCount, then: .close)
        let path = try file((1...3000).map(line))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let child = try start(redis.port, ["--file", path, "--json"])
        #expect(try child.finish() == 1)
        let next = try nextLine(child)
        let range = try #require(
            child.errorText.firstMatch(of: #/no answer for lines (\d+)(-(\d+))?: they may have been/#),
            "\(child.errorText)")
        let first = try #require(Int(range.1))
        let last = range.3.flatMap { Int($0) } ?? first
        #expect(first == answerCount + 1)
        #expect(next == last + 1)
        #expect(child.outputText.contains("\"sent\":\(answerCount),"))
        #expect(child.outputText.contains("\"unanswered\":\(last - answerCount),\"nextLine\":\(next),"))
        // What has reached the server lies within what is named.
        #expect(redis.payloads.count < next)
    }

    @Test func interruptedFilesGoOnWithoutLossOrRepeat() throws {
        let redis = try RedisServer()
        let subscriber = try Child(
            "/usr/bin/env", ["redis-cli", "-s", redis.socketPath, "subscribe", "room:a"])
        try eventually("the room is subscribed") {
            try redis.command("PUBSUB", "NUMSUB", "room:a")
                == .array([.bytes(Array("room:a".utf8)), .integer(1)])
        }
        func received() -> [Int] {
            subscriber.outputText.split(separator: "\n").compactMap { text in
                text.firstMatch(of: #/"data":(\d+)}/#).flatMap { Int($0.1) }
            }
        }
        // Blank lines have numbers, too. At 50 a second they last for longer than the machine needs for a
        // signal.
        let lines = (1...4000).map { $0 % 7 == 0 ? "" : line($0) }
        let path = try file(lines)
        defer { try? FileManager.default.removeItem(atPath: path) }
        var next = 1
        // Under nohup(1) the publisher keeps ignoring SIGHUP.
        for signalNumber in [SIGINT, SIGTERM] + (EndSignals.isIgnored(SIGHUP) ? [] : [SIGHUP]) {
            let before = received().count
            let child = try start(redis.port, ["--file", path, "--rate", "50", "--from-line", "\(next)"])
            try eventually("lines are sent") { received().count > before + 20 }
            kill(child.processID, signalNumber)
            #expect(try child.finish() == 128 + signalNumber)
            #expect(child.errorText.contains("interrupted: nothing after line "))
            next = try nextLine(child)
        }
        let last = try start(redis.port, ["--file", path, "--from-line", "\(next)"])
        #expect(try last.finish() == 0)
        #expect(last.errorText == "")
        let expected = (1...4000).filter { $0 % 7 != 0 }
        try eventually("all have arrived") { received().count >= expected.count }
        #expect(received() == expected)
        try subscriber.terminate()
    }

    @Test func linesBeyondTheFileAreAMistake() throws {
        let redis = try RedisServer()
        let path = try file([line(1), line(2)])
        defer { try? FileManager.default.removeItem(atPath: path) }
        let atEnd = try start(redis.port, ["--file", path, "--from-line", "3"])
        #expect(try atEnd.finish() == 0)
        #expect(atEnd.outputText.hasPrefix("sent 0, "))
        let beyond = try start(redis.port, ["--file", path, "--from-line", "4"])
        #expect(try beyond.finish() == 1)
        #expect(beyond.errorText.contains("has 2 lines only, expected --from-line within them"))
    }

    /// Under the rule `stop` hundreds of refusals may be under way: all of them are named.
    @Test func everyRefusedLineIsNamed() throws {
        let redis = try ScriptedRedis(answering: 400, then: .close, reply: "-NOPERM x\r\n")
        let path = try file((1...400).map(line))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let child = try start(redis.port, ["--file", path])
        #expect(try child.finish() == 1)
        #expect(child.errorText.contains("line 20: not published: NOPERM x"))
        #expect(child.errorText.contains("not published: lines 21-400\n"), "\(child.errorText)")
        #expect(try nextLine(child) == 401)
    }

    /// Both signals wait while the process is stopped, and are then delivered together: one wish.
    @Test func roomsAreAccountedForAfterASignal() throws {
        let redis = try ScriptedRedis(answering: 1, then: .silence)
        let child = try start(
            redis.port, ["--room", "a", "--room", "b", "--room", "c", "--data", "1", "--timeout", "1s"])
        try eventually("all are sent") { redis.payloads.count == 3 }
        for number in [SIGSTOP, SIGTERM, SIGINT, SIGCONT] { kill(child.processID, number) }
        let code = try child.finish()
        #expect(code == 143 || code == 130)
        #expect(child.outputText == "a: 1 node\n")
        for room in ["b", "c"] {
            #expect(
                child.errorText.contains("\(room): no answer from Redis, may have been published or not"))
        }
        #expect(child.errorText.contains("interrupted: published to 1 of 3 rooms"))
    }

    @Test func laterSecondSignalEndsAtOnce() throws {
        let redis = try ScriptedRedis(answering: 0, then: .silence)
        let child = try start(redis.port, ["--room", "a", "--data", "1", "--timeout", "5m"])
        try eventually("it is sent") { redis.payloads.count == 1 }
        try eventually("it ends") {
            kill(child.processID, SIGTERM)
            return !child.isRunning
        }
        #expect(try child.finish() == 143)
        #expect(child.outputText == "")
    }

    /// Before anything is under way a signal is no reason to wait: here for data that never come.
    @Test func signalBeforeTheFirstNoticeEndsAtOnce() throws {
        let child = try start(1, ["--room", "a", "--data", "-"])
        try eventually("signals are handled") { try child.catches(SIGTERM) }
        kill(child.processID, SIGTERM)
        try eventually("it ends") { !child.isRunning }
        #expect(try child.finish() == 143)
        #expect(child.errorText == "publisher: interrupted before anything was done\n")
    }

    /// What some other program takes for a request to report is none to end.
    @Test func strayedSignalsDoNothing() throws {
        let redis = try ScriptedRedis(answering: 1, then: .silence)
        let child = try start(redis.port, ["--file", "-"])
        try child.write(line(1) + "\n")
        try eventually("it is sent") { redis.payloads.count == 1 }
        for number in [SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ] { kill(child.processID, number) }
        #expect(try child.finish() == 0)
    }

    @Test func negativeNumberOfNodesIsNone() throws {
        let redis = try ScriptedRedis(answering: 1, then: .close, reply: ":-9223372036854775808\r\n")
        let child = try start(redis.port, ["--room", "a", "--data", "1"])
        #expect(try child.finish() == 1)
        #expect(child.errorText.contains("a: not published: unexpected answer to PUBLISH"))
    }

    @Test(arguments: [["--room", "a", "--data", "1"], ["--file", "-", "--json"]])
    func numbersOfNodesAreAddedWithoutEnd(arguments: [String]) throws {
        let redis = try ScriptedRedis(answering: 2, then: .close, reply: ":9223372036854775807\r\n")
        let child = try start(redis.port, arguments)
        if arguments[0] == "--file" { try child.write(line(1) + "\n" + line(2) + "\n") }
        #expect(try child.finish() == 0)
        #expect(child.outputText.contains("9223372036854775807"))
    }
}
