// GET /events: the same rooms, checks, answers and endings as a WebSocket, as an event stream.
import Foundation
import Testing

@Suite(.cluster(nodes: 2, options: ["--log-level", "debug"]))
struct EventStreamTests {
    // MARK: The answer

    @Test(arguments: ["HTTP/1.1", "HTTP/1.0"])
    func answerIsAnEndlessStreamThatNothingKeepsOrHoldsBack(version: String) async throws {
        let cluster = try Cluster.current
        let stream = try await cluster.node.stream(
            cluster.room(), headers: ["Origin": "https://any.example"], version: version)
        let headers = stream.answer.headers
        #expect(stream.answer.status == 200)
        #expect(headers["content-type"] == "text/event-stream")
        #expect(headers["cache-control"] == "no-store")
        #expect(headers["x-accel-buffering"] == "no")
        #expect(headers["connection"] == "close")
        #expect(headers["content-length"] == nil && headers["transfer-encoding"] == nil)
        #expect(headers["date"] != nil)
        #expect(headers["access-control-allow-origin"] == "*")
        #expect(headers["access-control-expose-headers"]?.contains("Retry-After") == true)
        try await eventually("it says when to come back") { try await stream.retry() != nil }
        #expect((500...2_500).contains(try await stream.retry() ?? 0))
        try await stream.close()
    }

    /// As for a heartbeat: the token need not stand in a URL.
    @Test func tokenMayComeAsAuthorization() async throws {
        let cluster = try Cluster.current
        let (node, room, token) = (cluster.node, cluster.room(), try await cluster.node.token())
        let bearer = ["Authorization": "Bearer \(token)"]
        guard
            case .open(let stream) = try await cluster.driver.eventStream(
                node.port, "roomIds=\(room)", headers: bearer)
        else { throw HarnessError("refused") }
        try await cluster.redis.publish(room: room, "1")
        #expect(try await stream.next().text == "1")
        guard
            case .refused(let answer) = try await cluster.driver.eventStream(
                node.port, "token=\(token)x&roomIds=\(room)", headers: bearer)
        else { throw HarnessError("the query does not win") }
        #expect(answer.data == "Token error")
    }

    /// HEAD says what GET would, and leaves the token's connection alone.
    @Test func headOpensNothing() async throws {
        let cluster = try Cluster.current
        let (node, room) = (cluster.node, cluster.room())
        let token = try await node.token()
        let client = try await node.connect(room, token: token)
        let query = "token=\(token)&roomIds=\(room)"
        guard
            case .refused(let answer) = try await cluster.driver.eventStream(
                node.port, query, method: "HEAD")
        else { throw HarnessError("HEAD has a body") }
        #expect(answer.status == 200)
        #expect(answer.headers["content-type"] == "text/event-stream")
        #expect(answer.headers["content-length"] == nil && answer.headers["connection"] == "close")
        #expect(try await client.ping("still here"))
        for query in ["", "token=x", "token=x&roomIds=a", "token=\(token)&roomIds=%00"] {
            let text = requestText("/events?\(query)", method: "HEAD")
            let raw = try await RawConnection(cluster.driver, port: node.port)
            try await raw.send(text)
            let head = String(decoding: try await raw.receive().bytes, as: UTF8.self)
            let got = try await node.get("/events?\(query)")
            #expect(got.status >= 400)
            #expect(head.hasPrefix("HTTP/1.1 \(got.status) "), "\(query): \(head)")
            #expect(head.hasSuffix("\r\n\r\n"))
        }
    }

    @Test func curlShowsNoticesAndTheGoodbye() async throws {
        let curl = try Installation.system("curl", package: "curl")
        try await Cluster.with(options: ["--drain-time", "0s"]) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let url = "http://127.0.0.1:\(node.port)/events?token=\(try await node.token())&roomIds=\(room)"
            let child = try await Child(cluster.driver, name: "curl", [curl, "-sN", url])
            try await eventually("it is connected") { try await node.metrics()["roomcast_connections"] == 1 }
            try await cluster.redis.publish(room: room, #"{"n":1}"#)
            try await eventually("the notice is shown") { child.output.hasSuffix("data: {\"n\":1}\n\n") }
            try await node.child.signal(SIGTERM)
            #expect(try await child.exitCode() == 0)
            #expect(
                child.output.hasSuffix("event: close\ndata: {\"code\":1001,\"reason\":\"going away\"}\n\n"))
            #expect(try await node.child.exitCode() == 0)
        }
    }

    // MARK: Checks

    /// What is asked of a handshake, and how that is answered, but for the headers of a WebSocket.
    struct Check: Sendable {
        let query: String
        var headers: [String: String] = [:]
        var method = "GET"
        let status: Int
        let message: String
    }

    static let checks = [
        Check(query: "", status: 401, message: "Missing token"),
        Check(query: "token=&roomIds=a", status: 401, message: "Missing token"),
        Check(query: "Token=x&roomIds=a", status: 401, message: "Missing token"),
        Check(query: "token=unknown", status: 401, message: "Missing room"),
        Check(query: "token=unknown&roomIds=,,", status: 401, message: "Missing room"),
        Check(query: "token=unknown&roomIds=a", status: 500, message: "Token error"),
        Check(query: "token=AAAAAAAAAAAAAAAAAAAAAAAA&roomIds=a", status: 500, message: "Token error"),
        Check(query: "token=x&token=x&roomIds=a", status: 400, message: "Invalid request parameters"),
        Check(query: "token=x&roomIds=a&roomIds=b", status: 400, message: "Invalid request parameters"),
        Check(query: "token=x&roomIds=%00", status: 400, message: "Invalid request parameters"),
        Check(query: "token=x&roomIds=a%0Ab", status: 400, message: "Invalid request parameters"),
        Check(query: "token=x&roomIds=%zz", status: 400, message: "Invalid request parameters"),
        Check(query: "token=x&roomIds=a&since=x", status: 400, message: "Invalid request parameters"),
        Check(
            query: "token=x&roomIds=a&since=&since=", status: 400, message: "Invalid request parameters"),
        Check(
            query: "token=TOKEN&roomIds=a", headers: ["Origin": "https://evil.example"], status: 403,
            message: "Origin not allowed"),
        Check(query: "token=BOUND&roomIds=other", status: 403, message: "Room not allowed"),
        Check(query: "token=TOKEN&roomIds=a", method: "POST", status: 405, message: "Method Not Allowed"),
    ]

    @Test func everyCheckAndAnswerIsThatOfAWebSocket() async throws {
        try await Cluster.with(options: ["--allowed-origins", "https://app.example"]) { cluster in
            let node = cluster.node
            let token = try await node.token()
            let bound = try #require(
                try await node.get("/get/token?isLogin=true&userId=a&rooms=mine").data)
            for check in Self.checks {
                let query = check.query.replacing("TOKEN", with: token).replacing("BOUND", with: bound)
                var details: [String?] = []
                for path in ["/ws", "/events"] {
                    let headers = handshakeHeaders().merging(check.headers) { $1 }
                    let answer = try await cluster.driver.request(
                        node.port, "\(path)?\(query)", method: check.method,
                        headers: path == "/ws" ? headers : check.headers)
                    #expect(answer.status == check.status, "\(path) \(query)")
                    #expect(answer.body == #"{"data":"\#(check.message)"}"#, "\(path) \(query)")
                    #expect(answer.headers["content-type"] == "application/json")
                    #expect(answer.headers["connection"] == "close")
                    #expect(answer.headers["vary"] == "Origin")
                    details.append(answer.headers["roomcast-detail"])
                }
                #expect(details[0] == details[1] && details[0]?.isEmpty == false)
            }
            let samples = try await node.metrics().samples
            for (reason, count) in [("missing_token", 6.0), ("missing_room", 4), ("origin_not_allowed", 2)] {
                #expect(samples[#"roomcast_handshakes_rejected_total{reason="\#(reason)"}"#] == count)
            }
        }
    }

    @Test(arguments: ["/ws", "/events"])
    func unavailableRedisAndAFullNodeAreAnsweredAlike(path: String) async throws {
        let options = ["--maximum-connections", "1", "--redis-timeout", "500ms"]
        try await Cluster.with(options: options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let tokens = [try await node.token(), try await node.token()]
            let headers = path == "/ws" ? handshakeHeaders() : [:]
            let first = try await node.stream(room, token: tokens[0])
            let full = try await node.get("\(path)?token=\(tokens[1])&roomIds=\(room)", headers: headers)
            #expect(full.status == 503 && full.data == "service unavailable")
            #expect(full.headers["retry-after"] == "5")
            try await first.close()
            try await eventually("its place is free") {
                try await node.metrics()["roomcast_connections"] == 0
            }
            try await cluster.redis.stop()
            try await eventually("answered as by a WebSocket") {
                let answer = try await node.get(
                    "\(path)?token=\(tokens[1])&roomIds=\(room)", headers: headers)
                return answer.status == 500 && answer.data == "WebSocket upgrade failed"
            }
        }
    }

    @Test func lastEventIdThatIsNoneIsRefused() async throws {
        let cluster = try Cluster.current
        for id in ["x", "k3f9x2ab.1", "k3f9x2ab.1-1,x"] {
            let query = "token=\(try await cluster.node.token())&roomIds=a,b"
            let answer = try await cluster.node.get("/events?\(query)", headers: ["Last-Event-ID": id])
            #expect(answer.status == 400, "\(id)")
            #expect(answer.data == "Invalid request parameters")
            #expect(answer.headers["roomcast-detail"]?.contains("Last-Event-ID") == true)
        }
    }

    @Test func aPreflightForAStreamIsAnswered() async throws {
        let cluster = try Cluster.current
        let answer = try await cluster.driver.request(
            cluster.node.port, "/events", method: "OPTIONS",
            headers: [
                "Origin": "https://any.example", "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "last-event-id",
            ])
        #expect(answer.status == 204)
        #expect(answer.headers["access-control-allow-headers"]?.contains("last-event-id") == true)
    }

    // MARK: Notices

    /// JSON may have any of them between its tokens.
    @Test func linesOfAPayloadComeWithLineFeedsBetweenThem() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let stream = try await cluster.nodes[1].stream(room)
        let socket = try await cluster.nodes[1].connect(room)
        for lineBreak in ["\n", "\r", "\r\n", "\n\n", "\r\r", "\n\r", "\r\n\r\n", "\r\n\n"] {
            let payload = "{\(lineBreak)\"text\":\(lineBreak) \"a\\nb\"}\(lineBreak)"
            try await cluster.redis.publish(room: room, payload)
            let lines = payload.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
            #expect(try await stream.next() == .event(name: "message", data: lines, id: ""))
            #expect(try await socket.next() == .text(payload))
        }
        try await stream.close()
    }

    @Test func twoRoomsComeInTheOrderOfTheirPublication() async throws {
        let cluster = try Cluster.current
        let (first, second) = (cluster.room("a"), cluster.room("b"))
        for node in cluster.nodes {
            let stream = try await node.stream("\(first),\(second)")
            let socket = try await node.connect("\(first),\(second)")
            for number in 0..<200 {
                try await cluster.redis.publish(room: number % 3 == 0 ? first : second, "\(number)")
            }
            for number in 0..<200 {
                #expect(try await stream.next().text == "\(number)")
                #expect(try await socket.next() == .text("\(number)"))
            }
            try await stream.close()
        }
    }

    @Test func whatAClientSendsBehindItsRequestIsDropped() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let stream = try await cluster.node.stream(room)
        try await stream.send(Array("GET /heartbeat HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        try await stream.send([UInt8](repeating: 0, count: 1 << 20))
        try await cluster.redis.publish(room: room, "1")
        #expect(try await stream.next().text == "1")
        #expect(try await stream.receivedCount() == 1)
        try await stream.close()
    }

    @Test func clientsAndHandshakesAreCountedByTransport() async throws {
        try await Cluster.with { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let stream = try await node.stream(room)
            _ = try await node.connect(room)
            _ = try await node.connect(room)
            func samples(_ name: String) async throws -> [Double?] {
                let samples = try await node.metrics().samples
                return [
                    samples[name], samples[#"roomcast_transport_\#(name.dropFirst(9)){transport="events"}"#],
                    samples[#"roomcast_transport_\#(name.dropFirst(9)){transport="websocket"}"#],
                ]
            }
            #expect(try await samples("roomcast_connections") == [3, 1, 2])
            #expect(try await samples("roomcast_handshakes_total") == [3, 1, 2])
            try await stream.close()
            try await eventually("it is gone") { try await samples("roomcast_connections") == [2, 0, 2] }
            #expect(try await samples("roomcast_handshakes_total") == [3, 1, 2])
        }
    }

    // MARK: The end

    /// A token has one connection, of either kind.
    @Test func newerConnectionOfEitherKindWins() async throws {
        let cluster = try Cluster.current
        let (room, token) = (cluster.room(), try await cluster.node.token())
        let socket = try await cluster.nodes[0].connect(room, token: token)
        let first = try await cluster.nodes[1].stream(room, token: token)
        #expect(try await socket.closed()?.code == 4001)
        let second = try await cluster.nodes[1].stream(room, token: token)
        let replaced = try await first.closed()
        #expect(replaced.code == 4001 && replaced.end == "eof")
        #expect(replaced.reason == "replaced by a newer connection")
        #expect(try await first.retry() == 2_147_483_647, "an EventSource stays away")
        let last = try await cluster.nodes[0].connect(room, token: token)
        #expect(try await second.closed().code == 4001)
        try await cluster.redis.publish(room: room, "1")
        #expect(try await last.next() == .text("1"))
    }

    @Test func revocationEndsAStream() async throws {
        let cluster = try Cluster.current
        let (room, token) = (cluster.room(), try await cluster.node.token())
        let stream = try await cluster.nodes[1].stream(room, token: token)
        let completed = try await cluster.driver.run(
            [
                try Installation.binary("publisher"), "revoke", "--redis", cluster.redis.url,
                "--token=\(token)",
            ])
        #expect(completed.code == 0)
        let closed = try await stream.closed()
        #expect(closed.code == 4003 && closed.reason == "token revoked" && closed.end == "eof")
        #expect(try await stream.retry() == 2_147_483_647)
    }

    @Test func heartbeatsKeepAStreamAndSilenceEndsIt() async throws {
        try await Cluster.with(nodes: 2, options: ["--heartbeat-timeout", "15s"]) { cluster in
            let room = cluster.room()
            let (beating, silent) = (try await cluster.node.token(), try await cluster.node.token())
            let kept = try await cluster.nodes[0].stream(room, token: beating)
            let gone = try await cluster.nodes[0].stream(room, token: silent)
            let beats = Task {
                while !Task.isCancelled {
                    _ = try await cluster.nodes[1].heartbeat(beating)
                    // Far more often than need be: a machine may be many beats late.
                    try await Task.sleep(for: .seconds(1))
                }
            }
            defer { beats.cancel() }
            let closed = try await gone.closed()
            #expect(closed.code == 4000 && closed.reason == "no heartbeat")
            try await cluster.redis.publish(room: room, "1")
            #expect(try await kept.next().text == "1")
        }
    }

    @Test func drainEndsStreamsBehindWhatIsPublishedAndSpreadsTheirReturn() async throws {
        try await Cluster.with(options: ["--drain-time", "1s"]) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            var streams: [EventStream] = []
            for _ in 0..<8 { streams.append(try await node.stream(room)) }
            try await cluster.redis.publish(room: room, "1")
            try await node.child.signal(SIGTERM)
            var retries: Set<Int> = []
            for stream in streams {
                #expect(try await stream.next().text == "1")
                let goodbye = try await stream.next()
                #expect(goodbye.closeCode == 1001)
                #expect(try await stream.next() == .end("eof"))
                retries.insert(try #require(try await stream.retry()))
            }
            #expect(retries.count > 4 && retries.allSatisfy { (500...2_500).contains($0) })
            #expect(try await node.child.exitCode() == 0)
        }
    }

    @Test func slowConsumerIsToldBehindWholeEvents() async throws {
        let options = ["--maximum-queue-bytes", "64KiB", "--socket-send-buffer", "16KiB"]
        try await Cluster.with(options: options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let raw = try await RawConnection(cluster.driver, port: node.port, receiveBufferBytes: 4096)
            try await raw.send(requestText("/events?token=\(try await node.token())&roomIds=\(room)"))
            _ = try await raw.receive(until: "\r\n\r\n")
            try await cluster.redis.publishSequence(room: room, count: 30, paddingBytes: 20_000)
            try await eventually("the slow consumer is counted") {
                try await node.metrics().samples[#"roomcast_closes_total{code="1013"}"#] == 1
            }
            let (bytes, end) = try await raw.receive()
            let text = String(decoding: bytes, as: UTF8.self)
            let blocks = text.components(separatedBy: "\n\n").dropLast()
            #expect(end == .eof && text.hasSuffix("\n\n"))
            #expect(blocks.last == "event: close\ndata: {\"code\":1013,\"reason\":\"slow consumer\"}")
            let notices = blocks.dropFirst().dropLast()
            #expect(!notices.isEmpty && notices.count < 30)
            for (number, block) in notices.enumerated() {
                #expect(JSON(parsing: String(block.dropFirst(6)))?["data"]["n"].int == number)
            }
        }
    }

    @Test func gapNoticeIsAnEventLikeAnyOther() async throws {
        try await Cluster.with(options: ["--gap-notice", "on"]) { cluster in
            let room = cluster.room()
            let stream = try await cluster.node.stream(room)
            try await cluster.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            let text = try #require(try await stream.next().text)
            let notice = JSON(parsing: text)
            #expect(notice?["type"] == "gap" && notice?["data"]["rooms"] == [.string(room)])
        }
    }
}
