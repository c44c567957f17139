// clients/js/roomcast.js in a real Chromium, through nginx, against two nodes: what pages rely on.
import Foundation
import Testing

@Suite struct BrowserClientTests {
    private static let lobby: [String: JSON] = ["rooms": ["lobby"], "userId": "ada"]

    /// The page beats after 4.2 to 5 s, as if the timeout were these 6 s. The nodes have more patience with
    /// a machine that is slow.
    private static let shortLobby = lobby.merging(["heartbeatTimeoutMs": 6000]) { own, _ in own }

    @Test func noticesComeInOrderAndGoOnAfterTheNodeIsKilled() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.lobby)
            try await edge.cluster.redis.publishSequence(room: "lobby", count: 1000)
            let before = try await page.expect("all of them") { $0.noticeNumbers.count == 1000 }
            #expect(before.noticeNumbers == Array(0..<1000))
            let token = try #require(before["tokens"][0].string)

            let node = try await edge.holder(of: token)
            try await node.child.signal(SIGKILL)
            #expect(try await node.child.exitCode() != nil)
            let after = try await page.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(after["tokens"].count == 1, "the token is as good as before")
            #expect(after["gaps"][0]["source"] == "reconnect")
            #expect(after["gaps"][0]["rooms"] == ["lobby"])
            #expect(try #require(after["gaps"][0]["ms"].double) >= 0)
            #expect(try await edge.holder(of: token).id != node.id)
            try await edge.cluster.redis.publishSequence(room: "lobby", count: 100)
            let all = try await page.expect("the rest") { $0.noticeNumbers.count == 1100 }
            #expect(all.noticeNumbers.suffix(100) == Array(0..<100))
            #expect(try await page.complaints() == [])
        }
    }

    @Test func redisThatComesBackEmptyIsNoReasonToLeave() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.shortLobby)
            try await edge.cluster.redis.stop()
            let down = try await page.expect("beats go on") { $0["beats"].int ?? 0 >= 2 }
            #expect(down["status"] == "open")
            _ = try await edge.cluster.redis.restart()
            for node in edge.cluster.nodes {
                try await eventually("ready again") { try await node.ready().status == 200 }
            }
            let beats = try #require(try await page.seen()["beats"].int)
            try await page.expect("and on") { $0["beats"].int ?? 0 >= beats + 2 }
            try await edge.cluster.redis.publish(room: "lobby", #"{"type":"notice","data":{"n":7}}"#)
            let seen = try await page.expect("the notice") { $0.noticeNumbers == [7] }
            #expect(seen["counts"]["reconnects"] == 0, "\(seen["statuses"])")
            #expect(seen["tokens"].count == 1)
            #expect(try await page.complaints() == [])
        }
    }

    /// Beats that come within this test are not due: the timeout is that of the nodes.
    @Test func wakingPagesBeatAtOnceAndANewNetworkIsANewConnection() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(
                Self.lobby.merging(["heartbeatTimeoutMs": 600_000]) { own, _ in own })
            _ = try await edge.page()
            try await eventually("hidden") {
                try await page.evaluate("document.visibilityState") == "hidden"
            }
            #expect(try await page.seen()["beats"] == 0)
            try await page.show()
            try await page.expect("a beat because it is seen again") { $0["beats"] == 1 }

            try await page.setOffline(true)
            try await eventually("offline") { try await page.evaluate("navigator.onLine") == false }
            try await page.setOffline(false)
            let seen = try await page.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(seen["gaps"].count == 1)
            #expect(seen["tokens"].count == 1)
            try await edge.cluster.redis.publish(room: "lobby", #"{"type":"notice","data":{"n":7}}"#)
            try await page.expect("one notice over one connection") { $0.noticeNumbers == [7] }
            #expect(try await edge.total("roomcast_connections") == 1)
            #expect(try await page.seen()["beats"] == 1)
        }
    }

    /// Some browsers let timers of hidden pages wait for tens of seconds. Here all of the page's own do.
    @Test func pagesWhoseTimersAreSlowedDownBeatInTime() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.page()
            try await page.evaluate(
                """
                const own = setTimeout;
                window.setTimeout = (action, ms) => own(action, ms + 120_000);
                setTimeout(() => { window.isTimerOver = true; }, 0);
                """)
            try await edge.connect(page, Self.shortLobby)
            let seen = try await page.expect("three beats") { $0["beats"].int ?? 0 >= 3 }
            // Of 15 s, not of minutes.
            #expect(try await page.evaluate("window.isTimerOver === true") == false)
            #expect(seen["status"] == "open")
            #expect(seen["counts"]["reconnects"] == 0)
        }
    }

    /// It says goodbye, so that no gateway waits for its beats, and the time away is told in full.
    @Test func frozenPageSaysGoodbyeAndTellsTheWholeGap() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.lobby)
            let notices = await Published(edge.cluster.redis, room: "lobby").start()
            try await page.expect("notices come") { $0.noticeNumbers.count > 10 }
            try await page.freeze(true)
            try await eventually("goodbye has been said") {
                try await edge.total(#"roomcast_closes_total{code="peer"}"#) == 1
            }
            try await notices.wait(forMore: 150)
            #expect(try await edge.total("roomcast_connections") == 0)
            try await page.freeze(false)
            try await Self.expectWholeGap(page, notices)
            let seen = try await page.seen()
            let waiting = seen["statuses"].array?.first { $0["status"] == "waiting" }
            #expect(waiting?["reason"] == ["kind": "frozen"])
            #expect(seen["tokens"].count == 1)
            #expect(try await page.complaints() == [])
        }
    }

    @Test func pageOfTheBackForwardCacheSaysGoodbyeAndTellsTheWholeGap() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.lobby)
            let notices = await Published(edge.cluster.redis, room: "lobby").start()
            try await page.expect("notices come") { $0.noticeNumbers.count > 10 }
            try await page.leave(for: "/package.json")
            try await eventually("goodbye has been said") {
                try await edge.total(#"roomcast_closes_total{code="peer"}"#) == 1
            }
            try await notices.wait(forMore: 100)
            try await page.goBack()
            try await Self.expectWholeGap(page, notices)
            #expect(try await page.complaints() == [])
        }
    }

    /// The page finds the end of its connection seconds after it came, and with it what had come before.
    @Test func busyPageTellsTheWholeGap() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.lobby)
            let notices = await Published(edge.cluster.redis, room: "lobby").start()
            try await page.expect("notices come") { $0.noticeNumbers.count > 10 }
            let token = try #require(try await page.seen()["tokens"][0].string)
            let node = try await edge.holder(of: token)
            let loop = "const end = performance.now() + 6_000; while (performance.now() < end);"
            try await page.evaluate("setTimeout(() => { \(loop) }), null")
            try await node.child.signal(SIGKILL)
            #expect(try await node.child.exitCode() != nil)
            try await Self.expectWholeGap(page, notices)
            #expect(try await page.complaints() == [])
        }
    }

    /// Ends the publishing when the client is there again; what it told is no less than what it missed.
    private static func expectWholeGap(_ page: Page, _ notices: Published) async throws {
        let back = try await page.expect("connected again") {
            $0["status"] == "open" && $0["counts"]["reconnects"] == 1
        }
        let told = try #require(back["gaps"][0]["ms"].double)
        #expect(back["gaps"].count == 1 && back["gaps"][0]["source"] == "reconnect")
        // The first of them may have been sent before the connection was open.
        try await notices.wait(forMore: 2)
        let times = try await notices.stop()
        let last = times.count - 1
        let seen = try await page.expect("the last notice") { $0.noticeNumbers.last == last }
        let missing = Set(times.indices).subtracting(seen.noticeNumbers).filter {
            $0 > seen.noticeNumbers[0]
        }
        let (first, end) = (try #require(missing.min()), try #require(missing.max()))
        let silence = (times[end].sent - times[first].answered) / .milliseconds(1)
        #expect(silence > 1000, "or nothing is proved")
        #expect(told >= silence, "\(told) ms were told, and \(silence) ms are missing")
    }

    /// An ingress that has lost its way says all sorts of things, at every place where a gateway would
    /// answer.
    @Test(arguments: [404, 403, 401, 429])
    func pagesOfAnIngressEndNoClient(status: Int) async throws {
        try await ClientEdge.with { edge in
            let ingress = try await SilentProxy(edge.cluster.driver, to: edge.nginx.port)
            try await ingress.answer(status, "<h1>Nothing here</h1>", containing: "/get/token")
            let page = try await edge.page()
            let place: [String: JSON] = ["url": .string("http://127.0.0.1:\(ingress.port)")]
            try await page.start(Self.shortLobby.merging(place) { own, _ in own })
            let waiting = try await page.expect("waits for a token") { seen in
                seen["status"] == "waiting" && (seen["statuses"].count > 3)
            }
            let reason: JSON = [
                "kind": "status", "status": .number(Double(status)), "detail": "not the gateway's answer",
            ]
            #expect(waiting["statuses"].array?.last?["reason"] == reason)
            // Of its own the client waits a second at most after the first failure.
            let first = waiting["statuses"].array?.first { $0["status"] == "waiting" }
            let isPatient = first?["retryInMs"].double ?? 0 >= 3000
            #expect(isPatient == (status == 429), "only 429 and 503 are about load")
            try await ingress.stopAnswering()
            try await page.expect("open") { $0["status"] == "open" }

            // From now on neither beats nor handshakes get through, and the connection is cut.
            for path in ["/heartbeat", "/ws"] {
                try await ingress.answer(status, "", containing: "GET \(path)")
            }
            let token = try #require(try await page.seen()["tokens"][0].string)
            let node = try await edge.holder(of: token).child
            let pages = try await ingress.pageCount()
            try await node.signal(SIGKILL)
            #expect(try await node.exitCode() != nil)
            try await eventually("it has tried both, twice") {
                try await ingress.pageCount() >= pages + 4
            }
            #expect(try await page.seen()["status"] != "closed")
            try await ingress.stopAnswering()
            let seen = try await page.expect("open again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(seen["tokens"].count == 1, "the token was never in doubt")
        }
    }

    @Test func tokenThatExpiredInSleepIsTakenAnew() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.shortLobby)
            let token = try #require(try await page.seen()["tokens"][0].string)
            try await page.freeze(true)
            try await eventually("goodbye has been said") {
                try await edge.total(#"roomcast_closes_total{code="peer"}"#) == 1
            }
            try await edge.cluster.redis.command("DEL", .string("client:\(token)"))
            try await page.freeze(false)
            let seen = try await page.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(seen["tokens"].count == 2)
            #expect(seen["tokens"][1].string != token)
            #expect(try #require(seen["gaps"][0]["ms"].double) >= 0)
            try await edge.cluster.redis.publish(room: "lobby", #"{"type":"notice","data":{"n":7}}"#)
            try await page.expect("the notice") { $0.noticeNumbers == [7] }
        }
    }

    @Test func replacedTabStaysAway() async throws {
        try await ClientEdge.with { edge in
            let token = try await edge.cluster.node.token()
            let shared = Self.shortLobby.merging(["tokens": [.string(token)]]) { _, new in new }
            let older = try await edge.client(shared)
            let newer = try await edge.client(shared)
            let end = try await older.expect("closed") { $0["status"] == "closed" }
            let last = end["statuses"].array?.last ?? .null
            #expect(last["reason"] == "replaced")
            #expect(last["code"] == 4001)
            let error = end["errors"][0].string ?? ""
            #expect(error.hasPrefix("Error: Roomcast: the connection was closed for good, replaced: 4001"))
            // In this time one that fights would have come back.
            try await newer.expect("beats go on") { $0["beats"].int ?? 0 >= 2 }
            #expect(try await newer.seen()["counts"]["reconnects"] == 0)
            #expect(try await older.seen()["statuses"].count == end["statuses"].count)
            #expect(try await edge.total("roomcast_handshakes_total") == 2)
        }
    }

    /// A token of the gateway's own would be minted for anybody, so the client ends; a backend can be asked.
    /// The one beats never: its node finds the end of its token when it should have.
    @Test func revokedClientEndsUnlessItsBackendGivesAnotherToken() async throws {
        try await ClientEdge.with(options: ["--heartbeat-timeout", "30s"]) { edge in
            let own = try await edge.client(
                Self.lobby.merging(["heartbeatTimeoutMs": 600_000]) { _, new in new })
            let tokens = [try await edge.cluster.node.token(), try await edge.cluster.node.token()]
            let backend: [String: JSON] = [
                "tokens": .array(tokens.map(JSON.string)), "tokenIn": "subprotocol",
            ]
            let asking = try await edge.client(Self.shortLobby.merging(backend) { _, new in new })
            let minted = try #require(try await own.seen()["tokens"][0].string)
            try await edge.cluster.redis.command("DEL", .string("client:\(minted)"))
            let publisher = [
                try Installation.binary("publisher"), "revoke", "--redis", edge.cluster.redis.url,
            ]
            #expect(try await edge.cluster.driver.run(publisher + ["--token", tokens[0]]).code == 0)
            let seen = try await asking.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(seen["asked"] == ["first", "revoked"])
            let end = try await own.expect("closed") { $0["status"] == "closed" }
            #expect(end["statuses"].array?.last?["reason"] == "revoked")
            #expect(end["tokens"].count == 1)
            #expect(try await edge.total(#"roomcast_closes_total{code="4003"}"#) == 2)
        }
    }

    /// The page is of another origin: the browser asks by a preflight whether it may show the token in a
    /// header.
    @Test func tokenOfASubprotocolStandsInNoURL() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(
                Self.shortLobby.merging(["tokenIn": "subprotocol"]) { own, _ in own })
            let token = try #require(try await page.seen()["tokens"][0].string)
            let seen = try await page.expect("beats go on") { $0["beats"].int ?? 0 >= 3 }
            #expect(seen["status"] == "open" && seen["counts"]["reconnects"] == 0, "\(seen["statuses"])")
            let urls = (seen["urls"].array ?? []).compactMap(\.string)
            #expect(urls.count >= 4 && !urls.contains { $0.contains(token) })
            #expect(try await edge.total(#"roomcast_closes_total{code="4000"}"#) == 0)
            #expect(try await page.complaints() == [])
        }
    }

    @Test func pagesNeedTheirBackendWhereTokensNeedAKey() async throws {
        let key = "sixteen-characters-at-least"
        try await ClientEdge.with(options: ["--issue-key", key]) { edge in
            let page = try await edge.page()
            try await page.start(Self.lobby.merging(["url": .string(edge.url)]) { own, _ in own })
            let end = try await page.expect("closed") { $0["status"] == "closed" }
            #expect(end["statuses"].array?.last?["reason"] == "refused")
            #expect(end["errors"] == ["Error: Roomcast: no token for this client: 401 Issue key required"])
            let issued = try await edge.cluster.node.get(
                "/get/token?isLogin=true&userId=ada", headers: ["Authorization": "Bearer \(key)"])
            let token = try #require(issued.data)
            let seen = try await edge.client(["rooms": ["lobby"], "tokens": [.string(token)]]).seen()
            #expect(seen["asked"] == ["first"])
        }
    }

    @Test func callbacksThatThrowAndGapsOfTheServerAreTold() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(["rooms": ["lobby", "ü +&%"], "deviceId": "d 1&2"])
            let redis = edge.cluster.redis
            try await page.evaluate(
                """
                const take = seen.client.onnotice;
                seen.client.onnotice = (notice) => {
                    take(notice);
                    if (notice.data.n === 1) throw new Error("thrown");
                    return notice.data.n === 2 ? Promise.reject(new Error("rejected")) : null;
                };
                """)
            for number in 1...3 {
                try await redis.publish(room: "ü +&%", #"{"type":"notice","data":{"n":\#(number)}}"#)
            }
            try await redis.publish(room: "lobby", #"{"type":"gap","data":{"rooms":["lobby"],"ms":1234}}"#)
            try await redis.publish(
                room: "lobby", #"{"type":"gap","data":{"n":4,"rooms":["lobby"],"ms":1234}}"#)
            let seen = try await page.expect("four notices") { $0.noticeNumbers == [1, 2, 3, 4] }
            #expect(seen["errors"] == ["Error: thrown", "Error: rejected"])
            #expect(seen["gaps"] == [["rooms": ["lobby"], "ms": 1234, "source": "server"]])
            #expect(seen["status"] == "open")
            #expect(try await page.complaints() == [])
            try await page.evaluate("seen.client.close(), seen.client.close()")
            let closed = try await page.seen()
            #expect(closed["statuses"].array?.filter { $0["status"] == "closed" }.count == 1)
            try await eventually("goodbye has been said") {
                try await edge.total(#"roomcast_closes_total{code="peer"}"#) == 1
            }
        }
    }
}

/// Numbered notices to a room, one after the other until told to stop, and when each was sent and answered.
private actor Published {
    typealias Times = (sent: ContinuousClock.Instant, answered: ContinuousClock.Instant)

    private let redis: RedisServer
    private let room: String
    private var times: [Times] = []
    private var isOver = false
    private var task: Task<Void, any Error>?

    private var publishedCount: Int { times.count }

    init(_ redis: RedisServer, room: String) {
        (self.redis, self.room) = (redis, room)
    }

    func start() -> Published {
        task = Task { try await publish() }
        return self
    }

    nonisolated func wait(forMore count: Int) async throws {
        let already = await publishedCount
        try await eventually("\(count) more are published") { await self.publishedCount >= already + count }
    }

    /// Publishes no more; the times by number.
    func stop() async throws -> [Times] {
        isOver = true
        try await task?.value
        return times
    }

    private func publish() async throws {
        while !isOver {
            let sent = ContinuousClock.now
            try await redis.publish(room: room, #"{"type":"notice","data":{"n":\#(times.count)}}"#)
            times.append((sent, .now))
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
