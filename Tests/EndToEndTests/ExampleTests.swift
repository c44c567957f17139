// The programs in examples/ do what they say, against a real cluster.
import Foundation
import Testing

@Suite(.cluster())
struct ExampleTests {
    @Test func aPythonBackendPublishes() async throws {
        let cluster = try Cluster.current
        let script = Installation.root.appending(path: "examples/backend-python/publish.py").path
        try await publishes(
            cluster, [try Installation.python(), "-B", script], environment: ["REDIS_URL": cluster.redis.url])
    }

    @Test func aPhpBackendPublishes() async throws {
        let cluster = try Cluster.current
        let script = Installation.root.appending(path: "examples/backend-php/publish.php").path
        try await publishes(
            cluster, [try Installation.system("php", package: "php-cli php-redis"), script],
            environment: ["REDIS_URL": cluster.redis.url])
    }

    private func publishes(_ cluster: Cluster, _ command: [String], environment: [String: String]) async throws {
        let room = cluster.room("größe")
        let client = try await cluster.node.connect(room.percentEncoded)
        let text = "Ein \"Gruß\" / 你好"
        let ended = try await cluster.driver.run(command + [room, text], environment: environment)
        #expect(ended.code == 0, "\(ended.errors)")
        #expect(ended.output == "sent to 1 node\n")
        guard case .text(let frame) = try await client.next() else {
            Issue.record("nothing arrived")
            return
        }
        let notice = try #require(JSON(parsing: frame))
        #expect(notice["type"].string == "notice")
        #expect(notice["data"]["text"].string == text)

        let usage = try await cluster.driver.run(command, environment: environment)
        #expect(usage.code != 0 && usage.errors.contains("usage:"))
    }
}
