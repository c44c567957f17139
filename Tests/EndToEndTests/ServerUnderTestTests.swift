// The server that the tests start: it is the one that ROOMCAST_REDIS_SERVER names, and a mistake there is told at once.
import Foundation
import Testing

@Suite struct ServerUnderTestTests {
    private static let asked =
        ProcessInfo.processInfo.environment["ROOMCAST_REDIS_SERVER"].flatMap { $0.isEmpty ? nil : $0 }
        ?? "redis-server"

    /// Each way to start one: by itself, as it is deployed, as a sentinel.
    @Test func everyServerIsTheProgramThatWasAskedFor() async throws {
        try await Driver.with { driver in
            let version = try await driver.run([Self.asked, "--version"]).output
            let words = try #require(version.firstMatch(of: /(Redis|Valkey) server v=(\S+)/), "\(version)")
            let server = try await RedisServer(driver)
            var servers = [
                server, try await RedisServer(driver, sentinelOf: server, named: "m", password: nil),
            ]
            // deploy/redis.conf has rules that came with Redis 7, too.
            if ServerUnderTest.hasFunctions {
                servers.append(
                    try await RedisServer(
                        driver, passwords: ["gateway": "g", "publisher": "p", "operator": "o"]))
            }
            for one in servers {
                let information = try #require(try await one.command("INFO", "server").string)
                let line = "\n\(words.1.lowercased())_version:\(words.2)\r\n"
                #expect(information.contains(line), "\(information)")
            }
        }
    }

    @Test(arguments: ["/nowhere/valkey-server", "no-such-server", "bin/valkey-server"])
    func aProgramThatIsNotThereIsNamed(program: String) throws {
        let error = #expect(throws: HarnessError.self) { try Installation.redisServer(program) }
        #expect(error?.description.contains("ROOMCAST_REDIS_SERVER") == true, "\(String(describing: error))")
        #expect(error?.description.contains(program) == true, "\(String(describing: error))")
    }

    /// Instead of waiting for an answer.
    @Test func aServerThatEndsAtOnceIsReported() async throws {
        try await Driver.with { driver in
            let error = await #expect(throws: Hopeless.self) {
                _ = try await RedisServer(driver, options: ["--no-such-directive", "1"])
            }
            #expect(error?.description.contains("ended with 1") == true, "\(String(describing: error))")
        }
    }

    /// A service may not offer functions, but scripts.
    @Test(.enabled(if: ServerUnderTest.hasFunctions, "the server is older than Redis 7"))
    func aServerThatHidesFunctionsGetsTheScript() async throws {
        let hidden = ["FCALL", "FCALL_RO", "FUNCTION"].flatMap { ["--rename-command", $0, ""] }
        try await Cluster.with(redisOptions: hidden) { cluster in
            let client = try await cluster.node.connect("room")
            let published = try await cluster.driver.run([
                try Installation.binary("publisher"), "--redis", cluster.redis.url, "--room", "room",
                "--data", "1", "--durable",
            ])
            #expect(published.code == 0, "\(published.errors)")
            let entries = try await cluster.redis.command("XRANGE", "room:room", "-", "+")
            let frame = try #require(entries[0][1][1].string)
            #expect(try await client.next() == .text(frame))
        }
    }

    /// Before Redis 7 there are no functions: a durable notice is refused with words that say so, and all else works.
    @Test(.disabled(if: ServerUnderTest.hasFunctions, "the server has functions"))
    func durableNoticesAreRefusedWithAReason() async throws {
        try await Cluster.with { cluster in
            let publisher = [
                try Installation.binary("publisher"), "--redis", cluster.redis.url, "--room", "room",
                "--data", "1",
            ]
            let client = try await cluster.node.connect("room")
            let refused = try await cluster.driver.run(publisher + ["--durable"])
            #expect(refused.code == 1)
            #expect(refused.errors.contains("room: not published: durable notices need Redis 7 or Valkey"))
            #expect(try await cluster.driver.run(publisher).code == 0)
            #expect(try await client.next() == .text(#"{"type":"notice","data":1}"#))
            let log = cluster.node.child.errorOutput
            #expect(log.contains("redis has no functions: durable notices need Redis 7 or Valkey"), "\(log)")
        }
    }
}
