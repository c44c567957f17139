// The built `publisher revoke` against a real Redis with many records; and its options.
import EventLoop
import Foundation
import RedisSchema
import Options
import Redis
import TestSupport
import Testing

@testable import Publisher

@Suite struct RevokeJobTests {
    private func job(_ arguments: [String], _ environment: [String: String] = [:]) throws -> RevokeJob {
        let request = try RevokeOptions.program.parse(arguments) { environment[$0] }
        guard case .run(let values) = request else { throw UsageError("printed") }
        return try RevokeJob(values)
    }

    private func message(_ arguments: [String], _ environment: [String: String] = [:]) throws -> String {
        let error = #expect(throws: UsageError.self) { try job(arguments, environment) }
        return try #require(error).description
    }

    @Test func targetIsOneOfThree() throws {
        let text = "AAAAbbbbCCCCdddd0000-_-_"
        let (token, identity) = (try #require(Token(text)), try #require(Identity("a b")))
        #expect(try job(["--token", text]).target == .token(token))
        #expect(try job([], ["PUBLISHER_TOKEN": text]).target == .token(token))
        #expect(try job(["--user", "a b"]).target == .tokens(field: .userId, identity: identity))
        #expect(try job(["--device", "a b"]).target == .tokens(field: .deviceId, identity: identity))
        #expect(try message([]) == "nothing to revoke, expected --token, --user or --device")
        #expect(
            try message(["--user", "a", "--device", "b"]) == "--user, --device: expected only one of them")
        #expect(
            try message(["--user", "a"], ["PUBLISHER_TOKEN": text]).hasPrefix("PUBLISHER_TOKEN, --user: "))
    }

    @Test func tokensAreInNoMessage() throws {
        #expect(try !message(["--token", "hunter2"]).contains("hunter2"))
        #expect(try message(["--user", String(repeating: "x", count: 257)]).hasPrefix("--user: "))
    }

    /// What has no first word of a command is published as ever, whatever its rooms are called.
    @Test func firstWordNamesTheCommand() {
        #expect(Command.named(in: ["revoke", "--user", "a"]).command.word == "revoke")
        #expect(Command.named(in: ["revoke", "--user", "a"]).rest == ["--user", "a"])
        for arguments in [
            [], ["--room", "revoke"], ["--room", "a", "revoke"], ["Revoke"], ["revoked"], ["--help"],
        ] {
            let named = Command.named(in: arguments)
            #expect(named.command.word == nil)
            #expect(named.rest == arguments)
        }
        let words = Command.subcommands.compactMap(\.word)
        #expect(Set(words).count == words.count && words.count == Command.subcommands.count)
        for word in words { #expect(PublisherOptions.program.helpText.contains("publisher \(word) ")) }
    }
}

@Suite(.serialized) struct RevokeRunTests {
    private let redis: RedisServer

    init() throws { redis = try RedisServer() }

    private func start(_ arguments: String...) throws -> Child {
        try Child.publisher(["revoke"] + arguments, variables: ["REDIS_URL": try redis.url.description])
    }

    private func token(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "A", count: Token.byteCount - digits.count) + digits
    }

    /// Records of users, of which every hundredth is `ada`.
    private func fill(_ count: Int) throws {
        let session = try RedisSession(to: redis.url, timeout: .seconds(10), loop: EventLoop())
        let commands = (0..<count).map { number in
            let user = number % 100 == 0 ? "ada" : "user-\(number)"
            return ["HSET", "client:\(token(number))", "userId", user].map { Array($0.utf8) }
        }
        _ = try session.replies(to: commands)
    }

    /// Many pages, beside keys that are no records and records that are no tokens.
    @Test func everyRecordOfTheUserIsFound() throws {
        try fill(12_345)
        try redis.command("SET", "client:\(token(100_000))", "no hash")
        try redis.command("HSET", "client:short", "userId", "ada")
        try redis.command("HSET", "other:\(token(0))", "userId", "ada")
        let publisher = try start("--user", "ada", "--json")
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        let result = #"{"ending":"complete","tokens":124,"connections":0,"records":12345,"seconds":"#
        #expect(publisher.outputText.hasPrefix(result))
        // A tombstone in place of each.
        #expect(try redis.command("DBSIZE") == .integer(12_345 + 3))
        let again = try start("--user", "ada")
        #expect(try again.finish() == 0)
        #expect(again.outputText == "no token found in 12221 records\n")
    }

    @Test func nodeIsToldOnItsChannel() throws {
        let subscriber = try Child(
            "/usr/bin/env", ["redis-cli", "-s", redis.socketPath, "subscribe", "gateway:n1"])
        try eventually("the channel is subscribed") {
            try redis.command("PUBSUB", "NUMSUB", "gateway:n1")
                == .array([.bytes(Array("gateway:n1".utf8)), .integer(1)])
        }
        try redis.command("HSET", "client:\(token(1))", "userId", "ada", "node", "n1")
        let publisher = try start("--token", token(1))
        #expect(try publisher.finish() == 0)
        #expect(publisher.outputText == "AAAA…: connected to n1\nrevoked 1 token, 1 connected\n")
        try eventually("the message arrives") { subscriber.outputText.contains("revoked \(token(1))\n") }
        try subscriber.terminate()
    }

    /// The record is deleted and its node may not be told: that is said, and no success.
    @Test func refusalsAreFailures() throws {
        try redis.command("HSET", "client:\(token(1))", "userId", "ada", "node", "n1")
        try redis.command("ACL", "SETUSER", "default", "resetchannels", "&room:*")
        let untold = try start("--user", "ada")
        #expect(try untold.finish() == 1)
        #expect(untold.outputText.contains("AAAA…: connected to n1, which may not have been told\n"))
        // Redis 7.0 says that the user can't, later ones and Valkey that it has no permissions.
        #expect(
            untold.errorText.contains(
                /Redis refused PUBLISH: ERR (The user executing the script can't publish|.*No permissions .* channel)/
            ))
        #expect(try redis.command("GET", "client:\(token(1))") == .bytes(Array("revoked".utf8)))
        try redis.command("HSET", "client:\(token(2))", "userId", "ada")
        try redis.command("ACL", "SETUSER", "default", "-set", "-del")
        let undeleted = try start("--token", token(2))
        #expect(try undeleted.finish() == 1)
        #expect(
            undeleted.errorText.contains(
                /Redis refused EVAL: ERR (The user executing the script can't run|.*no permissions to run)/)
        )
        #expect(undeleted.outputText == "")
        #expect(try redis.command("EXISTS", "client:\(token(2))") == .integer(1))
    }

    /// Whoever may write a record, or answers as Redis, does not drive the operator's terminal.
    @Test func recordsAndAnswersDriveNoTerminal() throws {
        try redis.command("HSET", "client:\(token(1))", "userId", "ada", "node", "\u{1B}[2J\u{9B}n\u{202E}1")
        try redis.command("ACL", "SETUSER", "default", "resetchannels", "&room:*")
        let revoked = try start("--user", "ada")
        #expect(try revoked.finish() == 1)
        #expect(revoked.outputText.contains(#"connected to \u{1b}[2J\u{9b}n\u{202e}1, which may not"#))
        let hostile = try AnsweringServer("-ERR \u{1B}]0;x\u{07} \u{9B}2J \u{202E}\u{2028}no\r\n")
        for arguments in [
            ["--room", "a", "--data", "1"], ["revoke", "--token", token(1)], ["nodes"], ["rooms"],
            ["watch", "--room", "a"], ["top"],
        ] {
            let url = "redis://127.0.0.1:\(hostile.port)"
            let publisher = try Child.publisher(arguments, variables: ["REDIS_URL": url])
            if arguments[0] == "watch" || arguments[0] == "top" {
                try eventually("it complains") { publisher.errorText.hasSuffix("\n") }
                try publisher.terminate()
            } else {
                #expect(try publisher.finish() == 1, "\(arguments): \(publisher.errorText)")
            }
            #expect(
                publisher.errorText.contains(#"\u{1b}]0;x\u{07} \u{9b}2J \u{202e}\u{2028}no"#),
                "\(publisher.errorText)"
            )
            let text = publisher.errorText + publisher.outputText
            #expect(!text.unicodeScalars.contains { [0x1B, 0x07, 0x9B, 0x202E, 0x2028].contains($0.value) })
        }
    }
}

/// Answers whatever it is sent with the same bytes, on any number of connections.
private final class AnsweringServer {
    let port: UInt16
    private let descriptor: Int32

    init(_ answer: String) throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        port = listening.port
        descriptor = listening.descriptor
        let flags = fcntl(descriptor, F_GETFL)
        try #require(fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) == 0)
        let descriptor = descriptor
        Thread.detachNewThread {
            while case let peer = accept(descriptor, nil, nil), peer >= 0 {
                Thread.detachNewThread {
                    var buffer = [UInt8](repeating: 0, count: 4096)
                    while read(peer, &buffer, buffer.count) > 0 {
                        guard
                            Array(answer.utf8).withUnsafeBytes({ write(peer, $0.baseAddress, $0.count) }) > 0
                        else {
                            break
                        }
                    }
                    close(peer)
                }
            }
        }
    }

    /// Wakes the thread that accepts, which then closes nothing but its own connections.
    deinit {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }
}
