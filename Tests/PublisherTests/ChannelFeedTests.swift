// The channels that `watch` and `rooms` listen to, against a real Redis.
import EventLoop
import Foundation
import Options
import Redis
import TestSupport
import Testing

@testable import Publisher

@Suite struct ChannelFeedTests {
    /// A feed on a loop of its own, and what has come.
    private final class Rig {
        let loop: EventLoop
        private(set) var messages: [String] = []
        private(set) var failures: [RedisSessionError] = []
        private(set) var upCount = 0
        private(set) var feed: ChannelFeed!

        init(_ url: String, timeout: String = "10s", _ channels: String...) throws {
            loop = try EventLoop()
            let request = try PublisherOptions.program.parse(["--timeout", timeout]) {
                $0 == "REDIS_URL" ? url : nil
            }
            guard case .run(let values) = request else { throw UsageError("printed") }
            feed = ChannelFeed(try RedisSettings(values), channels: channels.map { [UInt8]($0) }, loop: loop)
            {
                [unowned self] channel, payload in
                self.messages.append("\(String(decoding: channel, as: UTF8.self)) \(payload.count)")
            }
            feed.onUp = { [unowned self] in self.upCount += 1 }
            feed.onDown = { [unowned self] in self.failures.append($0) }
        }

        func wait(until isDone: () -> Bool) {
            loop.run(atMost: .seconds(60)) { !isDone() }
            #expect(isDone())
        }
    }

    private func url(_ redis: RedisServer, _ credentials: String = "") -> String {
        "redis://\(credentials)127.0.0.1:\(redis.port)"
    }

    @Test func messagesOfAllChannelsCome() throws {
        let redis = try RedisServer()
        let rig = try Rig(url(redis), "a", "b")
        rig.wait { rig.feed.isUp }
        let large = String(repeating: "x", count: 1 << 20)
        for (channel, text) in [("a", "1"), ("c", "no"), ("b", large), ("a", "")] {
            try redis.command("PUBLISH", channel, text)
        }
        rig.wait { rig.messages.count >= 3 }
        #expect(rig.messages == ["a 1", "b 1048576", "a 0"])
        #expect(rig.failures.isEmpty && rig.upCount == 1)
    }

    /// The user needs the right to subscribe and no other; a channel without it is a failure from the start
    /// on.
    @Test func refusedChannelIsNamedAtTheStart() throws {
        let redis = try RedisServer()
        try redis.command(
            "ACL", "SETUSER", "some", "on", "nopass", "resetchannels", "&a", "&c", "+subscribe")
        let url = url(redis, "some:x@")
        let allowed = try Rig(url, "a", "c")
        allowed.wait { allowed.feed.isUp }
        for (first, second) in [("a", "b"), ("b", "a")] {
            let rig = try Rig(url, first, second)
            rig.wait { !rig.failures.isEmpty }
            #expect(rig.failures[0].description.hasPrefix("Redis refused "), "\(rig.failures)")
            rig.loop.run(atMost: .milliseconds(300)) { true }
            #expect(rig.upCount == 0 && rig.feed.failure != nil)
        }
    }

    @Test func feedComesBackAfterALoss() throws {
        let redis = try RedisServer()
        let rig = try Rig(url(redis), "a")
        rig.wait { rig.feed.isUp }
        redis.stop()
        rig.wait { rig.failures.count >= 2 }
        #expect(rig.failures[0].description.hasPrefix("lost Redis: "))
        #expect(rig.failures[1].description.hasPrefix("cannot reach Redis at "))
        #expect(!rig.feed.isUp)
        try redis.start()
        rig.wait { rig.feed.isUp }
        #expect(rig.upCount == 2 && rig.feed.failure == nil)
    }

    @Test func silentServerIsNotWaitedForLongerThanTheTimeout() throws {
        let redis = try RedisServer()
        redis.freeze()
        defer { redis.thaw() }
        let rig = try Rig(url(redis), timeout: "100ms", "a")
        rig.wait { !rig.failures.isEmpty }
        #expect(rig.upCount == 0)
    }
}
