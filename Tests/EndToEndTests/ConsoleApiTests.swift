// The console's requests, without a browser: who may ask what, and what comes of it.
import Foundation
import Testing

@Suite struct ConsoleApiTests {
    private static let key = "0123456789-abcdef"
    private static let keyed = ["GATEWAY_ADMIN_KEY": key]

    /// A POST as the page sends it; `fields` are further ones, or others.
    private func post(
        _ node: GatewayNode, _ action: String, _ body: String, key: String? = key,
        _ fields: [String: String] = [:]
    ) async throws -> Answer {
        var headers = ["Content-Type": "application/json", "Content-Length": "\(body.utf8.count)"]
        if let key { headers["Authorization"] = "Bearer \(key)" }
        let head = requestText(
            action.hasPrefix("/") ? action : "/console/api/\(action)", method: "POST",
            headers: headers.merging(fields) { _, other in other })
        return try await node.driver.exchange(node.adminPort, head + body).answers[0]
    }

    @Test func pageIsServedWithItsProtection() async throws {
        try await Cluster.with { cluster in
            let port = cluster.node.adminPort
            let page = try await cluster.driver.request(port, "/console/")
            #expect(page.status == 200)
            #expect(page.headers["content-type"] == "text/html; charset=utf-8")
            let policy = try #require(page.headers["content-security-policy"])
            for part in [
                "default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'",
            ] {
                #expect(policy.contains(part))
            }
            #expect(!policy.contains("unsafe"))
            #expect(page.headers["x-content-type-options"] == "nosniff")
            #expect(page.headers["referrer-policy"] == "no-referrer")
            let tag = try #require(page.headers["etag"])
            let again = try await cluster.driver.request(
                port, "/console/", headers: ["If-None-Match": "\"a\", \(tag)"])
            #expect(again.status == 304)
            #expect(again.body.isEmpty)
            let other = try await cluster.driver.request(
                port, "/console/", headers: ["If-None-Match": "\"a\""])
            #expect(other.status == 200)
            let moved = try await cluster.driver.request(port, "/console")
            #expect(moved.status == 308)
            #expect(moved.headers["location"] == "/console/")
            #expect(try await cluster.driver.request(port, "/console/nothing").status == 404)
            #expect(try await cluster.driver.request(port, "/console/", method: "POST").status == 405)
            #expect(
                try await cluster.driver.request(port, "/api/publish").headers["allow"] == "POST")
            #expect(try await cluster.node.get("/console/").status == 404, "clients have no console")
        }
    }

    @Test func consoleCanBeTurnedOff() async throws {
        try await Cluster.with(options: ["--console", "off"]) { cluster in
            for path in ["/console", "/console/", "/console/api/cluster"] {
                let answer = try await cluster.driver.request(cluster.node.adminPort, path)
                #expect(answer.status == 404, "\(path)")
            }
            // Publishing is not the console's.
            let answer = try await cluster.driver.request(
                cluster.node.adminPort, "/api/publish", method: "POST", headers: ["Content-Length": "0"])
            #expect(answer.status == 415)
        }
    }

    @Test func everyNodeTellsOfAllAndOfItselfWithoutRedis() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = cluster.room()
            _ = try await cluster.nodes[1].connect(room)
            try await eventually("the first node tells of the second's client") {
                let answer = try await cluster.driver.request(
                    cluster.nodes[0].adminPort, "/console/api/cluster")
                let nodes = JSON(parsing: answer.body)?["nodes"].array ?? []
                return nodes.map { $0["id"].string } == ["node-1", "node-2"] && nodes[1]["connections"] == 1
                    && nodes[1]["topRooms"][0]["room"].string == room
            }
            try await cluster.redis.stop()
            try await eventually("it tells of itself alone") {
                let answer = try await cluster.driver.request(
                    cluster.nodes[0].adminPort, "/console/api/cluster")
                let told = try #require(JSON(parsing: answer.body))
                return answer.status == 200 && told["redis"].string != nil && told["nodes"].array?.count == 1
                    && told["nodes"][0]["id"] == "node-1"
            }
            _ = try await cluster.redis.restart()
            try await eventually("it tells of both again") {
                let answer = try await cluster.driver.request(
                    cluster.nodes[0].adminPort, "/console/api/cluster")
                return JSON(parsing: answer.body)?["nodes"].array?.count == 2
            }
        }
    }

    /// However many ask: what Redis is asked does not grow with them.
    @Test func redisIsAskedOnceASecond() async throws {
        try await Cluster.with { cluster in
            func calls() async throws -> Int {
                let text = try await cluster.redis.command("INFO", "commandstats").string ?? ""
                return text.firstMatch(of: /cmdstat_smembers:calls=(\d+)/).flatMap { Int($0.output.1) } ?? 0
            }
            let before = try await calls()
            let begin = ContinuousClock.now
            for _ in 0..<100 {
                _ = try await cluster.driver.request(cluster.node.adminPort, "/console/api/cluster")
            }
            let seconds = (ContinuousClock.now - begin).seconds
            // The node itself looks once a minute.
            let asked = try await calls() - before
            #expect(asked >= 1, "SMEMBERS is what it asks by")
            #expect(asked <= Int(seconds) + 2)
        }
    }

    @Test func withoutAKeyNothingIsDone() async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            for key in [nil, Self.key] {
                let answer = try await post(
                    cluster.node, "/api/publish", #"{"room":"\#(room)","data":1}"#, key: key)
                #expect(answer.status == 403)
                #expect(answer.data?.contains("--admin-key") == true)
            }
            let token = try await cluster.node.token()
            let watch = try await cluster.driver.handshake(
                "ws://127.0.0.1:\(cluster.node.adminPort)/console/api/watch?token=\(token)&roomIds=a")
            guard case .refused(let answer) = watch else {
                Issue.record("watched without a key")
                return
            }
            #expect(answer.status == 403)
            try await cluster.redis.publish(room: room, "2")
            #expect(try await client.next() == .text("2"), "nothing came before")
        }
    }

    /// A client's token would read its rooms past the origins and the limits of the clients' listener.
    @Test func onlyThePagesOwnTokensWatch() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            let node = cluster.node
            let client = try await node.token()
            let address = "ws://127.0.0.1:\(node.adminPort)/console/api/watch?roomIds=a&token="
            for token in [client, "", "AAAAbbbbCCCCdddd0000-_-_", "\(client)&token=\(client)"] {
                guard case .refused(let answer) = try await cluster.driver.handshake(address + token) else {
                    Issue.record("watched with a client's token")
                    continue
                }
                #expect(answer.status == (token.contains("&") ? 400 : 403))
            }
            // Beating does not make one of it.
            #expect(try await post(node, "beat", #"{"token":"\#(client)"}"#).status == 200)
            guard case .refused = try await cluster.driver.handshake(address + client) else {
                Issue.record("watched with a client's token")
                return
            }
            let own = try #require(JSON(parsing: try await post(node, "admit", "{}").body)?["token"].string)
            guard case .open = try await cluster.driver.handshake(address + own) else {
                Issue.record("the page's own watch was refused")
                return
            }
        }
    }

    @Test func everyAnswerOfTheListenerSaysWhatItIs() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            let (driver, port) = (cluster.driver, cluster.node.adminPort)
            let own = try #require(
                JSON(parsing: try await post(cluster.node, "admit", "{}").body)?["token"].string)
            for (target, method, headers) in [
                ("/healthz", "GET", [:]), ("/readyz", "GET", [:]), ("/metrics", "GET", [:]),
                ("/nowhere", "GET", [:]),
                ("/metrics", "POST", ["Content-Length": "0"]), ("/console", "GET", [:]),
                ("/console/", "GET", [:]),
                ("/console/api/cluster", "GET", [:]), ("/console/nothing", "GET", [:]),
                ("/api/publish", "GET", [:]),
                ("/healthz", "GET", ["X": String(repeating: "x", count: 9000)]),
                ("/console/api/watch?token=\(own)", "GET", handshakeHeaders()),
            ] as [(String, String, [String: String])] {
                let answer = try await driver.request(port, target, method: method, headers: headers)
                #expect(
                    answer.headers["x-content-type-options"] == "nosniff",
                    "\(method) \(target): \(answer.status)")
            }
        }
    }

    @Test func wrongRequestsAreRefused() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            let node = cluster.node
            let good = #"{"room":"a","data":1}"#
            #expect(try await post(node, "/api/publish", good).status == 200)
            #expect(try await post(node, "/api/publish", good, key: nil).status == 401)
            let wrong = try await post(node, "/api/publish", good, key: Self.key + "x")
            #expect(wrong.status == 401)
            #expect(wrong.headers["www-authenticate"] == "Bearer")
            #expect(try await post(node, "/api/publish", good, ["Content-Type": "text/plain"]).status == 415)
            #expect(
                try await post(node, "/api/publish", good, ["Origin": "http://evil.example"]).status == 403)
            #expect(
                try await post(node, "/api/publish", good, ["Sec-Fetch-Site": "cross-site"]).status == 403)
            #expect(try await post(node, "/api/publish", good, ["Origin": "http://localhost"]).status == 200)
            for body in [
                "", "{}", "x", #"{"room":"","data":1}"#, #"{"room":"a"}"#, #"{"room":"a","data":}"#,
            ] {
                #expect(try await post(node, "/api/publish", body).status == 400, "\(body)")
            }
            let long = #"{"room":"a","data":"\#(String(repeating: "x", count: 128 << 10))"}"#
            #expect(try await post(node, "/api/publish", long).status == 413)
            #expect(try await post(node, "revoke", #"{"token":"AAAAbbbbCCCCdddd0000-_-_"}"#).status == 404)
            #expect(!node.child.errorOutput.contains(Self.key))
        }
    }

    /// Bodies that come in pieces, and a request behind one.
    @Test func bodiesAreReadToTheirEnd() async throws {
        try await Cluster.with(environment: Self.keyed) { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            let body = #"{"room":"\#(room)","data":"\#(String(repeating: "x", count: 60_000))"}"#
            let head = requestText(
                "/api/publish", method: "POST",
                headers: [
                    "Content-Type": "application/json", "Content-Length": "\(body.utf8.count)",
                    "Authorization": "Bearer \(Self.key)",
                ])
            let bytes = Array((head + body + requestText("/healthz")).utf8)
            let pieces = stride(from: 0, to: bytes.count, by: 7_001).map {
                Array(bytes[$0..<min($0 + 7_001, bytes.count)])
            }
            let exchange = try await cluster.driver.exchange(cluster.node.adminPort, pieces, count: 2)
            #expect(exchange.answers.map(\.status) == [200, 200])
            #expect(exchange.answers[0].body == #"{"rooms":[{"room":"\#(room)","nodes":1}]}"#)
            #expect(exchange.answers[1].body == #"{"status":"ok"}"#)
            let text = #"{"type":"notice","data":"\#(String(repeating: "x", count: 60_000))"}"#
            #expect(try await client.next() == .text(text))
        }
    }

    @Test func bodyThatDoesNotComeIsNotAwaitedForEver() async throws {
        try await Cluster.with(options: ["--request-timeout", "5s"], environment: Self.keyed) { cluster in
            let head = requestText(
                "/api/publish", method: "POST",
                headers: [
                    "Content-Type": "application/json", "Content-Length": "20",
                    "Authorization": "Bearer \(Self.key)",
                ])
            let exchange = try await cluster.driver.exchange(
                cluster.node.adminPort, head + "{", patience: .patience)
            #expect(exchange.answers.map(\.status) == [408])
            #expect(exchange.closed)
        }
    }

    @Test func revokedTokenIsClosedAndWatchingTakesTheWholeRoad() async throws {
        try await Cluster.with(nodes: 2, environment: Self.keyed) { cluster in
            let room = cluster.room()
            let token = try await cluster.nodes[1].token()
            let client = try await cluster.nodes[1].connect(room, token: token)
            let admitted = try await post(cluster.nodes[0], "admit", "{}")
            let own = try #require(JSON(parsing: admitted.body)?["token"].string)
            let address =
                "ws://127.0.0.1:\(cluster.nodes[0].adminPort)/console/api/watch?token=\(own)&roomIds=\(room)"
            guard case .open(let watcher) = try await cluster.driver.handshake(address) else {
                Issue.record("the watch was refused")
                return
            }
            #expect(try await cluster.redis.hash("client:\(own)")["rooms"] == room)
            #expect(try await post(cluster.nodes[0], "beat", #"{"token":"\#(own)"}"#).status == 200)
            let published = try await post(
                cluster.nodes[0], "/api/publish", #"{"room":"\#(room)","data":{"n":1}}"#)
            #expect(published.body == #"{"rooms":[{"room":"\#(room)","nodes":2}]}"#)
            for one in [client, watcher] {
                #expect(try await one.next() == .text(#"{"type":"notice","data":{"n":1}}"#))
            }
            #expect(try await post(cluster.nodes[0], "revoke", #"{"token":"\#(token)"}"#).status == 200)
            #expect(try await client.closed()?.code == 4003)
            #expect(try await cluster.redis.command("TYPE", .string("client:\(token)")) == "string")
            #expect(try await post(cluster.nodes[0], "revoke", #"{"token":"\#(own)"}"#).status == 200)
            #expect(try await watcher.closed()?.code == 4003)
            let metrics = try await cluster.nodes[0].metrics()
            #expect(metrics["roomcast_handshakes_total"] == 1)
        }
    }
}
