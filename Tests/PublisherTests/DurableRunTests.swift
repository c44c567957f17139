// The built publisher with --durable against a real Redis.
import Foundation
import RedisSchema
import TestSupport
import Testing

@testable import Publisher

@Suite(.serialized) struct DurableRunTests {
    private let redis: RedisServer

    init() throws { redis = try RedisServer() }

    private func start(_ arguments: String..., port: Int? = nil) throws -> Child {
        let url = "redis://127.0.0.1:\(port ?? redis.port)"
        return try Child.publisher(arguments, variables: ["REDIS_URL": url])
    }

    private func loadLibrary() throws { try redis.command("FUNCTION", "LOAD", DurableLibrary.source) }

    /// The ids and frames of a room.
    private func entries(_ key: String) throws -> [(id: String, frame: String)] {
        guard case .array(let entries) = try redis.command("XRANGE", key, "-", "+") else { return [] }
        return entries.compactMap { entry in
            guard case .array(let parts) = entry, case .bytes(let id) = parts[0],
                case .array(let fields) = parts[1], case .bytes(let frame) = fields[1]
            else { return nil }
            return (String(decoding: id, as: UTF8.self), String(decoding: frame, as: UTF8.self))
        }
    }

    private func numbers(_ key: String) throws -> [Int] {
        try entries(key).compactMap { $0.frame.firstMatch(of: #/"data":(\d+)}/#).flatMap { Int($0.1) } }
    }

    private func lines(_ count: Int, room: String = "a") -> String {
        (1...count).map { #"{"room":"\#(room)","data":\#($0)}"# + "\n" }.joined()
    }

    private func write(_ text: String) throws -> String {
        let path = redis.directory.appendingPathComponent("\(UUID().uuidString).ndjson").path
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    // MARK: Results

    @Test func idIsPrintedAndTheFrameIsStored() throws {
        try loadLibrary()
        let publisher = try start("--durable", "--room", "a", "--room", "q\"", "--data", "{\"x\": 1.0}")
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        let (first, second) = (try entries("room:a"), try entries("room:q\""))
        #expect(first.count == 1 && second.count == 1)
        #expect(
            publisher.outputText == "a: 0 nodes, id \(first[0].id)\nq\": 0 nodes, id \(second[0].id)\n")
        #expect(
            first[0].frame == #"{"id":"\#(first[0].id)","room":"a","type":"notice","data":{"x": 1.0}}"#)
        #expect(second[0].frame.hasPrefix(#"{"id":"\#(second[0].id)","room":"q\"","#))
        #expect(publisher.errorText == "")
    }

    @Test func knownKeyPublishesNothingAndTellsTheFirstId() throws {
        try loadLibrary()
        let arguments = ["--durable", "--once", "order-4711", "--room", "a", "--data", "1"]
        func run(_ more: String...) throws -> Child {
            let child = try Child.publisher(
                arguments + more, variables: ["REDIS_URL": "redis://127.0.0.1:\(redis.port)"])
            #expect(try child.finish() == 0, "\(child.errorText)")
            return child
        }
        let first = try run("--json")
        let id = try #require(try entries("room:a").first?.id)
        #expect(first.outputText == "{\"room\":\"a\",\"nodes\":0,\"id\":\"\(id)\"}\n")
        #expect(try run().outputText == "a: already published, id \(id)\n")
        #expect(
            try run("--json").outputText
                == "{\"room\":\"a\",\"nodes\":null,\"id\":\"\(id)\",\"known\":true}\n")
        #expect(try entries("room:a").count == 1)
        guard case .integer(let life) = try redis.command("PTTL", "once:{room:a}:order-4711") else { return }
        #expect((200_000...300_000).contains(life))
    }

    @Test func prefixAndBoundsReachRedis() throws {
        try loadLibrary()
        let publisher = try start(
            "--durable", "--prefix", "p:", "--once", "k", "--history-limit", "3", "--history-age", "10m",
            "--room",
            "a", "--data", "1", "--timeout", "2m")
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(try entries("p:room:a").count == 1)
        guard case .integer(let life) = try redis.command("PTTL", "p:room:a"),
            case .integer(let once) = try redis.command("PTTL", "p:once:{p:room:a}:k")
        else {
            Issue.record("a key is missing")
            return
        }
        #expect((600_000...750_000).contains(life))
        // It outlives all that is tried within the timeout.
        #expect((400_000...480_000).contains(once))
    }

    @Test func linesHaveKeysOfTheirOwnOrOneOfTheRun() throws {
        try loadLibrary()
        let text = #"{"room":"a","data":1,"once":"x"}"# + "\n" + #"{"room":"a","data":2}"# + "\n"
        for (known, stored) in [(0, [1, 2]), (1, [1, 2, 2])] {
            let publisher = try start("--durable", "--file", try write(text), "--json")
            #expect(try publisher.finish() == 0, "\(publisher.errorText)")
            #expect(publisher.outputText.contains("\"sent\":\(2 - known),\"known\":\(known),"))
            #expect(try numbers("room:a") == stored)
        }
        let plain = try start("--file", try write(text))
        #expect(try plain.finish() == 1)
        #expect(plain.errorText.contains("line 1: member \"once\" is for --durable only"))
    }

    // MARK: How it publishes

    /// Without the library and without the right to load it the source goes with each notice.
    @Test func sourceIsSentWhereTheLibraryCannotBeLoaded() throws {
        try redis.command("ACL", "SETUSER", "default", "-function|load")
        let publisher = try start("--durable", "--file", try write(lines(700)), "--json")
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(try numbers("room:a") == Array(1...700))
        #expect(try redis.command("FUNCTION", "LIST") == .array([]))
    }

    @Test func missingLibraryIsLoaded() throws {
        let publisher = try start("--durable", "--file", try write(lines(700)))
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(try numbers("room:a") == Array(1...700))
        #expect(
            try redis.command("FCALL_RO", "roomcast1_version", "0") == .integer(DurableLibrary.version))
    }

    // MARK: Lost connections

    /// Cut between the answer of Redis and the publisher, at every connection but the last.
    @Test func cutConnectionStoresEachNoticeOnce() throws {
        try loadLibrary()
        let proxy = try CuttingProxy(to: redis.port, passing: [0, 0])
        let publisher = try start("--durable", "--room", "a", "--data", "1", "--json", port: proxy.port)
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        let stored = try entries("room:a")
        #expect(stored.count == 1)
        #expect(publisher.outputText == "{\"room\":\"a\",\"nodes\":null,\"id\":\"\(stored[0].id)\"}\n")
        #expect(proxy.connectionCount == 3)
    }

    /// The first answer passes, so that the others are in flight together; then it is cut again and again.
    @Test(arguments: [false, true])
    func cutPipelineStoresEachLineOnceAndInOrder(hasLibrary: Bool) throws {
        if hasLibrary { try loadLibrary() }
        let proxy = try CuttingProxy(to: redis.port, passing: [100, 5_000, 0, 20_000, 131])
        let publisher = try start(
            "--durable", "--history-limit", "9999", "--file", try write(lines(3_000)), "--json",
            port: proxy.port)
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(try numbers("room:a") == Array(1...3_000))
        #expect(publisher.outputText.contains("\"sent\":3000,\"known\":0,"))
        #expect(proxy.connectionCount == 6)
    }

    @Test func killedClientGoesOn() throws {
        try loadLibrary()
        let publisher = try start("--durable", "--file", "-", "--json")
        for number in 1...5 {
            try publisher.write(#"{"room":"a","data":\#(number)}"# + "\n")
            try eventually("\(number) is stored") { try numbers("room:a").count == number }
            try redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        }
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(try numbers("room:a") == Array(1...5))
    }

    @Test func loadingServerIsWaitedFor() throws {
        let fake = try FakeRedis { connection in
            try connection.expect("roomcast_publish")
            let isReady = connection.number > 1
            connection.send(isReady ? "*2\r\n$3\r\n5-1\r\n:2\r\n" : "-LOADING Redis is loading\r\n")
            _ = connection.awaitEnd()
        }
        let publisher = try start("--durable", "--room", "a", "--data", "1", port: fake.port)
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(publisher.outputText == "a: 2 nodes, id 5-1\n")
    }

    @Test func lossBeyondTheTimeoutIsTold() throws {
        try loadLibrary()
        let proxy = try CuttingProxy(to: redis.port, passing: Array(repeating: 0, count: 1_000))
        let publisher = try start(
            "--durable", "--room", "a", "--data", "1", "--timeout", "300ms", port: proxy.port)
        #expect(try publisher.finish() == 1)
        #expect(publisher.errorText.contains("a: no answer from Redis, may have been published or not"))
        #expect(publisher.errorText.contains("lost Redis: "))
        #expect(try entries("room:a").count == 1)
    }

    // MARK: Refusals

    @Test func refusalsAreClearAndSendNothing() throws {
        try loadLibrary()
        try redis.command("SET", "room:text", "x")
        let typed = try start("--durable", "--room", "text", "--room", "a", "--data", "1")
        #expect(try typed.finish() == 1)
        #expect(typed.errorText.contains("text: not published: WRONGTYPE "))
        #expect(typed.errorText.contains("published to 1 of 2 rooms"))
        #expect(try entries("room:a").count == 1)
        try redis.command("CONFIG", "SET", "maxmemory", "1")
        try redis.command("CONFIG", "RESETSTAT")
        let full = try start("--durable", "--room", "a", "--data", "1", "--json")
        #expect(try full.finish() == 1)
        #expect(full.outputText.hasPrefix("{\"room\":\"a\",\"error\":\"OOM "))
        #expect(try redis.information("commandstats", "cmdstat_publish") == nil)
        #expect(try entries("room:a").count == 1)
    }

    @Test func missingReplicasAreTold() throws {
        try loadLibrary()
        let room = try start(
            "--durable", "--replicas", "1", "--timeout", "200ms", "--room", "a", "--data", "1", "--json")
        #expect(try room.finish() == 1)
        let id = try #require(try entries("room:a").first?.id)
        #expect(
            room.outputText
                == "{\"room\":\"a\",\"nodes\":0,\"id\":\"\(id)\",\"replicas\":\"only 0 of 1 replicas have it\"}\n"
        )
        #expect(
            room.errorText == "publisher: a: stored and pushed, but only 0 of 1 replicas have it\n")
        let file = try start(
            "--durable", "--replicas", "2", "--timeout", "200ms", "--file", try write(lines(3)),
            "--on-error",
            "skip", "--json")
        #expect(try file.finish() == 1)
        #expect(file.errorText.contains("line 3: stored and pushed, but only 0 of 2 replicas have it"))
        #expect(file.outputText.contains("\"sent\":3,\"known\":0,"))
        #expect(file.outputText.contains("\"tooFewReplicas\":3"))
    }

    @Test func replicasThatHaveItAreEnough() throws {
        try loadLibrary()
        let replica = try RedisServer()
        try replica.command("REPLICAOF", "127.0.0.1", "\(redis.port)")
        try eventually("the replica is in step") {
            try replica.information("replication", "master_link_status") == "up"
        }
        let proxy = try CuttingProxy(to: redis.port, passing: [100, 5_000])
        let publisher = try start(
            "--durable", "--replicas", "1", "--file", try write(lines(1_000)), "--json", port: proxy.port)
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(try numbers("room:a") == Array(1...1_000))
        #expect(try replica.command("XLEN", "room:a") == .integer(1_000))
        #expect(publisher.outputText.contains("\"sent\":1000,\"known\":0,"))
    }

    // MARK: The library

    @Test func libraryAndScriptArePrintedWithoutRedis() throws {
        redis.stop()
        let library = try start("library")
        #expect(try library.finish() == 0)
        #expect(library.outputText == DurableLibrary.source)
        let script = try start("library", "--eval")
        #expect(try script.finish() == 0)
        #expect(script.outputText == DurableLibrary.script)
        try redis.start()
        #expect(try redis.command("FUNCTION", "LOAD", library.outputText) == .bytes(Array("roomcast1".utf8)))
    }
}
