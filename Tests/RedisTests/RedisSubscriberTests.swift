import EventLoop
import Glibc
import TestSupport
import Testing

@testable import Redis

/// A subscriber under test, and what it has reported.
private final class Rig {
    let subscriber: RedisSubscriber
    let scenario: Scenario
    var upCount = 0
    var reasons: [String] = []
    var subscribed: [String] = []
    var unsubscribed: [String] = []
    var messages: [Message] = []
    var refused: [String] = []
    var completeCount = 0

    struct Message: Equatable {
        let channel: [UInt8]
        let payload: [UInt8]
    }

    init(
        _ server: RedisServer, at url: RedisURL? = nil, silenceTimeout: Duration = .seconds(10),
        refusalPause: Duration = .seconds(3600)
    ) throws {
        scenario = try Scenario()
        subscriber = RedisSubscriber(
            url: try url ?? server.url, clientName: "rig", anchor: [UInt8]("anchor"),
            silenceTimeout: silenceTimeout, refusalPause: refusalPause, loop: scenario.loop)
        subscriber.onAllSubscribed = { [unowned self] in self.completeCount += 1 }
        subscriber.onRefused = { [unowned self] in self.refused.append(String(decoding: $0, as: UTF8.self)) }
        subscriber.onUp = { [unowned self] in self.upCount += 1 }
        subscriber.onDown = { [unowned self] in self.reasons.append($0) }
        subscriber.onSubscribed = { [unowned self] in
            self.subscribed.append(String(decoding: $0, as: UTF8.self))
        }
        subscriber.onUnsubscribed = { [unowned self] in
            self.unsubscribed.append(String(decoding: $0, as: UTF8.self))
        }
        subscriber.onMessage = { [unowned self] in
            self.messages.append(Message(channel: Array($0), payload: Array($1)))
        }
    }

    deinit { subscriber.stop() }

    /// Starts and waits until the anchor and these channels are confirmed.
    func start(_ channels: String...) {
        let isUp = { [unowned self] in self.upCount == 1 && self.subscribed.count == channels.count }
        scenario.step("the subscriber is up", until: isUp) { [unowned self] in
            for channel in channels { self.subscriber.subscribe([UInt8](channel)) }
            self.subscriber.start()
        }
    }

    func await(messages count: Int, _ action: @escaping () throws -> Void = {}) {
        scenario.step("\(count) messages", until: { [unowned self] in self.messages.count >= count }, action)
    }

    var texts: [String] { messages.map { String(decoding: $0.payload, as: UTF8.self) } }
}

extension RedisServer {
    /// Publishes and checks how many subscribers there were.
    fileprivate func publish(_ payload: String, to channel: String, receivers: Int64) throws {
        let reply = try command("PUBLISH", channel, payload)
        #expect(reply == .integer(receivers), "\(channel)")
    }
}

@Suite(.serialized) struct RedisSubscriberTests {
    /// A channel more in every turn until the anchor is confirmed: in one of them the others have been asked
    /// for already, and no confirmation has come yet.
    @Test func channelThatComesWhileTheConnectionIsMadeIsSubscribed() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        var count = 0
        rig.scenario.loop.onTurnEnd = {
            guard rig.upCount == 0 else { return false }
            rig.subscriber.subscribe([UInt8]("room:\(count)"))
            count += 1
            return false
        }
        rig.scenario.step(
            "every channel is confirmed", until: { rig.upCount == 1 && rig.subscribed.count == count }
        ) {
            rig.subscriber.start()
        }
        try rig.scenario.run()
        rig.scenario.loop.onTurnEnd = nil
        #expect(count > 1)
        #expect(Set(rig.subscribed) == Set((0..<count).map { "room:\($0)" }))
    }

    @Test func messagesComeWithTheirExactBytes() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        let channels = ["room:a", "room:zwei Worte", "room:房间", "room:*"].map { [UInt8]($0) }
        let payloads: [[UInt8]] = [
            [], [0], Array(0...255), Array("\r\n*3\r\n".utf8), Array(repeating: 0x2A, count: 100_000),
        ]
        rig.scenario.step("the channels", until: { rig.subscribed.count == channels.count }) {
            for channel in channels { rig.subscriber.subscribe(channel) }
            rig.subscriber.start()
        }
        rig.await(messages: channels.count * payloads.count) {
            for channel in channels {
                for payload in payloads {
                    let reply = try server.command(bytes: [[UInt8]("PUBLISH"), channel, payload])
                    #expect(reply == .integer(1))
                }
            }
        }
        try rig.scenario.run()
        let expected = channels.flatMap { channel in
            payloads.map { Rig.Message(channel: channel, payload: $0) }
        }
        #expect(rig.messages == expected)
    }

    @Test func onlyHeldChannelsAreHeard() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        rig.start("room:a")
        rig.await(messages: 2) {
            try server.publish("no", to: "room:b", receivers: 0)
            try server.publish("to the anchor", to: "anchor", receivers: 1)
            try server.publish("yes", to: "room:a", receivers: 1)
        }
        try rig.scenario.run()
        #expect(rig.texts == ["to the anchor", "yes"])
        #expect(rig.subscribed == ["room:a"], "the anchor is its own business")
    }

    @Test func channelIsLeftAndTakenAgain() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        let channel = [UInt8]("room:a")
        rig.start("room:a")
        for round in 1...3 {
            rig.scenario.step("left", until: { rig.unsubscribed.count == round }) {
                rig.subscriber.unsubscribe(channel)
            }
            rig.scenario.step("taken again", until: { rig.subscribed.count == round + 1 }) {
                try server.publish("lost", to: "room:a", receivers: 0)
                rig.subscriber.subscribe(channel)
            }
            rig.await(messages: round) {
                try server.publish("round \(round)", to: "room:a", receivers: 1)
            }
        }
        try rig.scenario.run()
        #expect(rig.texts == ["round 1", "round 2", "round 3"])
        #expect(rig.unsubscribed == ["room:a", "room:a", "room:a"])
        #expect(rig.reasons.isEmpty)
    }

    @Test func unixSocketBringsMessagesAndComesBack() throws {
        let server = try RedisServer()
        let rig = try Rig(server, at: RedisURL("unix://\(server.socketPath)"))
        rig.start("room:a")
        rig.scenario.step("the channel is back", until: { rig.upCount == 2 && rig.subscribed.count == 2 }) {
            server.stop()
            try server.start()
        }
        rig.await(messages: 1) { try server.publish("yes", to: "room:a", receivers: 1) }
        try rig.scenario.run()
        #expect(rig.texts == ["yes"])
    }

    @Test func lastChannelMayBeLeft() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        rig.start("room:a")
        rig.scenario.step("left", until: { rig.unsubscribed == ["room:a"] }) {
            rig.subscriber.unsubscribe([UInt8]("room:a"))
        }
        rig.await(messages: 1) { try server.command("PUBLISH", "anchor", "still here") }
        try rig.scenario.run()
        #expect(rig.texts == ["still here"])
        #expect(rig.upCount == 1)
    }

    @Test func killedConnectionComesBackWithItsChannels() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        rig.start("room:a", "room:b", "room:c")
        rig.scenario.step("left", until: { rig.unsubscribed == ["room:b"] }) {
            rig.subscriber.unsubscribe([UInt8]("room:b"))
        }
        rig.scenario.step("the channels are back", until: { rig.upCount == 2 && rig.subscribed.count == 5 })
        {
            try server.command("CLIENT", "KILL", "TYPE", "pubsub")
        }
        rig.await(messages: 1) {
            try server.publish("no", to: "room:b", receivers: 0)
            try server.publish("yes", to: "room:c", receivers: 1)
        }
        try rig.scenario.run()
        #expect(Set(rig.subscribed.dropFirst(3)) == ["room:a", "room:c"])
        #expect(rig.reasons == ["Server closed the connection"])
        #expect(rig.texts == ["yes"])
    }

    @Test func whatChangesWhileTheServerIsAwayHoldsOnItsReturn() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        rig.start("room:a", "room:b")
        rig.scenario.step("the loss", until: { rig.reasons.count >= 2 }) { server.stop() }
        rig.scenario.step("the channels are back", until: { rig.upCount == 2 && rig.subscribed.count == 4 })
        {
            #expect(!rig.subscriber.isUp)
            rig.subscriber.unsubscribe([UInt8]("room:b"))
            rig.subscriber.subscribe([UInt8]("room:c"))
            try server.start()
        }
        rig.await(messages: 2) {
            try server.publish("a", to: "room:a", receivers: 1)
            try server.publish("b", to: "room:b", receivers: 0)
            try server.publish("c", to: "room:c", receivers: 1)
        }
        try rig.scenario.run()
        #expect(rig.texts == ["a", "c"])
        #expect(rig.unsubscribed.isEmpty)
    }

    @Test func twoThousandChannelsComeBackAfterARestart() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        let names = Set((0..<2_000).map { "room:\($0)" })
        rig.scenario.step("all channels", until: { rig.subscribed.count == names.count }) {
            for name in names { rig.subscriber.subscribe([UInt8](name)) }
            rig.subscriber.start()
        }
        rig.scenario.step("all channels are back", until: { rig.subscribed.count == 2 * names.count }) {
            server.stop()
            try server.start()
        }
        rig.await(messages: 3) {
            for name in ["room:0", "room:1234", "room:1999"] {
                try server.publish(name, to: name, receivers: 1)
            }
        }
        try rig.scenario.run()
        #expect(Set(rig.subscribed.prefix(names.count)) == names)
        #expect(Set(rig.subscribed.suffix(names.count)) == names)
        #expect(rig.texts == ["room:0", "room:1234", "room:1999"])
        #expect(rig.upCount == 2)
    }

    @Test func silentLinkIsFoundWithinTheTimeout() throws {
        let server = try RedisServer()
        let rig = try Rig(server, silenceTimeout: .seconds(2))
        rig.start("room:a")
        rig.scenario.step("the loss", until: { !rig.reasons.isEmpty }) { server.freeze() }
        rig.scenario.step("the channel is back", until: { rig.upCount == 2 && rig.subscribed.count == 2 }) {
            #expect(!rig.subscriber.isUp)
            server.thaw()
        }
        rig.await(messages: 1) { try server.command("PUBLISH", "room:a", "yes") }
        defer { server.thaw() }
        try rig.scenario.run()
        #expect(rig.reasons.first?.hasPrefix("no answer for ") == true)
        #expect(rig.texts == ["yes"])
    }

    @Test func idleLinkIsKeptByItsEcho() throws {
        let server = try RedisServer()
        let rig = try Rig(server, silenceTimeout: .seconds(2))
        rig.start("room:a")
        // Ten echoes are two and a half timeouts.
        rig.scenario.step(
            "ten echoes",
            until: {
                let statistics = try server.information("commandstats", "cmdstat_subscribe") ?? ""
                let calls = statistics.dropFirst("calls=".count).prefix { $0 != "," }
                return (Int(calls) ?? 0) >= 12
            })
        try rig.scenario.run()
        #expect(rig.reasons.isEmpty)
        #expect(rig.upCount == 1)
        #expect(rig.subscribed == ["room:a"], "an echo is no confirmation of a channel")
    }

    /// A process that is stopped for longer than the silence timeout hears nothing meanwhile, and misses
    /// nothing.
    @Test func silenceWhileTheProcessIsStoppedIsNone() throws {
        let server = try RedisServer()
        let rig = try Rig(server, silenceTimeout: .seconds(2))
        rig.start("room:a")
        for round in 1...2 {
            rig.await(messages: round) {
                try server.publish("\(round)", to: "room:a", receivers: 1)
                // The time is what is tested: the loop stands for longer than the timeout.
                usleep(3_000_000)
            }
        }
        try rig.scenario.run()
        #expect(rig.texts == ["1", "2"])
        #expect(rig.reasons.isEmpty)
        #expect(rig.upCount == 1)
    }

    /// hiredis would end the connection for each error.
    @Test func channelThatTheRulesRefuseIsSetAsideAndCostsTheOthersNothing() throws {
        let server = try RedisServer()
        try server.command("ACL", "SETUSER", "default", "resetchannels", "&anchor", "&room:a*")
        let rig = try Rig(server)
        let wanted = (0..<50).map { "room:a\($0)" } + ["room:x", "room:y"]
        rig.scenario.step("the others are there", until: { rig.refused.count == 2 && rig.completeCount > 0 })
        {
            for name in wanted { rig.subscriber.subscribe([UInt8](name)) }
            rig.subscriber.start()
        }
        rig.await(messages: 50) {
            for name in wanted.dropLast(2) { try server.publish(name, to: name, receivers: 1) }
        }
        rig.scenario.step("refused again", until: { rig.refused.count == 3 }) {
            rig.subscriber.unsubscribe([UInt8]("room:x"))
            rig.subscriber.subscribe([UInt8]("room:x"))
        }
        // What is refused is not asked for again after a loss.
        rig.scenario.step("back", until: { rig.upCount == 2 && rig.completeCount == 2 }) {
            #expect(rig.reasons.isEmpty)
            try server.command("CLIENT", "KILL", "TYPE", "pubsub")
        }
        try rig.scenario.run()
        #expect(Set(rig.refused) == ["room:x", "room:y"] && rig.refused.count == 3)
        #expect(rig.reasons.count == 1)
        #expect(rig.texts.count == 50)
    }

    /// Beyond a thousand the subscriber once connected and was refused for ever.
    @Test func anyNumberOfRefusedChannelsLeavesTheOthersAlone() throws {
        let server = try RedisServer()
        try server.command("ACL", "SETUSER", "default", "resetchannels", "&anchor", "&room:a")
        let rig = try Rig(server, silenceTimeout: .seconds(4), refusalPause: .milliseconds(10))
        rig.start("room:a")
        rig.scenario.step("all are refused", until: { rig.refused.count >= 1_500 }) {
            for number in 0..<1_500 { rig.subscriber.subscribe([UInt8]("room:x\(number)")) }
        }
        rig.await(messages: 1) { try server.publish("1", to: "room:a", receivers: 1) }
        rig.scenario.step("back", until: { rig.completeCount == 2 }) {
            #expect(rig.reasons.isEmpty)
            try server.command("CLIENT", "KILL", "TYPE", "pubsub")
        }
        rig.scenario.step("they are tried again", until: { rig.refused.count >= 1_505 })
        rig.await(messages: 2) { try server.publish("2", to: "room:a", receivers: 1) }
        rig.scenario.step("all are let in", until: { rig.subscribed.count == 1_502 }) {
            try server.command("ACL", "SETUSER", "default", "allchannels")
        }
        try rig.scenario.run()
        #expect(rig.texts == ["1", "2"])
        #expect(rig.reasons.count == 1, "\(rig.reasons.count)")
    }

    @Test func refusedChannelComesBackWhenTheRulesAllowIt() throws {
        let server = try RedisServer()
        try server.command("ACL", "SETUSER", "default", "resetchannels", "&anchor", "&room:a")
        let rig = try Rig(server, silenceTimeout: .seconds(4), refusalPause: .milliseconds(100))
        rig.scenario.step("the others are there", until: { rig.refused.count == 2 && rig.completeCount > 0 })
        {
            for name in ["room:a", "room:x", "room:y"] { rig.subscriber.subscribe([UInt8](name)) }
            rig.subscriber.start()
        }
        rig.scenario.step("it is asked for again", until: { rig.refused.count > 2 && rig.subscriber.isUp })
        let all = Set(["room:a", "room:x", "room:y"])
        rig.scenario.step("all are there", until: { Set(rig.subscribed) == all }) {
            try server.command("ACL", "SETUSER", "default", "allchannels")
        }
        rig.await(messages: 2) {
            try server.publish("x", to: "room:x", receivers: 1)
            try server.publish("y", to: "room:y", receivers: 1)
        }
        try rig.scenario.run()
        #expect(rig.texts == ["x", "y"])
    }

    /// A connection that Redis ends, and what it has still told by then.
    @Test func completenessIsNeverClaimedForWhatWasNotHeard() throws {
        let server = try RedisServer()
        let rig = try Rig(server, silenceTimeout: .seconds(2))
        rig.start("room:a")
        let subscribedAt = MonotonicInstant.now
        var frozenAt = subscribedAt
        rig.scenario.step("an echo has come", until: { rig.subscriber.completeUntil > subscribedAt })
        rig.scenario.step("the loss", until: { !rig.reasons.isEmpty }) {
            frozenAt = .now
            server.freeze()
        }
        rig.scenario.step("back", until: { rig.completeCount == 2 }) {
            #expect(rig.subscriber.completeUntil <= frozenAt)
            #expect(rig.subscriber.completeUntil > subscribedAt)
            server.thaw()
        }
        defer { server.thaw() }
        try rig.scenario.run()
        #expect(rig.subscriber.completeUntil > frozenAt)
    }

    @Test func messagesKeepTheirOrder() throws {
        let server = try RedisServer()
        let rig = try Rig(server)
        let publisher = try RedisSession(to: server.url, timeout: .seconds(10), loop: EventLoop())
        rig.start("room:a", "room:b")
        rig.await(messages: 4_000) {
            var batch = RedisBatch()
            for number in 0..<4_000 {
                batch.appendPublish([UInt8]("\(number)"), to: [UInt8](number % 2 == 0 ? "room:a" : "room:b"))
            }
            var counts: [Int64] = []
            publisher.send(batch) { if case .numbers(let numbers) = $0 { counts += numbers } }
            try publisher.wait { counts.count == 4_000 }
            #expect(counts.allSatisfy { $0 == 1 })
        }
        try rig.scenario.run()
        #expect(rig.texts == (0..<4_000).map(String.init))
    }
}
