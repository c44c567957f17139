// HTTP around the endpoints: other paths and methods, malformed and slow requests, connections used again.
import Testing

@Suite(.cluster())
struct HttpTests {
    private func send(_ text: String, count: Int = 1, patience: Duration = .zero) async throws -> Exchange {
        let cluster = try Cluster.current
        return try await cluster.driver.exchange(cluster.node.port, text, count: count, patience: patience)
    }

    @Test(arguments: ["/", "/get", "/get/token/", "/get/tokens", "/WS", "/heartbeat/x", "/metrics"])
    func otherPathsAreNotFound(target: String) async throws {
        let answer = try await Cluster.current.node.get(target)
        #expect(answer.status == 404)
        #expect(JSON(parsing: answer.body)?["data"].string != nil)
        #expect(answer.headers["content-type"] == "application/json")
    }

    @Test(arguments: ["/get/token?isLogin=true&userId=a", "/heartbeat?token=x", "/ws?token=x&roomIds=a"])
    func otherMethodsAreNotAllowed(target: String) async throws {
        let cluster = try Cluster.current
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let text = requestText(target, method: method, headers: ["Content-Length": "0"])
            let answer = try await cluster.driver.exchange(cluster.node.port, text).answers[0]
            #expect(answer.status == 405, "\(method)")
            #expect(answer.headers["allow"]?.contains("GET") == true, "\(method)")
            #expect(JSON(parsing: answer.body)?["data"].string != nil)
        }
    }

    @Test(arguments: [
        "GET\r\n\r\n", "GET /heartbeat\r\n\r\n", "GET  /heartbeat HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /heartbeat HTTP/1.1 \r\nHost: a\r\n\r\n", "GET /heartbeat HTTP/9.9.9\r\nHost: a\r\n\r\n",
        "GET /heartbeat http/1.1\r\nHost: a\r\n\r\n", "G@T /heartbeat HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET heartbeat HTTP/1.1\r\nHost: a\r\n\r\n", "GET /heartbeat HTTP/1.1\r\nHost a\r\n\r\n",
        "GET /heartbeat HTTP/1.1\r\nHost : a\r\n\r\n", "GET /heartbeat HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n",
        "GET /heartbeat HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", "GET /heartbeat HTTP/1.1\r\n\r\n",
        "GET /heartbeat HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET /heartbeat HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /heart\u{1}beat HTTP/1.1\r\nHost: a\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n",
    ])
    func malformedRequestsAreBad(text: String) async throws {
        let exchange = try await send(text, patience: .seconds(3))
        #expect(exchange.answers[0].status == 400)
        #expect(JSON(parsing: exchange.answers[0].body)?["data"].string != nil)
        #expect(exchange.closed, "nothing can be trusted after a malformed request")
    }

    @Test func headerOver8KiBIsTooLarge() async throws {
        let cluster = try Cluster.current
        let line = "X-Padding: " + String(repeating: "x", count: 1000) + "\r\n"
        let head = "GET /heartbeat HTTP/1.1\r\nHost: a\r\n"
        let small = try await send(head + String(repeating: line, count: 7) + "\r\n")
        #expect(small.answers[0].status == 500)
        for text in [
            head + String(repeating: line, count: 9) + "\r\n",
            head + "X: " + String(repeating: "x", count: 9000),
        ] {
            let answer = try await cluster.driver.exchange(cluster.node.port, text, patience: .seconds(3))
            #expect(answer.answers[0].status == 431)
            #expect(answer.closed)
        }
        let longTarget = "/heartbeat?token=" + String(repeating: "t", count: 9000)
        #expect(try await cluster.node.get(longTarget).status == 431)
    }

    /// Time is the subject: 10 s for a request that never gets complete, however it dribbles in.
    @Test func requestNotCompleteInTenSecondsTimesOut() async throws {
        let cluster = try Cluster.current
        async let silent = cluster.driver.exchange(
            cluster.node.port, "GET /heartbeat HTTP/1.1\r\nHost:", within: .seconds(20), patience: .seconds(3)
        )
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        try await raw.send("GET /heartbeat HTTP/1.1\r\nX: ")
        var answer: (bytes: [UInt8], end: RawConnection.End?) = ([], nil)
        for _ in 0..<30 where answer.bytes.isEmpty {
            try await raw.send("x")
            answer = try await raw.receive(13, within: .milliseconds(500))
        }
        #expect(String(decoding: answer.bytes, as: UTF8.self).hasPrefix("HTTP/1.1 408 "))
        try await raw.close()
        let exchange = try await silent
        #expect(exchange.answers[0].status == 408)
        #expect(exchange.closed)
        #expect((.seconds(9.9)...(.seconds(13))).contains(exchange.answers[0].after))
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let targets = [
            "/heartbeat?token=\(token)", "/nowhere", "/heartbeat?token=x", "/get/token?isLogin=true&userId=a",
        ]
        let text = (0..<5).flatMap { _ in targets }.map { requestText($0) }.joined()
        let exchange = try await send(text, count: 20)
        #expect(exchange.answers.map(\.status) == (0..<5).flatMap { _ in [200, 404, 500, 200] })
    }

    @Test func connectionIsKeptAlive() async throws {
        let cluster = try Cluster.current
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        for _ in 0..<3 {
            try await raw.send(requestText("/heartbeat?token=x"))
            let head = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
            #expect(head.hasPrefix("HTTP/1.1 500 "))
            #expect(try await raw.receive(22).bytes == Array(#"{"data":"token error"}"#.utf8))
        }
        try await raw.close()
    }

    @Test func requestMayArriveByteByByte() async throws {
        let cluster = try Cluster.current
        let bytes = Array(requestText("/heartbeat?token=x").utf8)
        let exchange = try await cluster.driver.exchange(cluster.node.port, bytes.map { [$0] })
        #expect(exchange.answers[0].status == 500)
    }

    @Test func http10IsAnsweredAndClosed() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        for text in [
            "GET /heartbeat?token=\(token) HTTP/1.0\r\n\r\n",
            requestText("/heartbeat?token=\(token)", version: "HTTP/1.0"),
        ] {
            let exchange = try await send(text, patience: .seconds(3))
            #expect(exchange.answers[0].status == 200)
            #expect(exchange.answers[0].body == "{}")
            #expect(exchange.closed)
        }
    }

    @Test(arguments: ["/get/token?isLogin=true&userId=a", "/heartbeat?token=x", "/nowhere"])
    func headIsAnsweredWithoutBody(target: String) async throws {
        let cluster = try Cluster.current
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        try await raw.send(requestText(target, method: "HEAD"))
        let head = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
        #expect(head.hasPrefix("HTTP/1.1 \(target == "/nowhere" ? 404 : 405) "))
        #expect(!head.contains("Content-Length: 0\r\n"), "the length is that of the body left out")
        // What follows at once is the next answer.
        try await raw.send(requestText("/heartbeat?token=x"))
        let next = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
        #expect(next.hasPrefix("HTTP/1.1 500 "))
        try await raw.close()
    }

    @Test func smallBodyIsSkippedAndTheConnectionGoesOn() async throws {
        let cluster = try Cluster.current
        let withBody = requestText("/heartbeat?token=x", headers: ["Content-Length": "5"])
        let next = requestText("/nowhere")
        let together = try await send(withBody + "hello" + next, count: 2)
        #expect(together.answers.map(\.status) == [500, 404])
        let pieces = [withBody, "he", "ll", "o" + next].map { Array($0.utf8) }
        let apart = try await cluster.driver.exchange(cluster.node.port, pieces, count: 2)
        #expect(apart.answers.map(\.status) == [500, 404])
    }

    @Test(arguments: [
        (["Content-Length: 100000"], 413), (["Content-Length: 999999999999999999999"], 400),
        (["Content-Length: 5", "Content-Length: 5"], 400), (["Content-Length: 5", "Content-Length: 6"], 400),
        (["Content-Length: +5"], 400), (["Content-Length: 5, 5"], 400), (["Content-Length:"], 400),
        (["Transfer-Encoding: chunked"], 400), (["Transfer-Encoding: chunked", "Content-Length: 5"], 400),
    ])
    func bodyThatIsTooLargeOrOfUnclearLengthIsRefused(lines: [String], status: Int) async throws {
        let head = (["GET /heartbeat?token=x HTTP/1.1", "Host: a"] + lines).joined(separator: "\r\n")
        let exchange = try await send(head + "\r\n\r\nhello", patience: .seconds(3))
        #expect(exchange.answers[0].status == status)
        #expect(JSON(parsing: exchange.answers[0].body)?["data"].string != nil)
        #expect(exchange.closed, "where the next request begins is not known")
    }

    @Test func connectionCloseIsHonoured() async throws {
        let text = requestText("/heartbeat?token=x", headers: ["Connection": "close"])
        let exchange = try await send(text, patience: .seconds(3))
        #expect(exchange.answers[0].status == 500)
        #expect(exchange.answers[0].headers["connection"]?.lowercased() == "close")
        #expect(exchange.closed)
    }
}
