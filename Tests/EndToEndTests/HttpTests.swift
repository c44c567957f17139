// HTTP around the endpoints: other paths and methods, malformed and slow requests, connections used again.
import Foundation
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
        let exchange = try await send(text, patience: .patience)
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
            let answer = try await cluster.driver.exchange(cluster.node.port, text, patience: .patience)
            #expect(answer.answers[0].status == 431)
            #expect(answer.closed)
        }
        let longTarget = "/heartbeat?token=" + String(repeating: "t", count: 9000)
        #expect(try await cluster.node.get(longTarget).status == 431)
    }

    /// Time is the subject: 10 s for a request that never gets complete, however it dribbles in.
    @Test func requestNotCompleteInTenSecondsTimesOut() async throws {
        try await Cluster.with(environment: ["GATEWAY_REQUEST_TIMEOUT": ""]) { cluster in
            let (exchange, pace) = try await Pace.during(cluster.driver, cluster.redis) {
                async let silent = cluster.driver.exchange(
                    cluster.node.port, "GET /heartbeat HTTP/1.1\r\nHost:", patience: .patience)
                let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
                try await raw.send("GET /heartbeat HTTP/1.1\r\nX: ")
                var answer = ""
                try await eventually("it is answered") {
                    try await raw.send("x")
                    answer += String(
                        decoding: try await raw.receive(13, within: .milliseconds(500)).bytes, as: UTF8.self)
                    return !answer.isEmpty
                }
                #expect(answer.hasPrefix("HTTP/1.1 408 "))
                try await raw.close()
                return try await silent
            }
            #expect(exchange.answers[0].status == 408)
            #expect(exchange.closed)
            #expect(exchange.answers[0].after >= .seconds(9.9))
            #expect(exchange.answers[0].after < pace.allows(.seconds(13)))
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let targets = [
            "/heartbeat?token=\(token)", "/nowhere", "/heartbeat?token=x",
            "/get/token?isLogin=true&userId=a",
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
            let exchange = try await send(text, patience: .patience)
            #expect(exchange.answers[0].status == 200)
            #expect(exchange.answers[0].body == "{}")
            #expect(exchange.closed)
        }
    }

    @Test(arguments: [
        "/get/token?isLogin=true&userId=a", "/get/token", "/heartbeat?token=x", "/heartbeat?token=%zz",
        "/nowhere",
        "/ws?token=x&roomIds=a",
    ])
    func headIsAnsweredAsGetWithoutBody(target: String) async throws {
        let cluster = try Cluster.current
        let asGet = try await cluster.node.get(target)
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        try await raw.send(requestText(target, method: "HEAD"))
        let head = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
        #expect(head.hasPrefix("HTTP/1.1 \(asGet.status) "))
        var names: Set<String> = []
        for line in head.split(separator: "\r\n").dropFirst() {
            let (name, value) = (
                line.prefix { $0 != ":" }.lowercased(), line.drop { $0 != ":" }.dropFirst(2)
            )
            names.insert(name)
            // The time goes on, and the detail may be about the method.
            guard name != "date", name != "roomcast-detail" else { continue }
            #expect(asGet.headers[name] == String(value), "\(line)")
        }
        #expect(names == Set(asGet.headers.keys))
        #expect(asGet.headers["content-length"] == "\(asGet.body.utf8.count)")
        // What follows at once is the next answer, or the end.
        guard asGet.headers["connection"] != "close" else {
            #expect(try await raw.receive().bytes.isEmpty)
            return try await raw.close()
        }
        try await raw.send(requestText("/heartbeat?token=x"))
        let next = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
        #expect(next.hasPrefix("HTTP/1.1 500 "))
        try await raw.close()
    }

    @Test func headOfATokenIssuesNone() async throws {
        try await Cluster.with { cluster in
            let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
            for _ in 0..<3 {
                try await raw.send(requestText("/get/token?isLogin=true&userId=a", method: "HEAD"))
                let head = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
                #expect(head.hasPrefix("HTTP/1.1 200 "))
            }
            try await raw.close()
            #expect(try await cluster.node.metrics()["roomcast_tokens_issued_total"] == 0)
        }
    }

    /// A HEAD in front of a request that is refused: the refusal has its body.
    @Test func headDoesNotSilenceTheNextAnswer() async throws {
        let both = requestText("/nowhere", method: "HEAD") + "GET\r\n\r\n"
        let cluster = try Cluster.current
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        try await raw.send(both)
        let answers = String(decoding: try await raw.receive().bytes, as: UTF8.self)
        #expect(answers.hasSuffix(#"{"data":"Bad Request"}"#))
        try await raw.close()
    }

    /// Whoever asks before a body leaves need not send one that nobody wants, so what follows is unclear.
    @Test func expectationOfABodyThatIsNotWantedEndsTheConnection() async throws {
        let cluster = try Cluster.current
        for fields in [["Expect": "100-continue"], ["Expect": "100-Continue"]] {
            let headers = fields.merging(["Content-Length": "5"]) { _, new in new }
            let exchange = try await cluster.driver.exchange(
                cluster.node.port, requestText("/heartbeat?token=x", headers: headers), patience: .patience)
            #expect(exchange.answers[0].status == 500)
            #expect(exchange.answers[0].headers["connection"] == "close")
            #expect(exchange.closed)
        }
        // Without a body there is nothing to ask for, and HTTP/1.0 knows no such question.
        let bodiless = try await send(requestText("/heartbeat?token=x", headers: ["Expect": "100-continue"]))
        #expect(bodiless.answers[0].status == 500)
        #expect(bodiless.answers[0].headers["connection"] == nil)
        let old = try await send("GET /heartbeat?token=x HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
        #expect(old.answers[0].status == 500)
    }

    @Test(arguments: ["200-ok", "100-continue, x", "x"])
    func otherExpectationsFail(value: String) async throws {
        let exchange = try await send(
            requestText("/heartbeat?token=x", headers: ["Expect": value]), patience: .patience)
        #expect(exchange.answers[0].status == 417)
        #expect(exchange.answers[0].body == #"{"data":"Expectation Failed"}"#)
        #expect(exchange.closed)
    }

    /// No cache on the way may keep what is true of a token, or of a node, at this moment.
    @Test(arguments: [
        "/get/token?isLogin=true&userId=a", "/get/token", "/heartbeat?token=x", "/heartbeat?token=%zz",
        "/ws",
        "/ws?token=x&roomIds=a", "/nowhere",
    ])
    func everyAnswerHasItsDateAndIsForNoCache(target: String) async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let text = requestText(
                target, method: method, headers: ["Content-Length": "0", "Connection": "close"])
            let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
            let start = Date.now
            try await raw.send(text)
            let answer = String(decoding: try await raw.receive().bytes, as: UTF8.self)
            try expectDateAndNoStore(answer, since: start)
            try await raw.close()
        }
        let beat = try await cluster.node.heartbeat(token)
        #expect(beat.headers["cache-control"] == "no-store")
    }

    @Test(arguments: [
        "GET\r\n\r\n", "GET / HTTP/9.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
    ])
    func everyRefusalToo(text: String) async throws {
        let cluster = try Cluster.current
        let raw = try await RawConnection(cluster.driver, port: cluster.node.port)
        let start = Date.now
        try await raw.send(text)
        try expectDateAndNoStore(
            String(decoding: try await raw.receive().bytes, as: UTF8.self), since: start)
        try await raw.close()
    }

    /// As RFC 9110 5.6.7 has it, and of the time since the request.
    private func expectDateAndNoStore(
        _ answer: String, since start: Date, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(answer.contains("\r\nCache-Control: no-store\r\n"), sourceLocation: sourceLocation)
        #expect(
            answer.components(separatedBy: "\r\nCache-Control:").count == 2, sourceLocation: sourceLocation)
        let form = DateFormatter()
        form.locale = Locale(identifier: "en_US_POSIX")
        form.timeZone = TimeZone(identifier: "GMT")
        form.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        let text = try #require(answer.firstMatch(of: /\r\nDate: ([^\r]*)\r\n/)).output.1
        let date = try #require(form.date(from: String(text)), sourceLocation: sourceLocation)
        #expect(form.string(from: date) == String(text), sourceLocation: sourceLocation)
        // Whole seconds, renewed once a second.
        #expect((start.addingTimeInterval(-3)...(.now)).contains(date), sourceLocation: sourceLocation)
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
        (["Content-Length: 5", "Content-Length: 5"], 400),
        (["Content-Length: 5", "Content-Length: 6"], 400),
        (["Content-Length: +5"], 400), (["Content-Length: 5, 5"], 400), (["Content-Length:"], 400),
        (["Transfer-Encoding: chunked"], 400), (["Transfer-Encoding: chunked", "Content-Length: 5"], 400),
    ])
    func bodyThatIsTooLargeOrOfUnclearLengthIsRefused(lines: [String], status: Int) async throws {
        let head = (["GET /heartbeat?token=x HTTP/1.1", "Host: a"] + lines).joined(separator: "\r\n")
        let exchange = try await send(head + "\r\n\r\nhello", patience: .patience)
        #expect(exchange.answers[0].status == status)
        #expect(JSON(parsing: exchange.answers[0].body)?["data"].string != nil)
        #expect(exchange.closed, "where the next request begins is not known")
    }

    @Test func connectionCloseIsHonoured() async throws {
        let text = requestText("/heartbeat?token=x", headers: ["Connection": "close"])
        let exchange = try await send(text, patience: .patience)
        #expect(exchange.answers[0].status == 500)
        #expect(exchange.answers[0].headers["connection"]?.lowercased() == "close")
        #expect(exchange.closed)
    }
}
