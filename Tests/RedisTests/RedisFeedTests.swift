import Foundation
import TestSupport
import Testing

@testable import Redis

@Suite struct RedisFeedTests {
    private let timeout = Duration.seconds(10)

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func isReadable(_ feed: RedisFeed, milliseconds: Int32 = 10_000) -> Bool {
        var watched = pollfd(fd: feed.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&watched, 1, milliseconds) > 0
    }

    /// The next messages, read as a program would: when there is something to read.
    private func messages(_ feed: RedisFeed, count: Int) throws -> [RedisFeed.Message] {
        var messages: [RedisFeed.Message] = []
        while messages.count < count {
            if let message = try feed.next() {
                messages.append(message)
            } else {
                try #require(isReadable(feed))
                try feed.receive()
            }
        }
        return messages
    }

    @Test func messagesOfAllChannelsCome() throws {
        let redis = try RedisServer()
        let feed = try RedisFeed(to: redis.url, timeout: timeout, channels: [bytes("a"), bytes("b")])
        let large = String(repeating: "x", count: 1 << 20)
        for (channel, text) in [("a", "1"), ("c", "no"), ("b", large), ("a", "")] {
            try redis.command("PUBLISH", channel, text)
        }
        let found = try messages(feed, count: 3)
        #expect(found == [("a", "1"), ("b", large), ("a", "")].map { .init(channel: bytes($0), payload: bytes($1)) })
        #expect(try feed.next() == nil)
    }

    @Test func pingIsASignOfLifeAndNoMessage() throws {
        let redis = try RedisServer()
        let feed = try RedisFeed(to: redis.url, timeout: timeout, channels: [bytes("a")])
        try feed.ping()
        #expect(isReadable(feed))
        try feed.receive()
        #expect(try feed.next() == nil)
        redis.freeze()
        defer { redis.thaw() }
        try feed.ping()
        #expect(!isReadable(feed, milliseconds: 50))
        redis.thaw()
        #expect(isReadable(feed), "the answer was only held back")
    }

    @Test func endOfTheServerIsTold() throws {
        let redis = try RedisServer()
        let feed = try RedisFeed(to: redis.url, timeout: timeout, channels: [bytes("a")])
        redis.stop()
        #expect(isReadable(feed))
        #expect(throws: RedisPipelineError.self) { try feed.receive() }
    }

    @Test func channelThatIsRefusedIsNamedAtTheStart() throws {
        let redis = try RedisServer()
        try redis.command("ACL", "SETUSER", "some", "on", "nopass", "resetchannels", "&a", "+subscribe")
        let url = try redis.url(credentials: "some:x@")
        _ = try RedisFeed(to: url, timeout: timeout, channels: [bytes("a")])
        let error = #expect(throws: RedisPipelineError.self) {
            _ = try RedisFeed(to: url, timeout: timeout, channels: [bytes("a"), bytes("b")])
        }
        #expect(error?.description.hasPrefix("Redis refused SUBSCRIBE: NOPERM") == true)
    }

    @Test func silentServerIsNotWaitedForLongerThanTheTimeout() throws {
        let redis = try RedisServer()
        let url = try redis.url
        redis.freeze()
        defer { redis.thaw() }
        #expect(throws: RedisPipelineError.lost("no answer in time")) {
            _ = try RedisFeed(to: url, timeout: .milliseconds(100), channels: [bytes("a")])
        }
    }
}
