// clients/js/roomcast.js in a real Chromium behind proxies that pass no WebSockets: it turns to event streams, and back
// when those are what fails.
import Foundation
import Testing

@Suite struct BrowserTransportTests {
    private static let lobby: [String: JSON] = [
        "rooms": ["lobby"], "userId": "ada", "heartbeatTimeoutMs": 6000,
    ]

    /// What nginx does instead of passing requests for `path` on.
    private static func refusal(of path: String, _ statement: String) -> (String, String) {
        ("location = \(path) {", "location = \(path) { \(statement)")
    }

    /// 444: nginx cuts the connection without an answer.
    @Test(arguments: [400, 502, 444])
    func proxyThatRefusesWebSocketsLeadsToAnEventStream(status: Int) async throws {
        let nginx = [Self.refusal(of: "/ws", "return \(status);")]
        try await ClientEdge.with(nginx: nginx) { edge in
            let page = try await edge.client(Self.lobby)
            #expect(try await page.seen()["attempts"] == ["websocket", "websocket", "events"])
            try await edge.cluster.redis.publishSequence(room: "lobby", count: 1000)
            let before = try await page.expect("all of them") { $0.noticeNumbers.count == 1000 }
            #expect(before.noticeNumbers == Array(0..<1000))
            #expect(before["transport"] == "events")
            #expect(before["gaps"] == [])

            let token = try #require(before["tokens"][0].string)
            let node = try await edge.holder(of: token).child
            try await node.signal(SIGKILL)
            #expect(try await node.exitCode() != nil)
            let after = try await page.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(after["gaps"][0]["source"] == "reconnect")
            #expect(after["tokens"].count == 1, "the token is as good as before")
            try await edge.cluster.redis.publishSequence(room: "lobby", count: 100)
            let all = try await page.expect("the rest, and beats") {
                $0.noticeNumbers.count == 1100 && $0["beats"].int ?? 0 >= 4
            }
            #expect(all.noticeNumbers.suffix(100) == Array(0..<100))
            #expect(all["counts"]["reconnects"] == 1)
            let attempts = all["attempts"].array ?? []
            #expect(attempts.filter { $0 == "websocket" }.count == 2, "the page remembers")

            try await edge.connect(page, Self.lobby)
            #expect(try await page.seen()["attempts"] == ["events"], "for its next client, too")
        }
    }

    @Test func proxyThatPassesNeitherLeavesNoFalseMemory() async throws {
        let nginx = ["/ws", "/events"].map { Self.refusal(of: $0, "return 403;") }
        try await ClientEdge.with(nginx: nginx) { edge in
            let page = try await edge.page()
            let options = Self.lobby.merging(["url": .string(edge.url)]) { own, _ in own }
            try await page.start(options)
            let seen = try await page.expect("tries both in turn") { $0["attempts"].count >= 4 }
            let attempts = seen["attempts"].array?.prefix(4)
            #expect(attempts == ["websocket", "websocket", "events", "websocket"])
            #expect(seen["status"] != "closed")
            try await page.evaluate("seen.client.close()")
            try await page.start(options)
            let later = try await page.expect("begins anew") { $0["attempts"].count >= 2 }
            #expect(later["attempts"].array?.prefix(2) == ["websocket", "websocket"])
        }
    }

    @Test func durableNoticesSurviveEachChangeOfTheTransport() async throws {
        try await ClientEdge.with { edge in
            let proxy = try await SilentProxy(edge.cluster.driver, to: edge.nginx.port)
            let page = try await edge.page()
            let options: [String: JSON] = [
                "durable": true, "url": .string("http://127.0.0.1:\(proxy.port)"),
            ]
            try await page.start(Self.lobby.merging(options) { _, new in new })
            try await page.expect("open") { $0["status"] == "open" && $0["transport"] == "websocket" }
            let notices = await DurablePublished(edge.cluster.redis, room: "lobby").start()
            try await Self.expectAll(page, notices)

            try await proxy.answer(502, "", containing: "GET /ws")
            let token = try #require(try await page.seen()["tokens"][0].string)
            let node = try await edge.holder(of: token).child
            try await node.signal(SIGKILL)
            #expect(try await node.exitCode() != nil)
            try await page.expect("an event stream") {
                $0["status"] == "open" && $0["transport"] == "events"
            }
            try await Self.expectAll(page, notices)

            try await proxy.stopAnswering()
            try await proxy.answer(502, "", containing: "GET /events")
            try await page.expect("a WebSocket") { $0["status"] == "open" && $0["transport"] == "websocket" }
            try await Self.expectAll(page, notices)

            let count = try await notices.stop()
            let seen = try await page.expect("the last notice") { $0.noticeNumbers.count >= count }
            #expect(seen.noticeNumbers == Array(0..<count))
            #expect(seen["gaps"] == [])
            #expect(seen["counts"]["resumed"].int ?? 0 >= 2)
            #expect(seen["counts"]["lost"] == 0)
        }
    }

    /// What is a preflight over a WebSocket's beats is one over a stream as well.
    @Test func tokenOfAnEventStreamStandsInNoURL() async throws {
        try await ClientEdge.with { edge in
            let own: [String: JSON] = ["transport": "events", "tokenIn": "subprotocol"]
            let page = try await edge.client(Self.lobby.merging(own) { _, new in new })
            let token = try #require(try await page.seen()["tokens"][0].string)
            let seen = try await page.expect("beats go on") { $0["beats"].int ?? 0 >= 2 }
            #expect(seen["status"] == "open" && seen["counts"]["reconnects"] == 0, "\(seen["statuses"])")
            let urls = (seen["urls"].array ?? []).compactMap(\.string)
            #expect(urls.contains { $0.contains("/events") } && !urls.contains { $0.contains(token) })
            #expect(try await page.complaints() == [])
        }
    }

    /// A page of which nothing but the event stream dies, in silence: beats are answered all the time.
    @Test func silentEventStreamIsReplaced() async throws {
        try await ClientEdge.with(options: ["--ping-interval", "2s"]) { edge in
            let proxy = try await SilentProxy(edge.cluster.driver, to: edge.nginx.port)
            let page = try await edge.page()
            let options: [String: JSON] = [
                "transport": "events", "url": .string("http://127.0.0.1:\(proxy.port)"),
            ]
            try await page.start(Self.lobby.merging(options) { _, new in new })
            let open = try await page.expect("beats go on") {
                $0["status"] == "open" && $0["beats"].int ?? 0 >= 4
            }
            #expect(open["counts"]["reconnects"] == 0, "a quiet room is not a dead one")
            try await proxy.swallow(containing: "GET /events")
            try await page.expect("noticed") { seen in
                (seen["statuses"].array ?? []).contains {
                    $0["reason"]["detail"] == "the event stream was silent"
                }
            }
            try await proxy.pass()
            let seen = try await page.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(seen["gaps"].count == 1)
            try await edge.cluster.redis.publish(room: "lobby", #"{"type":"notice","data":{"n":7}}"#)
            try await page.expect("one notice over one stream") { $0.noticeNumbers == [7] }
        }
    }

    /// Waits until the page has what is published by now.
    private static func expectAll(_ page: Page, _ notices: DurablePublished) async throws {
        try await notices.wait(forMore: 10)
        let count = await notices.answeredCount
        try await page.expect("\(count) notices") { $0.noticeNumbers.count >= count }
    }
}
