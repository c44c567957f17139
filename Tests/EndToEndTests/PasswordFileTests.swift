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

    private func authCount(_ statistics: String) -> Int {
        let line = statistics.split(whereSeparator: \.isNewline).first {
            $0.hasPrefix("cmdstat_auth:calls=")
        }
        return line.flatMap { Int($0.drop { $0 != "=" }.dropFirst().prefix { $0 != "," }) } ?? 0
    }
}
