// clients/js outside of a browser: in Node.js, as an npm package, before the TypeScript compiler.
import Foundation
import Testing

@Suite struct NodeClientTests {
    private static let folder = Installation.root.appending(path: "clients/js")

    /// A node is killed under it, it comes back, and after `close()` nothing keeps the process alive. Without a global
    /// `WebSocket` it begins with an event stream.
    @Test(arguments: ["websocket", "events"])
    func nodeProcessLivesAsLongAsItsClient(transport: String) async throws {
        try await Cluster.with(nodes: 2, options: ["--heartbeat-timeout", "3s"]) { cluster in
            let nginx = try await NginxServer(cluster)
            let options: JSON = [
                "url": .string("http://127.0.0.1:\(nginx.port)"), "rooms": ["lobby"], "deviceId": "server",
                "heartbeatTimeoutMs": 3000,
            ]
            let text = String(decoding: try JSONEncoder().encode(options), as: UTF8.self)
            let script = Self.folder.appending(path: "tests/until-closed.js").path
            let flags = transport == "events" ? ["--no-experimental-websocket"] : []
            let process = try await Child(
                cluster.driver, name: "client", [try Installation.node()] + flags + [script, text])
            func lineCount(_ line: String) -> Int {
                process.output.split(separator: "\n").count { $0 == line }
            }
            try await eventually("open") { lineCount("open") == 1 }
            try await cluster.redis.publishSequence(room: "lobby", count: 500)
            try await eventually("all have arrived") { lineCount("the last one") == 1 }
            var holder: GatewayNode?
            try await eventually("a node counts it") {
                for node in cluster.nodes where try await node.metrics()["roomcast_connections"] == 1 {
                    holder = node
                }
                return holder != nil
            }
            let victim = try #require(holder).child
            try await victim.signal(SIGKILL)
            #expect(try await victim.exitCode() != nil)
            try await eventually("open again") { lineCount("open") == 2 }
            try await cluster.redis.publish(room: "lobby", #"{"type":"notice","data":{"close":true}}"#)
            #expect(try await process.exitCode() == 0, "\(process.errorOutput)")

            let seen = try #require(JSON(parsing: String(process.output.split(separator: "\n").last ?? "")))
            #expect(seen.noticeNumbers == Array(0..<500))
            #expect(seen["status"] == "closed")
            #expect(seen["attempts"] == [.string(transport), .string(transport)])
            let counts: JSON = [
                "notices": 501, "reconnects": 1, "gaps": 1, "unreadable": 0, "resumed": 0, "lost": 0,
            ]
            #expect(seen["counts"] == counts)
            #expect(seen["tokens"].count == 1)
            #expect(seen["errors"] == [])
            #expect(process.errorOutput == "")
        }
    }

    @Test func rulesHoldUnderNodesOwnTestRunner() async throws {
        try await withDriver { driver in
            let tests = ["client", "durable", "pongs", "rules", "transports"].map {
                Self.folder.appending(path: "tests/\($0).test.js").path
            }
            let run = try await driver.run(
                [try Installation.node(), "--test", "--test-reporter=tap"] + tests)
            #expect(run.code == 0, "\(run.output.suffix(4000))")
            let passed = try #require(run.output.firstMatch(of: /\n# pass (\d+)/))
            #expect(try #require(Int(passed.output.1)) > 100)
        }
    }

    /// The package as its consumers see it: what is in it, and what its name leads to.
    @Test func packageHasTheModuleAndItsTypes() async throws {
        try await withDriver { driver in
            let consumer = try consumerFolder(driver)
            let script = consumer.appending(path: "main.mjs")
            try "import { connect } from 'roomcast'; console.log(typeof connect)"
                .write(to: script, atomically: true, encoding: .utf8)
            let run = try await driver.run([try Installation.node(), script.path])
            #expect(run.output == "function\n", "\(run.errors)")

            let npm = try Installation.node().replacing(/node$/, with: "npm")
            let pack = try await driver.run(
                [npm, "pack", "--dry-run", "--json", "--offline", Self.folder.path],
                environment: ["npm_config_cache": consumer.path, "npm_config_update_notifier": "false"])
            let package = try #require(JSON(parsing: pack.output), "\(pack.errors)")[0]
            let files = (package["files"].array ?? []).compactMap { $0["path"].string }.sorted()
            #expect(files == ["README.md", "package.json", "roomcast.d.ts", "roomcast.js"])
        }
    }

    /// `consumer.ts` has the uses that must compile and, marked, those that must not.
    @Test func typesAreThoseOfTheModule() async throws {
        try await withDriver { driver in
            let consumer = try consumerFolder(driver)
            let source = consumer.appending(path: "consumer.mts")
            try FileManager.default.copyItem(
                at: Self.folder.appending(path: "tests/consumer.ts"), to: source)
            let compiler = [
                try Installation.system("tsc", package: "node-typescript"), "--noEmit", "--target", "es2022",
                "--lib",
                "es2022,dom", "--module", "node16", "--moduleResolution", "node16",
            ]
            let uses = try await driver.run(compiler + ["--strict", source.path])
            #expect(uses.code == 0, "\(uses.output)")
            let module = Self.folder.appending(path: "roomcast.js").path
            let own = try await driver.run(compiler + ["--allowJs", "--checkJs", module])
            #expect(own.code == 0, "\(own.output)")
        }
    }

    /// A folder in which `roomcast` is installed.
    private func consumerFolder(_ driver: Driver) throws -> URL {
        let folder = driver.directory.appending(path: "consumer")
        let modules = folder.appending(path: "node_modules")
        try FileManager.default.createDirectory(at: modules, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            at: modules.appending(path: "roomcast"), withDestinationURL: Self.folder)
        return folder
    }

    private func withDriver(_ body: (Driver) async throws -> Void) async throws {
        let driver = try Driver()
        do {
            try await body(driver)
            await driver.stop()
        } catch {
            await driver.stop()
            throw error
        }
    }
}
