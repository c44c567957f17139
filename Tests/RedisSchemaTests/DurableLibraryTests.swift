// The library and the script on a real Redis: what they store, publish and refuse, and which version stays.
import EventLoop
import Foundation
import Redis
import TestSupport
import Testing

@testable import RedisSchema

@Suite struct DurableLibraryTests {
    private let redis: RedisServer

    init() throws { redis = try RedisServer() }

    /// The two ways of the same effect.
    enum Form: CaseIterable {
        case function, script

        var words: [String] {
            switch self {
            case .function: ["FCALL", "roomcast_publish"]
            case .script: ["EVAL", DurableLibrary.script]
            }
        }
    }

    private static let notice = #"{"type":"notice","data":{"text":"é \" 🎉"}}"#
    /// Redis' clock is behind it, so that ids are known in advance.
    private static let future = "9999999999999"

    @discardableResult
    private func publish(
        _ form: Form, keys: [String] = ["room:a"], _ arguments: [String] = [notice], as user: String? = nil
    ) throws -> Reply {
        let command = form.words + ["\(keys.count)"] + keys + arguments
        guard let user else { return try redis.command(bytes: command.map { Array($0.utf8) }) }
        let url = try redis.url(credentials: "\(user):pw@")
        let session = try RedisSession(to: url, timeout: .seconds(10), loop: EventLoop())
        return try session.replies(to: [command.map { Array($0.utf8) }])[0]
    }

    @discardableResult
    private func load() throws -> RedisFailure? {
        let session = try RedisSession(to: redis.url, timeout: .seconds(10), loop: EventLoop())
        var outcome: RedisFailure??
        DurableLibrary.load(send: { session.send($0, onReply: $1) }) { outcome = .some($0) }
        try session.wait { outcome != nil }
        return try #require(outcome)
    }

    private func loadedVersion() throws -> Reply { try redis.command("FCALL_RO", "roomcast1_version", "0") }

    /// The library with another number.
    private func source(version: Int) -> String {
        let ours = "return \(DurableLibrary.version) end"
        precondition(DurableLibrary.source.contains(ours))
        return DurableLibrary.source.replacingOccurrences(of: ours, with: "return \(version) end")
    }

    /// How often a command was carried out since CONFIG RESETSTAT.
    private func calls(_ command: String) throws -> Int {
        let text = try redis.information("commandstats", "cmdstat_\(command)") ?? "calls=0"
        return try #require(text.firstMatch(of: #/calls=(\d+)/#).flatMap { Int($0.1) })
    }

    private func frames(_ key: String, database: Int = 0) throws -> Reply {
        let session = try RedisSession(
            to: redis.url(database: database), timeout: .seconds(10), loop: EventLoop())
        return try session.replies(to: [["XRANGE", key, "-", "+"].map { Array($0.utf8) }])[0]
    }

    private func bytes(_ text: String) -> Reply { .bytes(Array(text.utf8)) }

    // MARK: Versions

    @Test func missingLibraryIsLoadedOnce() throws {
        #expect(try load() == nil)
        #expect(try loadedVersion() == .integer(DurableLibrary.version))
        try redis.command("CONFIG", "RESETSTAT")
        #expect(try load() == nil)
        #expect(try calls("function|load") == 0)
    }

    @Test func lowerVersionIsReplacedAndHigherOneStays() throws {
        try redis.command("FUNCTION", "LOAD", source(version: 0))
        #expect(try load() == nil)
        #expect(try loadedVersion() == .integer(DurableLibrary.version))
        let higher = DurableLibrary.version + 1
        try redis.command("FUNCTION", "LOAD", "REPLACE", source(version: Int(higher)))
        #expect(try load() == nil)
        #expect(try loadedVersion() == .integer(higher))
    }

    /// Another node has loaded it between the question and the load.
    @Test func libraryThatAppearsMeanwhileIsFine() throws {
        let higher = Int(DurableLibrary.version + 1)
        let session = try RedisSession(to: redis.url, timeout: .seconds(10), loop: EventLoop())
        var outcome: RedisFailure??
        var isAsked = false
        DurableLibrary.load(
            send: { [redis] command, onReply in
                session.send(command) { reply in
                    onReply(reply)
                    _ = redis
                }
                isAsked = true
            }, onDone: { outcome = .some($0) })
        // The question is on its way; its answer is read after this.
        session.flush()
        #expect(isAsked)
        try redis.command("FUNCTION", "LOAD", source(version: higher))
        try session.wait { outcome != nil }
        #expect(try #require(outcome) == nil)
        #expect(try loadedVersion() == .integer(Int64(higher)))
    }

    @Test func failuresAreNamed() throws {
        try redis.command("ACL", "SETUSER", "default", "-function|load")
        guard case .refused(let message)? = try load() else {
            Issue.record("it was loaded")
            return
        }
        #expect(message.hasPrefix("NOPERM"))
    }

    /// In a cluster other masters may have the library, so that many notices are on their way to one without.
    @Test func noticesWaitInTheirOrderWhileAServerGetsTheLibrary() throws {
        var sent: [(name: String, onReply: (Result<RedisReply, RedisFailure>) -> Void)] = []
        let sender = DurableSender(prefix: "") { command, _, onReply in
            sent.append((command.slot == nil ? command.name : "\(command.byteCount)", onReply))
        }
        let missing = Result<RedisReply, RedisFailure>.failure(.refused("ERR Function not found"))
        // Of different lengths, by which they are told apart here.
        for length in 1...4 {
            let data = [UInt8](#"{"type":"a"\#(String(repeating: " ", count: length * 10))}"#.utf8)
            let notice = DurableNotice(
                room: try #require(RoomId("a")), payload: data, once: nil, bounds: HistoryBounds())
            if length == 3 {
                sent[0].onReply(missing)
                sent[1].onReply(missing)
            }
            sender.publish(notice) { _ in }
        }
        #expect(sent.map(\.name).dropFirst(2) == ["FCALL_RO"])
        sent[2].onReply(missing)
        #expect(sent.map(\.name).dropFirst(3) == ["FUNCTION"])
        sent[3].onReply(.failure(.refused("ERR Library 'roomcast1' already exists")))
        let lengths = sent.dropFirst(4).compactMap { Int($0.name) }
        #expect(lengths.count == 4 && lengths == lengths.sorted())
        #expect(sent.prefix(2).map(\.name) == lengths.prefix(2).map { "\($0)" })
    }

    /// As Redis 6 answers.
    @Test func serverWithoutFunctionsGetsTheScriptAndIsNamedIfItRefusesThat() throws {
        var sent: [String] = []
        let sender = DurableSender(prefix: "") { command, key, onReply in
            #expect(key == [UInt8]("room:a"))
            let name = command.name
            sent.append(name)
            onReply(
                .failure(
                    .refused(
                        name == "EVAL"
                            ? "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'"
                            : "ERR unknown command `\(name)`, with args beginning with: ")))
        }
        let notice = DurableNotice(
            room: try #require(RoomId("a")), payload: Array(Self.notice.utf8), once: nil,
            bounds: HistoryBounds())
        var outcomes: [Result<DurableNotice.Outcome, RedisFailure>] = []
        for _ in 0..<2 { sender.publish(notice) { outcomes.append($0) } }
        #expect(sent == ["FCALL", "FCALL_RO", "EVAL", "EVAL"])
        for outcome in outcomes {
            guard case .failure(.refused(let message)) = outcome else {
                Issue.record("published: \(outcome)")
                continue
            }
            #expect(message.hasPrefix("durable notices need Redis 7 or Valkey; this server says: ERR Error"))
        }
        #expect(outcomes.count == 2)
    }

    // MARK: Effect

    /// In two databases of one server, so that even the keys are the same.
    @Test func scriptAndFunctionStoreAndAnswerTheSame() throws {
        try load()
        let rooms = ["room:a", #"p:room:q"u\o%te"#, "room:a room:b {c}"]
        for (database, form) in zip([1, 2], [Form.function, .script]) {
            let session = try RedisSession(
                to: redis.url(database: database), timeout: .seconds(10), loop: EventLoop())
            for room in rooms {
                let once = "once:{\(room)}:k"
                let commands =
                    [["XADD", room, "\(Self.future)-7", "d", "x"]]
                    + [[room], [room, once], [room, once]].map { keys in
                        form.words + ["\(keys.count)"] + keys + [Self.notice, "5", "600000", "10000"]
                    }
                let replies = try session.replies(to: commands.map { $0.map { Array($0.utf8) } })
                #expect(replies[1] == .array([bytes("\(Self.future)-8"), .integer(0)]), "\(form)")
                #expect(replies[2] == .array([bytes("\(Self.future)-9"), .integer(0)]))
                #expect(replies[3] == .array([bytes("\(Self.future)-9"), .integer(-1)]))
            }
        }
        for room in rooms {
            let stored = try frames(room, database: 1)
            #expect(try frames(room, database: 2) == stored)
            guard case .array(let entries) = stored, case .array(let fields) = entries[1],
                case .array(let values) = fields[1], case .bytes(let frame) = values[1]
            else {
                Issue.record("\(stored)")
                continue
            }
            #expect(entries.count == 3)
            let id = String(room[room.range(of: "room:")!.upperBound...])
                .replacingOccurrences(of: #"\"#, with: #"\\"#).replacingOccurrences(of: "\"", with: #"\""#)
            #expect(
                String(decoding: frame, as: UTF8.self)
                    == #"{"id":"\#(Self.future)-8","room":"\#(id)","# + Self.notice.dropFirst())
        }
    }

    /// n counts from 1, ms is Redis' clock and never goes back.
    @Test(arguments: Form.allCases)
    func idsCountAndTimeNeverGoesBack(form: Form) throws {
        try load()
        var ids: [NoticeId] = []
        for _ in 0..<3 {
            guard case .array(let reply) = try publish(form), case .bytes(let id) = reply[0] else {
                Issue.record("no id")
                return
            }
            ids.append(try #require(NoticeId(id)))
        }
        #expect(ids.map(\.number) == [1, 2, 3])
        #expect(ids.sorted() == ids)
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        #expect(ids.allSatisfy { $0.milliseconds + 600_000 > now && $0.milliseconds <= now + 1 })
    }

    @Test(arguments: Form.allCases)
    func roomIsBoundedInNumberAndTime(form: Form) throws {
        try load()
        for _ in 0..<300 { try publish(form, [Self.notice, "10", "600000"]) }
        guard case .integer(let count) = try redis.command("XLEN", "room:a"),
            case .integer(let life) = try redis.command("PTTL", "room:a")
        else {
            Issue.record("no stream")
            return
        }
        // Redis trims whole blocks, of 100 entries by default.
        #expect((10...110).contains(count))
        #expect((600_000...750_000).contains(life))
    }

    // MARK: Refusals

    /// What must leave room and channel as they were: what is done first, the call, and how the refusal begins.
    struct Refusal: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var preparation: [[String]] = []
        var keys = ["room:a"]
        var arguments = [notice]
        var user: String?
        let expected: String
    }

    static let refusals: [Refusal] =
        [
            Refusal(
                testDescription: "memory is full", preparation: [["CONFIG", "SET", "maxmemory", "1"]],
                expected: "OOM "),
            Refusal(
                testDescription: "replica", preparation: [["REPLICAOF", "127.0.0.1", "1"]],
                expected: "READONLY "),
            Refusal(
                testDescription: "no replicas",
                preparation: [["CONFIG", "SET", "min-replicas-to-write", "1"]], expected: "NOREPLICAS "),
            Refusal(
                testDescription: "another type", preparation: [["DEL", "room:a"], ["SET", "room:a", "x"]],
                expected: "WRONGTYPE "),
            Refusal(
                testDescription: "no right to the channel",
                preparation: [
                    ["ACL", "SETUSER", "u", "on", ">pw", "+@all", "allkeys", "resetchannels", "&room:b"]
                ], user: "u", expected: "NOPERM "),
            Refusal(
                testDescription: "no right to the key",
                preparation: [
                    ["ACL", "SETUSER", "u", "on", ">pw", "+@all", "resetkeys", "~room:b", "allchannels"]
                ], user: "u", expected: "NOPERM "),
            Refusal(testDescription: "no key", keys: [], expected: "ERR roomcast: the keys are "),
            Refusal(testDescription: "no room", keys: ["room:"], expected: "ERR roomcast: the keys are "),
            Refusal(
                testDescription: "three keys", keys: ["room:a", "once:b", "c"],
                expected: "ERR roomcast: the keys are "),
            Refusal(
                testDescription: "no notice", arguments: [], expected: "ERR roomcast: a durable notice is"),
            Refusal(
                testDescription: "too long",
                arguments: [#"{"a":""# + String(repeating: "x", count: 65_529) + #""}"#],
                expected: "ERR roomcast: a durable notice has at most 65536 bytes"),
        ]
        + ["", "{}", "[1]", #" {"a":1}"#, #"{"a":1} "#, "1"].map {
            Refusal(
                testDescription: "notice \($0)", arguments: [$0],
                expected: "ERR roomcast: a durable notice is a JSON object")
        }
        + ["0", "-1", "nan", "inf", "1e30", "x", ""].flatMap { number in
            [
                Refusal(
                    testDescription: "limit \(number)", arguments: [notice, number],
                    expected: "ERR roomcast: 1 to "),
                Refusal(
                    testDescription: "age \(number)", arguments: [notice, "10", number],
                    expected: "ERR roomcast: 1 to "),
                Refusal(
                    testDescription: "once \(number)", arguments: [notice, "10", "600000", number],
                    expected: "ERR roomcast: a once key lives "),
            ]
        } + [
            Refusal(
                testDescription: "age below", arguments: [notice, "10", "599999"],
                expected: "ERR roomcast: 1 to "),
            Refusal(
                testDescription: "once below", arguments: [notice, "10", "600000", "9999"],
                expected: "ERR roomcast: a once key lives "),
            Refusal(
                testDescription: "once above", arguments: [notice, "10", "600000", "3600001"],
                expected: "ERR roomcast: a once key lives "),
        ]

    @Test(arguments: refusals)
    func refusalsLeaveStreamAndChannelUntouched(refusal: Refusal) throws {
        try load()
        try publish(.function, [#"{"first":1}"#])
        for command in refusal.preparation { try redis.command(bytes: command.map { Array($0.utf8) }) }
        let before = try redis.command("DUMP", "room:a")
        try redis.command("CONFIG", "RESETSTAT")
        for form in Form.allCases {
            let reply = try publish(form, keys: refusal.keys, refusal.arguments, as: refusal.user)
            guard case .refused(let message) = reply else {
                Issue.record("\(form): \(reply)")
                continue
            }
            #expect(message.hasPrefix(refusal.expected), "\(form): \(message)")
        }
        #expect(try redis.command("DUMP", "room:a") == before)
        #expect(try redis.command("EXISTS", "once:b", "room:") == .integer(0))
        #expect(try calls("publish") == 0)
    }

    /// The limits themselves are taken.
    @Test(arguments: Form.allCases)
    func boundariesAreTaken(form: Form) throws {
        try load()
        let largest = #"{"a":""# + String(repeating: "x", count: 65_528) + #""}"#
        #expect(largest.utf8.count == 65_536)
        for arguments in [
            [largest], [#"{"":1}"#, "1", "600000", "10000"],
            [Self.notice, "1000000000", "10000000000000", "3600000"],
        ] {
            guard case .array = try publish(form, arguments) else {
                Issue.record("refused: \(arguments.dropFirst())")
                continue
            }
        }
    }
}
