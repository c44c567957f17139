// Redis' users and services that refuse a command: what does not need it works as ever.
import Foundation
import Testing

@Suite(.serialized, .cluster(nodes: 0))
struct MissingRightTests {
    /// What a service or an administrator takes away, as rules of the ACL.
    enum Missing: String, CaseIterable, Sendable {
        case name = "-client|setname"
        case information = "-info"
        case role = "-role"
        case scriptLoading = "-script"
        case digests = "-evalsha"
        case functions = "-function -fcall -fcall_ro"
        case danger = "-@dangerous"
        case administration = "-@admin"
        case ping = "-ping"
        case time = "-time"
    }

    /// A node whose user has every right but these.
    private func startNode(without rules: String, prefix: String) async throws -> GatewayNode {
        let cluster = try Cluster.current
        let user = cluster.room("user")
        let common: [JSON] = [
            "ACL", "SETUSER", .string(user), "on", "nopass", "allkeys", "allchannels", "+@all",
        ]
        let words = rules.split(separator: " ").map { JSON.string(String($0)) }
        let reply = try await cluster.redis.command(common + words, user: nil, password: nil)
        #expect(reply == "OK", "\(rules): \(reply)")
        return try await GatewayNode(
            cluster.driver, id: user, redis: cluster.redis, options: ["--prefix", prefix],
            environment: ["GATEWAY_REDIS_SILENCE_TIMEOUT": "6s"],
            url: "redis://\(user)@127.0.0.1:\(cluster.redis.port)", workers: 1)
    }

    @Test(arguments: Missing.allCases)
    func whatDoesNotNeedItWorks(missing: Missing) async throws {
        let cluster = try Cluster.current
        let prefix = "\(missing)-"
        let node = try await startNode(without: missing.rawValue, prefix: prefix)
        let room = cluster.room()
        let token = try await node.token()
        #expect(try await node.heartbeat(token).status == 200)
        let older = try await node.connect(room, token: token)
        let newer = try await node.connect(room, token: token)
        #expect(try await older.closed()?.code == 4001)
        let channel = JSON.string("\(prefix)room:\(room)")
        #expect(try await cluster.redis.command("PUBLISH", channel, "1") == 1)
        #expect(try await newer.next() == .text("1"))
        #expect(try await node.heartbeat(token).status == 200)
        let revoked = try await cluster.driver.run([
            try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url, "--prefix", prefix,
            "--token=\(token)",
        ])
        #expect(revoked.code == 0, "\(revoked.errors)")
        #expect(try await newer.closed()?.code == 4003)
        #expect(try await node.heartbeat(token).data == "token error")
        #expect(try await node.ready().status == 200)
        let log = node.child.errorOutput
        #expect(!log.contains("redis refuses commands"), "\(log)")
        #expect(!log.contains("redis connection lost"), "\(log)")
    }

    /// Two connections of one token would live side by side: the second one is refused, and that is said.
    @Test func withoutPublishOnlyTheSecondConnectionIsRefused() async throws {
        let cluster = try Cluster.current
        let node = try await startNode(without: "-publish", prefix: "publish-")
        let room = cluster.room()
        let token = try await node.token()
        let client = try await node.connect(room, token: token)
        try await eventually("it is told") { try await node.ready().body.contains("PUBLISH") }
        let answer = try await node.get("/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
        #expect(answer.status == 500 && answer.body == #"{"data":"WebSocket upgrade failed"}"#)
        let other = try await node.connect(room)
        try await cluster.redis.command("PUBLISH", .string("publish-room:\(room)"), "1")
        #expect(try await client.next() == .text("1"))
        #expect(try await other.next() == .text("1"))
        #expect(try await node.ready().status == 200)
        let lines = node.child.errorOutput.split(separator: "\n").filter {
            $0.contains("redis refuses PUBLISH")
        }
        #expect(lines.count == 1)

        try await cluster.redis.command("ACL", "SETUSER", .string(node.id), "+publish")
        try await eventually("it is told no more") { try await !node.ready().body.contains("PUBLISH") }
        let newer = try await node.connect(room, token: token)
        #expect(try await client.closed()?.code == 4001)
        _ = newer
    }
}
