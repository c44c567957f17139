// What every answer carries beside its body: what a page of another origin may read, and why a request was
// refused.
import Foundation
import Testing

@Suite(.cluster(options: ["--log-level", "debug"]))
struct AnswerTests {
    private static let origin = ["Origin": "https://any.example"]

    private func answer(_ text: String) async throws -> Exchange {
        let cluster = try Cluster.current
        return try await cluster.driver.exchange(cluster.node.port, text, patience: .patience)
    }

    private func expectReadable(
        _ answer: Answer, _ status: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer.status == status, sourceLocation: sourceLocation)
        #expect(answer.headers["access-control-allow-origin"] == "*", sourceLocation: sourceLocation)
        #expect(
            answer.headers["access-control-expose-headers"]
                == "Roomcast-Detail, Roomcast-Heartbeat, Retry-After",
            sourceLocation: sourceLocation)
    }

    private func expectDetail(
        _ answer: Answer, _ part: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let detail = answer.headers["roomcast-detail"] ?? ""
        #expect(detail.contains(part), "\(detail)", sourceLocation: sourceLocation)
        #expect((1...256).contains(detail.utf8.count), sourceLocation: sourceLocation)
    }

    @Test func aPageCanReadEveryMistakeOfIts() async throws {
        let cluster = try Cluster.current
        let node = cluster.node
        expectReadable(try await node.get("/nowhere", headers: Self.origin), 404)
        expectReadable(try await node.get("/get/token", headers: Self.origin), 400)
        expectReadable(try await node.get("/heartbeat?token=x", headers: Self.origin), 500)
        expectReadable(try await node.get("/ws", headers: Self.origin), 400)
        let posted = Self.origin.merging(["Content-Length": "0"]) { $1 }
        for target in ["/get/token", "/heartbeat", "/ws", "/events"] {
            expectReadable(
                try await cluster.driver.request(node.port, target, method: "POST", headers: posted), 405)
        }
        let long = Self.origin.merging(["Content-Length": "65537"]) { $1 }
        expectReadable(
            try await answer(requestText("/heartbeat", method: "POST", headers: long)).answers[0], 413)
        let padding = Self.origin.merging(["X": String(repeating: "x", count: 9000)]) { $1 }
        expectReadable(try await answer(requestText("/heartbeat", headers: padding)).answers[0], 431)
        expectReadable(try await answer("GET /heartbeat HTTP/1.1\r\nHost a\r\n\r\n").answers[0], 400)
        expectReadable(try await answer("GET /heartbeat HTTP/2.0\r\nHost: a\r\n\r\n").answers[0], 505)
    }

    @Test func requestThatIsTooLateCanBeReadToo() async throws {
        try await Cluster.with(options: ["--request-timeout", "5s"]) { cluster in
            let exchange = try await cluster.driver.exchange(
                cluster.node.port, "GET /heartbeat HTTP/1.1\r\n", patience: .patience)
            expectReadable(exchange.answers[0], 408)
            expectDetail(exchange.answers[0], "in time")
        }
    }

    @Test func unavailableCanBeReadToo() async throws {
        try await Cluster.with { cluster in
            let token = try await cluster.node.token()
            try await cluster.redis.stop()
            for target in ["/get/token?isLogin=true&userId=a", "/heartbeat?token=\(token)"] {
                let answer = try await cluster.node.get(target, headers: Self.origin)
                expectReadable(answer, 503)
                expectDetail(answer, "Redis")
                #expect(answer.body == #"{"data":"service unavailable"}"#)
            }
        }
    }

    /// Browsers that are traced add fields of their own to each request.
    @Test(arguments: ["/get/token", "/heartbeat", "/events", "/nowhere"])
    func preflightAllowsWhatIsAskedFor(target: String) async throws {
        let cluster = try Cluster.current
        let asking = Self.origin.merging([
            "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "baggage,sentry-trace",
        ]) { $1 }
        let answer = try await cluster.driver.request(
            cluster.node.port, target, method: "OPTIONS", headers: asking)
        expectReadable(answer, 204)
        #expect(
            answer.headers["access-control-allow-headers"]
                == "Authorization, Content-Type, baggage, sentry-trace")
        #expect(answer.headers["vary"]?.contains("Access-Control-Request-Headers") == true)
    }

    // MARK: Details

    @Test(
        arguments: [
            (["Upgrade": ""], "proxy_set_header Upgrade $http_upgrade"), (["Upgrade": "h2c"], "Upgrade"),
            (["Connection": "keep-alive"], "proxy_set_header Connection upgrade"),
            (["Sec-WebSocket-Version": "8"], "Sec-WebSocket-Version"),
            (["Sec-WebSocket-Key": ""], "Sec-WebSocket-Key"),
        ] as [([String: String], String)])
    func handshakeSaysWhichOfItsChecksFailed(changes: [String: String], detail: String) async throws {
        let cluster = try Cluster.current
        let answer = try await cluster.node.get(
            "/ws?token=a&roomIds=b", headers: handshakeHeaders(replacing: changes))
        #expect(answer.status == 400)
        #expect(answer.body == #"{"data":"Invalid WebSocket handshake"}"#)
        expectDetail(answer, detail)
        try await eventually("the log says the same") {
            cluster.node.child.errorOutput.contains("handshake refused reason=invalid_handshake detail=")
                && cluster.node.child.errorOutput.contains(answer.headers["roomcast-detail"] ?? "-")
        }
    }

    @Test func handshakeOfHttp10NamesTheProxysSetting() async throws {
        let text = requestText("/ws?token=a&roomIds=b", version: "HTTP/1.0", headers: handshakeHeaders())
        expectDetail(try await answer(text).answers[0], "proxy_http_version 1.1")
    }

    @Test(
        arguments: [
            ("/get/token?isLogin=1", 400, "isLogin"), ("/get/token?isLogin=true", 400, "userId"),
            ("/get/token?isLogin=true&userId=%zz", 400, "parameter userId has a % without"),
            ("/get/token?isLogin=true&userId=a&Rooms=x", 400, "rooms"), ("/heartbeat", 500, "no token"),
            ("/heartbeat?token=x", 500, "form"),
            ("/heartbeat?token=AAAAAAAAAAAAAAAAAAAAAAAA", 500, "unknown"),
            ("/heartbeat?token=a&token=a", 400, "parameter token is given more than once"),
            ("/nowhere", 404, "/get/token, /heartbeat, /ws and /events"),
        ] as [(String, Int, String)])
    func refusedRequestNamesItsParameter(target: String, status: Int, detail: String) async throws {
        let answer = try await Cluster.current.node.get(target)
        #expect(answer.status == status)
        expectDetail(answer, detail)
        #expect(answer.headers["access-control-allow-origin"] == nil, "no page has asked")
    }

    @Test(
        arguments: [
            ("", 401, "Missing token", "token"), ("?token=x", 401, "Missing room", "roomIds"),
            ("?token=x&roomIds=a", 500, "Token error", "form"),
            ("?token=x&roomIds=%00", 400, "Invalid request parameters", "roomIds"),
            ("?token=x&roomIds=a,%01", 400, "Invalid request parameters", "roomIds"),
            ("?token=AAAAAAAAAAAAAAAAAAAAAAAA&roomIds=a", 500, "Token error", "unknown"),
            ("?token=x&token=x&roomIds=a", 400, "Invalid request parameters", "token"),
            ("?token=x&roomIds=a&roomIds=b", 400, "Invalid request parameters", "roomIds"),
        ] as [(String, Int, String, String)])
    func refusedHandshakeClosesAndSaysWhy(query: String, status: Int, message: String, detail: String)
        async throws
    {
        let exchange = try await answer(requestText("/ws\(query)", headers: handshakeHeaders()))
        #expect(exchange.answers[0].status == status)
        #expect(exchange.answers[0].body == #"{"data":"\#(message)"}"#)
        #expect(exchange.answers[0].headers["connection"] == "close")
        #expect(exchange.closed)
        expectDetail(exchange.answers[0], detail)
    }

    @Test func noDetailAndNoLineHoldsWhatWasSent() async throws {
        let cluster = try Cluster.current
        let secret = "hunter2-\(UUID().uuidString)"
        for target in [
            "/heartbeat?token=\(secret)", "/heartbeat?\(secret)%zz", "/heartbeat?\(secret)=%zz",
            "/heartbeat?token=\(secret)%",
            "/get/token?isLogin=\(secret)", "/get/token?isLogin=true&userId=\(secret)%01",
        ] {
            let answer = try await cluster.node.get(target, headers: ["Authorization": "Bearer \(secret)x"])
            #expect(answer.status >= 400)
            #expect(!answer.headers.values.contains { $0.contains(secret) }, "\(target)")
        }
        let refused = try await cluster.node.get(
            "/ws?token=\(secret)&roomIds=a",
            headers: handshakeHeaders(replacing: ["Sec-WebSocket-Protocol": "token.\(secret)"]))
        #expect(refused.status == 500)
        _ = try await cluster.node.get("/heartbeat?token=over")
        try await eventually("the log has come so far") {
            cluster.node.child.errorOutput.split(separator: "\n").last?.contains("request refused") == true
        }
        #expect(!cluster.node.child.errorOutput.contains(secret))
    }

    // MARK: One answer only

    @Test(arguments: [
        "/get/token?isLogin=true&userId=a", "/heartbeat?token=x", "/ws?token=x&roomIds=a",
        "/events?token=x&roomIds=a",
    ])
    func twoOriginsAreNobodys(target: String) async throws {
        let fields = "Host: a\r\nOrigin: https://a.example\r\nOrigin: https://a.example\r\n"
        let further =
            target.hasPrefix("/ws")
            ? handshakeHeaders().map { "\($0): \($1)\r\n" }.joined() : "Connection: close\r\n"
        let refused = try await answer("GET \(target) HTTP/1.1\r\n\(fields)\(further)\r\n").answers[0]
        #expect(refused.status == 403)
        #expect(refused.body == #"{"data":"Origin not allowed"}"#)
        expectDetail(refused, "more than one Origin")
    }

    @Test func heartbeatTakesTheTokenAsBearer() async throws {
        let node = try Cluster.current.node
        let (token, other) = (try await node.token(), try await node.token())
        func bearer(_ text: String) -> [String: String] { ["Authorization": "Bearer \(text)"] }
        #expect(try await node.get("/heartbeat", headers: bearer(token)).body == "{}")
        #expect(try await node.get("/heartbeat?token=", headers: bearer(token)).status == 200)
        #expect(try await node.get("/heartbeat?token=\(token)", headers: bearer(token)).status == 200)
        #expect(
            try await node.get("/heartbeat?token=\(token)", headers: ["Authorization": "Basic eDp5"]).status
                == 200)
        #expect(try await node.get("/heartbeat", headers: bearer("x")).body == #"{"data":"token error"}"#)
        #expect(try await node.get("/heartbeat", headers: ["Authorization": "Basic eDp5"]).status == 500)
        for target in ["/heartbeat?token=\(other)", "/heartbeat?token=x"] {
            let both = try await node.get(target, headers: bearer(token))
            #expect(both.status == 400)
            #expect(both.body == #"{"data":"Invalid request parameters"}"#)
        }
        let twice =
            "Host: a\r\nConnection: close\r\nAuthorization: Bearer \(token)\r\nAuthorization: Bearer \(token)\r\n"
        #expect(try await answer("GET /heartbeat HTTP/1.1\r\n\(twice)\r\n").answers[0].status == 400)
    }

    // MARK: Cookies

    @Test func cookiesOfTheSiteDoNotCloseTheDoor() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(cluster)
        for cookieBytes in [9_000, 15_000] {
            let cookie = ["Cookie": "a=" + String(repeating: "c", count: cookieBytes)]
            let client = try await cluster.node.connect(cluster.room(), headers: cookie)
            #expect(try await client.ping("connected"))
            let (behind, _) = try await nginx.connect(cluster.room(), headers: cookie)
            #expect(try await behind.ping("connected"))
        }
        let endless = ["Cookie": "a=" + String(repeating: "c", count: 17_000)]
        #expect(try await cluster.node.get("/heartbeat?token=x", headers: endless).status == 431)
    }
}

@Suite struct PayloadFaultTests {
    @Test func heldBackPayloadSaysWhereItsJsonEnds() async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            let secret = "hunter2"
            try await cluster.redis.publish(room: room, #"{"a":"\#(secret)"} {"b":1}"#)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            try await eventually("the line is written") {
                cluster.node.child.errorOutput.contains(#"fault="expected the end at byte 16, found {""#)
            }
            #expect(!cluster.node.child.errorOutput.contains(secret))
        }
    }
}

/// Anybody who may publish can write to a node's channel.
@Suite struct ForeignControlMessageTests {
    @Test func longAndUnknownMessagesCostALineASecond() async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            let channel = JSON.string("gateway:node-1")
            for number in 0..<50 {
                let text = "later\u{1B}[2J\u{9B}\u{202E}version-of-something-\(number) secret"
                try await cluster.redis.command("PUBLISH", channel, .string(text))
            }
            try await cluster.redis.command("PUBLISH", channel, .string(String(repeating: " ", count: 257)))
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            let lines = {
                cluster.node.child.errorOutput.split(separator: "\n").filter {
                    $0.contains("control message")
                }
            }
            try await eventually("one is told") { !lines().isEmpty }
            #expect(lines().count < 50)
            #expect(lines()[0].contains("unknown control message bytes="))
            #expect(!cluster.node.child.errorOutput.contains("secret"))
            #expect(!cluster.node.child.errorOutput.utf8.contains(0x1B))
            #expect(
                !cluster.node.child.errorOutput.unicodeScalars.contains {
                    [0x9B, 0x202E].contains($0.value)
                })
        }
    }
}

@Suite struct OriginKindTests {
    @Test func listedKindsOfOriginsConnectAndReadTheAnswers() async throws {
        let list = "https://*.example.com,null,file://,app://,capacitor://localhost"
        try await Cluster.with(options: ["--allowed-origins", list]) { cluster in
            for origin in [
                "https://a.example.com", "https://b.a.example.com", "null", "file://", "app://host",
                "capacitor://localhost",
            ] {
                let client = try await cluster.node.connect(cluster.room(), headers: ["Origin": origin])
                #expect(try await client.ping("connected"))
                let read = try await cluster.node.get("/nowhere", headers: ["Origin": origin])
                #expect(read.headers["access-control-allow-origin"] == origin)
                #expect(read.headers["vary"] == "Origin")
            }
            for origin in [
                "https://example.com", "http://a.example.com", "capacitor://other", "https://evil.example",
            ] {
                let query = "token=\(try await cluster.node.token())&roomIds=a"
                guard
                    case .refused(let answer) = try await cluster.node.handshake(
                        query, headers: ["Origin": origin])
                else {
                    Issue.record("\(origin) was let in")
                    continue
                }
                #expect(answer.status == 403)
                #expect(answer.headers["access-control-allow-origin"] == nil)
            }
        }
    }
}
