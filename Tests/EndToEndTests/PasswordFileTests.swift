// The password of Redis in a file: missing, written, replaced while everything goes on.
import Foundation
import Testing

@Suite struct PasswordFileTests {
    private func lines(_ node: GatewayNode, with text: String) -> Int {
        node.child.errorOutput.split(separator: "\n").count { $0.contains(text) }
    }

    @Test func nodeFollowsThePasswordInItsFile() async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let redis = cluster.redis
            try await redis.command(
                "ACL", "SETUSER", "gateway", "on", ">first-Pa55word", "allkeys", "allchannels", "+@all")
            let file = cluster.driver.directory.appending(path: "password")
            func write(_ text: String) throws {
                try text.write(to: file, atomically: true, encoding: .utf8)
            }
            let url = "redis://gateway:wrong-Pa55word@127.0.0.1:\(redis.port)"
            let node = try await GatewayNode(
                cluster.driver, id: "rotating", redis: redis,
                options: ["--redis-password-file", file.path, "--gap-notice", "on"], url: url,
                awaitReady: false)
            try await eventually("it says what is missing") {
                lines(node, with: "cannot read the password file \(file.path): No such file or directory")
                    == 1
            }
            try write("")
            try await eventually("it says what is empty") {
                lines(node, with: "the password file \(file.path) is empty") == 1
            }
            try write("first-Pa55word\n")
            try await eventually("ready") { try await node.ready().status == 200 }
            #expect(lines(node, with: "the line feed at the end of the password file is left out") == 1)

            // The new one is taken from now on, and the old one no more; connections stay.
            let room = cluster.room()
            let client = try await node.connect(room)
            let before = try await cluster.redis.command("INFO", "commandstats").string ?? ""
            try await redis.command("ACL", "SETUSER", "gateway", "resetpass", ">second-Pa55word")
            try write("second-Pa55word")
            try await eventually("each connection has logged in again") {
                let now = try await redis.command("INFO", "commandstats").string ?? ""
                // Two workers, the reader of histories, and the subscriber's new connection.
                return authCount(now) >= authCount(before) + 4
            }
            try await eventually("ready again") {
                let metrics = try await node.metrics()
                return try await node.ready().status == 200
                    && metrics[#"roomcast_redis_reconnects_total{role="subscriber"}"#] == 1
            }
            let metrics = try await node.metrics()
            #expect(metrics[#"roomcast_redis_reconnects_total{role="command"}"#] == 0)
            try await redis.publish(room: room, "1")
            guard case .text(let gap) = try await client.next() else { throw HarnessError("no gap notice") }
            #expect(gap.contains(#""type":"gap""#))
            #expect(try await client.next() == .text("1"))
            #expect(!node.child.errorOutput.contains("Pa55word"))

            let completed = try await cluster.driver.run([
                try Installation.binary("publisher"), "--redis", url, "--redis-password-file", file.path,
                "--room", room, "--data", "2",
            ])
            #expect(completed.code == 0, "\(completed.errors)")
            try FileManager.default.removeItem(at: file)
            let missing = try await cluster.driver.run([
                try Installation.binary("publisher"), "--redis", url, "--redis-password-file", file.path,
                "--room", room, "--data", "2",
            ])
            #expect(missing.code == 1)
            #expect(missing.errors.contains("cannot read the password file \(file.path)"))
        }
    }

    /// The subscriber's connection is the one that has to be made again. Redis lets it wait until notices are
    /// published: they come late, once, and without a word.
    @Test(arguments: ServerUnderTest.securities)
    func gapOfADurableRoomIsFilledWhenTheSubscriberLogsInAnew(isSecured: Bool) async throws {
        try await Cluster.with(nodes: 0, isSecured: isSecured) { cluster in
            let redis = cluster.redis
            try await redis.command(
                "ACL", "SETUSER", "gateway", "on", ">first-Pa55word", "allkeys", "allchannels", "+@all")
            let file = cluster.driver.directory.appending(path: "password")
            try "first-Pa55word".write(to: file, atomically: true, encoding: .utf8)
            let url = redis.url.replacing("://", with: "://gateway@")
            let node = try await GatewayNode(
                cluster.driver, id: "rotating", redis: redis,
                options: ["--redis-password-file", file.path, "--gap-notice", "on"], url: url)
            let room = cluster.room()
            let follower = try await Follower(node, [room])
            for number in 0..<5 { try await redis.publishDurably(room: room, "n\(number)") }
            try await follower.read(upTo: "n4", in: room)

            // Connections that stand are kept, and no other is let in.
            #expect(try await redis.command("CONFIG", "SET", "maxclients", "1") == "OK")
            try await redis.command("ACL", "SETUSER", "gateway", "resetpass", ">second-Pa55word")
            try "second-Pa55word".write(to: file, atomically: true, encoding: .utf8)
            try await eventually("the subscriber has left") {
                try await redis.command("PUBSUB", "NUMSUB", .string("room:\(room)"))[1] == 0
            }
            for number in 5..<25 { try await redis.publishDurably(room: room, "n\(number)") }
            #expect(try await node.metrics()["roomcast_history_filled_total"] == 0)
            #expect(try await redis.command("CONFIG", "SET", "maxclients", "10000") == "OK")

            try await follower.read(upTo: "n24", in: room)
            try await redis.publishDurably(room: room, "n25")
            try await follower.read(upTo: "n25", in: room)
            #expect(follower.notices(of: room) == (0..<26).map { "n\($0)" })
            #expect(follower.steps.count == 27, "one resume and the notices: \(follower.steps)")
            let metrics = try await node.metrics()
            #expect(metrics["roomcast_history_filled_total"] == 20)
            #expect(metrics[#"roomcast_redis_reconnects_total{role="command"}"#] == 0)
            #expect(!node.child.errorOutput.contains("Pa55word"))
        }
    }

    private func authCount(_ statistics: String) -> Int {
        let line = statistics.split(whereSeparator: \.isNewline).first {
            $0.hasPrefix("cmdstat_auth:calls=")
        }
        return line.flatMap { Int($0.drop { $0 != "=" }.dropFirst().prefix { $0 != "," }) } ?? 0
    }
}
