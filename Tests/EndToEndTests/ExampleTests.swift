// The programs in examples/ do what they say, against a real cluster.
import Foundation
import Testing

@Suite(.cluster())
struct ExampleTests {
    @Test func aPythonBackendPublishes() async throws {
        let cluster = try Cluster.current
        let script = Installation.root.appending(path: "examples/backend-python/publish.py").path
        try await publishes(
            cluster, [try Installation.python(), "-B", script], environment: ["REDIS_URL": cluster.redis.url]
        )
    }

    @Test func aPhpBackendPublishes() async throws {
        let cluster = try Cluster.current
        let script = Installation.root.appending(path: "examples/backend-php/publish.php").path
        try await publishes(
            cluster, [try Installation.system("php", package: "php-cli php-redis"), script],
            environment: ["REDIS_URL": cluster.redis.url])
    }

    private func publishes(_ cluster: Cluster, _ command: [String], environment: [String: String])
        async throws
    {
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

        try await publishesDurably(cluster, command, environment, client, room, text)

        let usage = try await cluster.driver.run(command, environment: environment)
        #expect(usage.code != 0 && usage.errors.contains("usage:"))
    }
}

extension ExampleTests {
    /// Called twice with a key the notice is stored and pushed once.
    private func publishesDurably(
        _ cluster: Cluster, _ command: [String], _ environment: [String: String], _ client: Client,
        _ room: String, _ text: String
    ) async throws {
        let key = "order \(room)"
        func run() async throws -> Completed {
            try await cluster.driver.run(command + [room, text, key], environment: environment)
        }
        let library = try await cluster.driver.run([try Installation.binary("publisher"), "library"])
        try await cluster.redis.command("FUNCTION", "LOAD", "REPLACE", .string(library.output))

        let first = try await run()
        let entries = try await cluster.redis.command("XRANGE", .string("room:\(room)"), "-", "+")
        #expect(entries.array?.count == 1)
        let id = try #require(entries[0][0].string)
        #expect(first.output == "\(id): 1 node\n", "\(first.errors)")
        #expect(try await run().output == "\(id): already published\n")
        #expect(try await cluster.redis.command("XLEN", .string("room:\(room)")) == 1)
        guard case .text(let frame) = try await client.next() else {
            Issue.record("nothing arrived")
            return
        }
        #expect(frame == entries[0][1][1].string)
        let notice = try #require(JSON(parsing: frame))
        #expect(notice["id"].string == id && notice["room"].string == room)
        #expect(notice["type"] == "notice" && notice["data"]["text"].string == text)
    }
}

/// The pages among them, in a real browser behind nginx.
@Suite struct ExamplePageTests {
    private static let issueKey = "the-key-of-the-backend"

    /// Two visitors of the chat, whose backend alone may have tokens issued.
    @Test func whatOneVisitorWritesTheOtherSees() async throws {
        try await ClientEdge.with(options: ["--issue-key", Self.issueKey]) { edge in
            let driver = edge.cluster.driver
            let port = try await driver.freePort()
            let script = Installation.root.appending(path: "examples/chat/server.py").path
            try await ClientEdge.serve(
                [try Installation.python(), "-B", script],
                environment: [
                    "LISTEN": "127.0.0.1:\(port)", "GATEWAY": edge.url, "REDIS_URL": edge.cluster.redis.url,
                    "ISSUE_KEY": Self.issueKey,
                ], at: port, driver)
            let visitors = [
                try await edge.page(at: "http://127.0.0.1:\(port)/"),
                try await edge.page(at: "http://127.0.0.1:\(port)/"),
            ]
            for visitor in visitors {
                try await eventually("a visitor is connected") {
                    try await visitor.evaluate("document.querySelector('#status').value") == "open"
                }
            }
            // Markup that a visitor writes is text to the others.
            let words = "<b>Grüße</b> & 你好"
            try await visitors[0].evaluate(
                """
                document.querySelector('#name').value = 'Ada';
                document.querySelector('#text').value = '\(words)';
                document.querySelector('#form button').click();
                """)
            for visitor in visitors {
                try await eventually("it is there") {
                    try await visitor.evaluate("document.querySelector('#said').innerText").string
                        == "Ada\(words)"
                }
            }
            // While one of them is away the other writes on.
            try await visitors[1].freeze(true)
            try await eventually("one is gone") { try await edge.total("roomcast_connections") == 1 }
            let say = requestText("/say", method: "POST", headers: ["Content-Length": "29"])
            let answer = try await driver.exchange(port, say + #"{"name":"Bob","text":"Hello"}"#, count: 1)
            #expect(answer.answers[0].status == 200)
            try await visitors[1].freeze(false)
            for visitor in visitors {
                try await eventually("it is there, too") {
                    try await visitor.evaluate("document.querySelector('#said').innerText").string
                        == "Ada\(words)\nBobHello"
                }
            }
            let bad = requestText("/say", method: "POST", headers: ["Content-Length": "2"]) + "[]"
            #expect(try await driver.exchange(port, bad, count: 1).answers[0].status == 400)
            for visitor in visitors { #expect(try await visitor.complaints() == []) }
        }
    }

    /// docs/guides/first-notice.md, its page as it stands there.
    @Test func thePageOfTheFirstGuideShowsANotice() async throws {
        try await ClientEdge.with { edge in
            let driver = edge.cluster.driver
            let guide = try String(
                contentsOf: Installation.root.appending(path: "docs/guides/first-notice.md"), encoding: .utf8
            )
            let parts = guide.components(separatedBy: "<<'END'\n")
            try #require(parts.count == 2)
            let page = try #require(parts[1].components(separatedBy: "\nEND\n").first)
            let directory = driver.directory.appending(path: "first-notice")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                at: Installation.root.appending(path: "clients/js/roomcast.js"),
                to: directory.appending(path: "roomcast.js"))
            let address = "http://127.0.0.1:8080"
            try #require(page.contains(address))
            try page.replacingOccurrences(of: address, with: edge.url)
                .write(to: directory.appending(path: "index.html"), atomically: true, encoding: .utf8)
            let port = try await driver.freePort()
            try await ClientEdge.serve(directory.path, at: port, driver)

            let tab = try await edge.page(at: "http://127.0.0.1:\(port)/")
            try await eventually("open") {
                try await tab.evaluate("document.querySelector('#status').textContent") == "open"
            }
            let ended = try await driver.run([
                try Installation.binary("publisher"), "--redis", edge.cluster.redis.url, "--room", "lobby",
                "--data",
                #"{"text":"Hello"}"#,
            ])
            #expect(ended.output.contains("lobby"))
            try await eventually("the notice is there") {
                try await tab.evaluate("document.querySelector('#notices').innerText") == "notice: Hello"
            }
        }
    }
}
