// A server that is a replica takes what is published, and no gateway hears it.
import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct ReplicaTests {
    private let redis: RedisServer

    init() throws { redis = try RedisServer() }

    private func start(_ arguments: String..., user: String? = nil) throws -> Child {
        let url = "redis://\(user.map { $0 + "@" } ?? "")127.0.0.1:\(redis.port)"
        return try Child.publisher(arguments, variables: ["REDIS_URL": url])
    }

    private func publishedCount() throws -> Int {
        let text = try redis.information("commandstats", "cmdstat_publish") ?? ""
        return text.firstMatch(of: #/calls=(\d+)/#).flatMap { Int($0.1) } ?? 0
    }

    private func demote() throws { try redis.command("REPLICAOF", "127.0.0.1", "1") }

    @Test func nothingIsPublishedToAReplica() throws {
        try demote()
        let publisher = try start("--room", "a", "--data", "1")
        #expect(try publisher.finish() == 1)
        #expect(publisher.errorText.contains("the server is a replica, not a master; nothing was sent"))
        #expect(publisher.outputText == "")
        #expect(try publishedCount() == 0)
    }

    /// Behind a proxy the connection stays while its server is demoted.
    @Test(arguments: ["stop", "skip"]) func linesBehindADemotionAreNamed(rule: String) throws {
        let publisher = try start("--file", "-", "--on-error", rule)
        let line = "{\"room\":\"a\",\"data\":1}\n"
        try publisher.write(line + line)
        try eventually("both are published") { try publishedCount() == 2 }
        try demote()
        try publisher.write(line + line + line)
        #expect(try publisher.finish() == 1)
        let errors = publisher.errorText
        #expect(errors.contains("Redis at 127.0.0.1:\(redis.port) is a replica"), "\(errors)")
        #expect(!errors.contains("line 2:"), "\(errors)")
        // Each line is named, or stands behind the one to go on from.
        let next = errors.firstMatch(of: #/--from-line (\d+)/#).flatMap { Int($0.1) } ?? 0
        for number in 3...5 where number < next {
            #expect(errors.contains("line \(number): not published: the server is a replica"), "\(errors)")
        }
        #expect((3...6).contains(next))
        #expect(publisher.outputText.hasPrefix("sent 2, "), "\(publisher.outputText)")
    }

    /// Who may not ask for the role is not kept from publishing.
    @Test(arguments: ["-role", "-@dangerous"]) func roleThatIsHiddenStopsNothing(rule: String) throws {
        try redis.command("ACL", "SETUSER", "u", "on", "nopass", "allchannels", "allkeys", "+@all", rule)
        let publisher = try start("--room", "a", "--data", "1", user: "u")
        #expect(try publisher.finish() == 0)
        #expect(publisher.outputText == "a: 0 nodes\n")
    }
}
