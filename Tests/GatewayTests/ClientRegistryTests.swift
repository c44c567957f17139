import EventLoop
import Glibc
import Network
import Redis
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

@Suite(.serialized) struct ClientRegistryTests {
    @Test(arguments: [true, false])
    func issuedTokenIsARecordWithALife(isLogin: Bool) throws {
        let rig = try RegistryRig()
        rig.issue(isLogin: isLogin)
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true"])
        #expect(try rig.field("userId") == (isLogin ? "me" : nil))
        #expect(try rig.field("deviceId") == (isLogin ? nil : "me"))
        #expect(try rig.field("isLogin") == "\(isLogin)")
        #expect(try rig.field("ttl") == "60")
        let issuedAt = Int64(try rig.field("issuedAt") ?? "") ?? 0
        #expect(abs(issuedAt - WallClock.unixMilliseconds) < 60_000)
        try rig.expectLife(60)
    }

    /// Nobody may fill Redis for an hour with tokens that nobody uses.
    @Test func unusedTokenLivesShorterUntilItIsUsed() throws {
        let rig = try RegistryRig("--unused-token-ttl", "50s")
        rig.issue()
        rig.scenario.then {
            try rig.expectLife(50)
            try rig.expect("ttl", "60")
        }
        rig.renew()
        rig.scenario.then { try rig.expectLife(60) }
        rig.issue()
        rig.attach()
        try rig.scenario.run()
        try rig.expectLife(60)
        #expect(rig.outcomes == ["issued true", "renewed", "issued true", "me true 60"])
    }

    @Test func unusedTokenLivesNoLongerThanAnyOther() throws {
        let rig = try RegistryRig("--unused-token-ttl", "10h")
        rig.issue()
        try rig.scenario.run()
        try rig.expectLife(60)
    }

    @Test func heartbeatRenewsByTheTtlOfTheRecord() throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.renew { try rig.server.command("EXPIRE", rig.key, "5000") }
        rig.scenario.then { try rig.expectLife(60) }
        rig.renew { try rig.set("ttl", "900") }
        rig.scenario.then { try rig.expectLife(900) }
        rig.renew { try rig.server.command("HDEL", rig.key, "ttl") }
        try rig.scenario.run()
        // A record without one has the node's.
        try rig.expectLife(60)
        #expect(rig.outcomes == ["issued true", "renewed", "renewed", "renewed"])
    }

    @Test func unknownDeletedAndExpiredTokensAreNotRenewed() throws {
        let rig = try RegistryRig()
        rig.renew()
        rig.issue()
        rig.renew { try rig.server.command("DEL", rig.key) }
        rig.issue()
        rig.renew { try rig.server.command("PEXPIRE", rig.key, "0") }
        try rig.scenario.run()
        let unknown = "unknownToken"
        #expect(rig.outcomes == [unknown, "issued true", unknown, "issued true", unknown])
        #expect(try rig.seconds() == -2, "a heartbeat makes no record")
    }

    @Test func remainingLifeIsTold() throws {
        let rig = try RegistryRig()
        rig.remaining()
        rig.issue()
        rig.remaining()
        rig.remaining { try rig.server.command("PERSIST", rig.key) }
        try rig.scenario.run()
        #expect(rig.outcomes == ["missing", "issued true", "some", "unlimited"])
    }

    @Test func connectionIsWrittenAndRenewsTheRecord() throws {
        let rig = try RegistryRig()
        rig.attach()
        rig.issue()
        rig.attach {
            try rig.set("ttl", "500")
            try rig.server.command("EXPIRE", rig.key, "5000")
        }
        try rig.scenario.run()
        #expect(rig.outcomes == ["unknownToken", "issued true", "me true 500"])
        let fields = try ["node", "ip", "rooms", "connectedAt", "connection", "ttl"].map {
            try rig.field($0)
        }
        #expect(fields == ["n1", "192.0.2.1", "a,b", "1000", "7", "500"])
        try rig.expectLife(500)
    }

    /// A handshake may still fail: until it is complete the older connection is untold and its record true.
    @Test func olderConnectionIsToldWhenTheNewerIsComplete() throws {
        let rig = try RegistryRig()
        var messages: [String] = []
        var isUp = false
        let subscriber = RedisSubscriber(
            url: try rig.server.url, clientName: "test", anchor: [UInt8]("gateway:n0"),
            silenceTimeout: .seconds(10), loop: rig.scenario.loop)
        subscriber.onUp = { isUp = true }
        subscriber.onMessage = { messages.append(String(decoding: $1, as: UTF8.self)) }
        defer { subscriber.stop() }
        rig.scenario.step("the subscriber", until: { isUp }) { subscriber.start() }
        rig.issue(isLogin: false)
        rig.attach(connection: 8) {
            try rig.set("node", "n0", "connection", "41", "rooms", "x", "order", "5")
            try rig.server.command("EXPIRE", rig.key, "5000")
        }
        rig.scenario.then {
            let fields = try ["node", "ip", "rooms", "connectedAt", "connection", "order"].map {
                try rig.field($0)
            }
            #expect(fields == ["n0", nil, "x", nil, "41", "5"])
            try rig.expectLife(60)
            #expect(rig.pending == [true])
            try rig.server.command("PUBLISH", "gateway:n0", "behind the attachment")
        }
        rig.scenario.step("the mark", until: { !messages.isEmpty })
        rig.ask { rig in try rig.confirm(8, order: rig.orders[0]) }
        rig.scenario.step("the message", until: { messages.count == 2 })
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "me false 60", "renewed"])
        #expect(messages == ["behind the attachment", "replaced \(rig.token.text) 41"])
        #expect(try rig.field("node") == "n1")
        #expect(try rig.field("connection") == "8")
        #expect(try rig.field("order") == "\(rig.orders[0])")
    }

    /// Of several handshakes under way the one that Redis has ordered last wins, in whichever order they
    /// complete.
    @Test(arguments: [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
    func lastInRedisOrderWins(completion: [Int]) throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.attach(connection: 20)
        for connection in 21...23 as ClosedRange<UInt64> { rig.attach(connection: connection) }
        for index in completion {
            rig.ask { rig in try rig.confirm(UInt64(21 + index), order: rig.orders[1 + index]) }
        }
        try rig.scenario.run()
        #expect(rig.pending == [false, true, true, true])
        #expect(rig.orders == rig.orders.sorted() && Set(rig.orders).count == 4)
        #expect(try rig.field("connection") == "23")
        #expect(rig.outcomes.suffix(3).last == (completion.last == 2 ? "renewed" : "replaced"))
    }

    /// No node's clock is in it; and Redis' own may be set back, or a record hold anything.
    @Test(arguments: [
        ("", ""), ("7", ""), ("", "9"), ("4000000000000000", ""), ("4000000000000000", "4000000000000005"),
        ("-5", "x"),
        ("nan", "inf"), ("1e300", "9223372036854775807"), ("0x7fffffffffffffff", " "),
        ("9007199254740992", ""),
    ])
    func orderGrowsWhateverTheRecordSays(order: String, allotted: String) throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.attach {
            if !order.isEmpty { try rig.set("order", order) }
            if !allotted.isEmpty { try rig.set("allotted", allotted) }
            try rig.set("node", "n0", "connection", "1")
        }
        rig.attach(connection: 8)
        try rig.scenario.run()
        let last = max(Int64(order) ?? 0, Int64(allotted) ?? 0)
        try #require(rig.orders.count == 2)
        if last < 1 << 53 { #expect(rig.orders[0] > last) }
        #expect(rig.orders[1] > rig.orders[0])
        // Microseconds of this century.
        if last < 1_000 { #expect((1_500_000_000_000_000...4_200_000_000_000_000).contains(rig.orders[0])) }
    }

    @Test func orderNeedsNoRightToAskForTheTime() throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.attach { try rig.server.command("ACL", "SETUSER", "default", "-time") }
        rig.attach(connection: 8)
        try rig.scenario.run()
        #expect(rig.orders == [1, 2])
    }

    @Test func boundTokenEntersItsRoomsOnly() throws {
        let rig = try RegistryRig()
        rig.issue(identity: "me 2 too", allowedRooms: "a", "b c", "é")
        rig.scenario.then { try rig.expect("allowedRooms", "a,b c,é") }
        rig.attach(rooms: ["b c", "a"])
        rig.attach(rooms: ["é"])
        for rooms in [["a", "b"], ["b", "a"], ["b"], ["c"], ["x"], ["A"], [".*"], ["%a"]] {
            rig.attach(rooms: rooms)
        }
        try rig.scenario.run()
        let bound = "me 2 too true 60 a,b c,é"
        #expect(
            rig.outcomes == ["issued true", bound, bound] + [String](repeating: "roomNotAllowed", count: 8))
    }

    /// A refused attempt is as if it had not been: no field, no life, no word to the older connection's
    /// node.
    @Test func refusedRoomChangesNothing() throws {
        let rig = try RegistryRig()
        var messageCount = 0
        var isUp = false
        let subscriber = RedisSubscriber(
            url: try rig.server.url, clientName: "test", anchor: [UInt8]("gateway:n0"),
            silenceTimeout: .seconds(10), loop: rig.scenario.loop)
        subscriber.onUp = { isUp = true }
        subscriber.onMessage = { _, _ in messageCount += 1 }
        defer { subscriber.stop() }
        rig.scenario.step("the subscriber", until: { isUp }) { subscriber.start() }
        rig.issue(allowedRooms: "a")
        rig.attach(connection: 8, rooms: ["b"]) {
            try rig.set("node", "n0", "connection", "41", "rooms", "a")
            try rig.server.command("EXPIRE", rig.key, "3000")
        }
        rig.scenario.then {
            let fields = try ["node", "ip", "rooms", "connectedAt", "connection"].map { try rig.field($0) }
            #expect(fields == ["n0", nil, "a", nil, "41"])
            try rig.expectLife(3000)
            #expect(messageCount == 0)
        }
        // What is allowed is told to the same node, so that the silence before proves something.
        rig.attach(connection: 9, rooms: ["a"])
        rig.ask { rig in try rig.confirm(9, order: rig.orders[0]) }
        rig.scenario.step("the message", until: { messageCount > 0 })
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "roomNotAllowed", "me true 60 a", "renewed"])
        #expect(messageCount == 1)
    }

    /// Redis 6 and others do not have it: there a room that is refused is found by SUBSCRIBE.
    @Test(arguments: [true, false]) func attachNeedsNoFunctionForAccessRules(hasFunction: Bool) throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.scenario.then {
            try rig.server.command("ACL", "SETUSER", "default", "resetchannels", "&gateway:*")
            let hiding = """
                local redis = setmetatable({}, {__index = function(_, name)
                    if name ~= 'acl_check_cmd' then return redis[name] end
                end})

                """
            let source = (hasFunction ? "" : hiding) + RegistryScript.attach.source
            let reply = try rig.server.command(
                "EVAL", source, "1", rig.key, "n1", "192.0.2.1", "a", "1000", "7", "60", "room:")
            if hasFunction {
                #expect(reply == .integer(1))
            } else if case .bytes(let text) = reply {
                #expect(String(decoding: text, as: UTF8.self).hasPrefix("60 true "))
            } else {
                Issue.record("\(reply)")
            }
        }
        try rig.scenario.run()
    }

    /// What takes the place of a revoked token's record is no record, and nothing is written over it.
    @Test func revokedTokenIsNeverRestored() throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.scenario.then {
            let command = Revocation.command(
                rig.token, keys: Keys(prefix: ""), channels: Channels(prefix: ""))
            try RedisSession(to: rig.server.url, timeout: .seconds(10), loop: EventLoop()).call([command]) {
                _, _ in
            }
            try rig.expectLife(60)
        }
        rig.confirm(restoring: true)
        rig.renew()
        rig.attach()
        rig.ask { rig in rig.registry.isRevoked(rig.token) { rig.outcomes.append("revoked: \($0)") } }
        rig.scenario.then {
            let reply = try rig.server.command("GET", rig.key)
            #expect(reply == .bytes(Array("revoked".utf8)))
        }
        rig.ask { rig in
            try rig.server.command("DEL", rig.key)
            rig.registry.isRevoked(rig.token) { rig.outcomes.append("revoked: \($0)") }
        }
        try rig.scenario.run()
        #expect(
            rig.outcomes == [
                "issued true", "revoked", "unknownToken", "unknownToken", "revoked: true", "revoked: false",
            ])
    }

    /// All records at once is no revocation of each.
    @Test func missingRecordIsUnknownUnlessRedisHasLostAll() throws {
        let rig = try RegistryRig()
        var lossCount = 0
        rig.registry.onLoss = { lossCount += 1 }
        rig.issue()
        rig.renew { try rig.server.command("DEL", rig.key) }
        rig.issue()
        rig.renew { try rig.server.command("FLUSHALL") }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "unknownToken", "issued true", "unavailable"])
        #expect(lossCount == 1)
    }

    @Test func restoredRecordKeepsItsBinding() throws {
        let rig = try RegistryRig()
        rig.confirm(restoring: true, allowedRooms: "a,b c")
        rig.scenario.then { try rig.expect("allowedRooms", "a,b c") }
        rig.attach(rooms: ["b"])
        try rig.scenario.run()
        #expect(rig.outcomes == ["restored", "roomNotAllowed"])
    }

    @Test func confirmationRenewsRestoresOrEnds() throws {
        let rig = try RegistryRig()
        rig.confirm()
        rig.confirm(restoring: true)
        rig.scenario.then {
            let names = [
                "deviceId", "isLogin", "issuedAt", "ttl", "node", "ip", "connectedAt", "connection",
            ]
            let fields = try names.map { try rig.field($0) }
            #expect(fields == ["me", "false", "5", "90", "n1", "192.0.2.1", "1000", "7"])
            try rig.expectLife(90)
        }
        rig.confirm { try rig.server.command("EXPIRE", rig.key, "5000") }
        rig.scenario.then { try rig.expectLife(90) }
        // Another connection has the token: a later one wins, an earlier one has lost it, whatever clocks
        // say.
        rig.confirm(restoring: true) {
            try rig.set("connection", "9", "connectedAt", "1", "order", "51", "node", "n2")
        }
        rig.scenario.then { try rig.expect("node", "n2") }
        rig.confirm { try rig.set("connection", "6", "connectedAt", "9999999999999", "order", "49") }
        try rig.scenario.run()
        #expect(rig.outcomes == ["revoked", "restored", "renewed", "replaced", "renewed"])
        #expect(try rig.field("node") == "n1")
        #expect(try rig.field("connection") == "7")
    }

    /// Of a node that knows nothing of orders: such a connection counts as the first.
    @Test func recordWithoutAnOrderIsTakenOver() throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.confirm { try rig.set("connection", "6", "node", "n0", "connectedAt", "9999999999999") }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed"])
        #expect(try rig.field("connection") == "7")
    }

    /// `client:` and 24 characters is a name that other programs' keys have, too: such a key is no token's
    /// record, and stays as it is.
    @Test func keysOfOtherProgramsAreLeftAlone() throws {
        let rig = try RegistryRig()
        let foreign: [[String]] = [
            ["HSET", rig.key, "name", "theirs"], ["SET", rig.key, "theirs"], ["SADD", rig.key, "theirs"],
        ]
        for command in foreign {
            rig.renew {
                try rig.server.command("DEL", rig.key)
                try rig.server.command(bytes: command.map { Array($0.utf8) })
            }
            rig.attach()
            rig.confirm()
            rig.confirm(restoring: true)
            rig.scenario.then {
                let life = try rig.seconds()
                #expect(life == -1, "it lives on")
                guard command[0] == "HSET" else { return }
                let fieldCount = try rig.server.command("HLEN", rig.key)
                #expect(fieldCount == .integer(1))
            }
        }
        try rig.scenario.run()
        let each = ["unknownToken", "unknownToken", "revoked", "revoked"]
        #expect(rig.outcomes == each + each + each)
    }

    /// What is not a life is left out; nothing makes a record permanent, or fails.
    @Test(arguments: [
        "", "abc", "0", "-1", "1e9", "nan", "inf", "9223372036854775807", "2592001", "99999999999999999999",
    ])
    func recordWithAnyTtlIsRenewed(ttl: String) throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.renew { try rig.set("ttl", ttl) }
        rig.scenario.then { try rig.expectLife(60) }
        rig.attach { try rig.set("ttl", ttl) }
        rig.confirm { try rig.set("ttl", ttl) }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "me true 60", "renewed"])
        try rig.expectLife(90)
    }

    /// Random bytes in every field that is read: each call has an outcome, and only those that are possible.
    @Test func recordOfAnyBytesHasAnOutcome() throws {
        let rig = try RegistryRig()
        let seed = UInt64.random(in: 1...9_999_999)
        var random = SeededRandom(seed: seed)
        for _ in 0..<40 {
            var fields: [[UInt8]] = []
            for field in ClientField.allCases where field != .isLogin && Bool.random(using: &random) {
                let numbers = ["-1", "1e308", "9223372036854775808", "nan", "\0"]
                fields += [
                    [UInt8](field.rawValue),
                    Bool.random(using: &random)
                        ? random.bytes(Int.random(in: 0...80, using: &random))
                        : [UInt8](numbers.randomElement(using: &random)!),
                ]
            }
            fields += [[UInt8]("isLogin"), Bool.random(using: &random) ? [UInt8]("true") : random.bytes(3)]
            rig.renew {
                try rig.server.command("DEL", rig.key)
                try rig.server.command(bytes: [[UInt8]("HSET"), [UInt8](rig.key)] + fields)
            }
            rig.attach()
            rig.confirm()
        }
        try rig.scenario.run()
        #expect(rig.outcomes.count == 120, "seed \(seed)")
        for (index, outcome) in rig.outcomes.enumerated() where index % 3 != 1 {
            #expect(["renewed", "replaced"].contains(outcome), "seed \(seed)")
        }
        #expect(
            !rig.outcomes.contains { $0.hasPrefix("unavailable") || $0.hasPrefix("unknown") }, "seed \(seed)"
        )
    }

    /// Once each; the digests stay of use.
    @Test func forgottenScriptIsSentOnce() throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.renew { try rig.server.command("SCRIPT", "FLUSH") }
        for _ in 0..<5 { rig.renew() }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true"] + [String](repeating: "renewed", count: 6))
        // When the connection is made: the question whether it works, and the first call, whose digest is on
        // its way. Behind the flush: the renewal, and perhaps the probe of that time.
        let calls = try #require(try rig.server.information("commandstats", "cmdstat_eval"))
        let count = Int(calls.dropFirst("calls=".count).prefix { $0 != "," }) ?? 0
        #expect(count <= 4, "\(calls)")
    }

    @Test func forgottenScriptsAreSentAgain() throws {
        let rig = try RegistryRig()
        rig.issue()
        for _ in 0..<2 { rig.renew { try rig.server.command("SCRIPT", "FLUSH") } }
        rig.attach { try rig.server.command("SCRIPT", "FLUSH") }
        rig.confirm { try rig.server.command("SCRIPT", "FLUSH") }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "renewed", "me true 60", "renewed"])
    }

    @Test func nothingIsUnknownWhileRedisIsAwayOrNewlyEmpty() throws {
        let rig = try RegistryRig()
        rig.issue()
        rig.scenario.step(
            "the loss is noticed",
            until: {
                rig.registry.renew(rig.token) { if case .unavailable = $0 { rig.outcomes.append("gone") } }
                return rig.outcomes.contains("gone")
            }
        ) { rig.server.stop() }
        rig.scenario.then { rig.outcomes = [] }
        rig.issue()
        rig.renew()
        rig.attach()
        rig.remaining()
        rig.confirm()
        rig.up(count: 2) { try rig.server.start() }
        rig.renew()
        rig.attach()
        rig.issue()
        rig.renew()
        try rig.scenario.run()
        #expect(
            rig.outcomes == [
                "issued false", "unavailable", "unavailable", "unavailable", "none",
                "unavailable", "unavailable", "issued true", "renewed",
            ])
    }
}
