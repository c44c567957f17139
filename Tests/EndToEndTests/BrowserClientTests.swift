// clients/js/roomcast.js in a real Chromium, through nginx, against two nodes: what pages rely on.
import Foundation
import Testing

@Suite struct BrowserClientTests {
    private static let lobby: [String: JSON] = ["rooms": ["lobby"], "userId": "ada"]

    /// The beat comes after 4.2 to 5 s of these, which leaves a busy machine a second.
    private static let shortTimeout = ["--heartbeat-timeout", "6s"]
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
            #expect(try await node.child.exitCode(within: .seconds(5)) != nil)
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
        try await ClientEdge.with(options: Self.shortTimeout) { edge in
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

    /// The timeout is 30 s: beats that come within this test are not due.
    @Test func wakingPagesBeatAtOnceAndANewNetworkIsANewConnection() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.client(Self.lobby)
            _ = try await edge.page()
            try await eventually("hidden") { try await page.evaluate("document.visibilityState") == "hidden" }
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

            try await page.freeze(true)
            try await page.freeze(false)
            try await page.expect("a beat because it goes on") { $0["beats"] == 2 }
        }
    }

    /// Some browsers let timers of hidden pages wait for tens of seconds. Here all of the page's own do.
    @Test func pagesWhoseTimersAreSlowedDownBeatInTime() async throws {
        try await ClientEdge.with(options: Self.shortTimeout) { edge in
            let page = try await edge.page()
            try await page.evaluate(
                "{ const own = setTimeout; window.setTimeout = (action, ms) => own(action, ms + 60_000); }")
            try await edge.connect(page, Self.shortLobby)
            let seen = try await page.expect("three beats") { $0["beats"].int ?? 0 >= 3 }
            #expect(seen["status"] == "open")
            #expect(seen["counts"]["reconnects"] == 0)
        }
    }

    @Test func tokenThatExpiredInSleepIsTakenAnew() async throws {
        try await ClientEdge.with(options: Self.shortTimeout) { edge in
            let page = try await edge.client(Self.shortLobby)
            let token = try #require(try await page.seen()["tokens"][0].string)
            try await page.freeze(true)
            try await eventually("cut, as nobody beats", within: .seconds(30)) {
                try await edge.total(#"roomcast_closes_total{code="4000"}"#) == 1
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
        try await ClientEdge.with(options: Self.shortTimeout) { edge in
            let token = try await edge.cluster.node.token()
            let shared = Self.shortLobby.merging(["tokens": [.string(token)]]) { _, new in new }
            let older = try await edge.client(shared)
            let newer = try await edge.client(shared)
            let end = try await older.expect("closed") { $0["status"] == "closed" }
            let last = end["statuses"].array?.last ?? .null
            #expect(last["reason"] == "replaced")
            #expect(last["code"] == 4001)
            // In this time one that fights would have come back.
            try await newer.expect("beats go on") { $0["beats"].int ?? 0 >= 2 }
            #expect(try await newer.seen()["counts"]["reconnects"] == 0)
            #expect(try await older.seen()["statuses"].count == end["statuses"].count)
            #expect(try await edge.total("roomcast_handshakes_total") == 2)
        }
    }

    /// A token of the gateway's own would be minted for anybody, so the client ends; a backend can be asked.
    @Test func revokedClientEndsUnlessItsBackendGivesAnotherToken() async throws {
        try await ClientEdge.with(options: Self.shortTimeout) { edge in
            let own = try await edge.client(Self.shortLobby)
            let tokens = [try await edge.cluster.node.token(), try await edge.cluster.node.token()]
            let backend: [String: JSON] = ["tokens": .array(tokens.map(JSON.string)), "tokenIn": "subprotocol"]
            let asking = try await edge.client(Self.shortLobby.merging(backend) { _, new in new })
            let minted = try #require(try await own.seen()["tokens"][0].string)
            try await edge.cluster.redis.command("DEL", .string("client:\(minted)"))
            let publisher = [try Installation.binary("publisher"), "revoke", "--redis", edge.cluster.redis.url]
            #expect(try await edge.cluster.driver.run(publisher + ["--token", tokens[0]]).code == 0)
            let end = try await own.expect("closed") { $0["status"] == "closed" }
            #expect(end["statuses"].array?.last?["reason"] == "revoked")
            #expect(end["tokens"].count == 1)
            let seen = try await asking.expect("connected again") {
                $0["status"] == "open" && $0["counts"]["reconnects"] == 1
            }
            #expect(seen["asked"] == ["first", "revoked"])
            #expect(try await edge.total(#"roomcast_closes_total{code="4003"}"#) == 2)
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
            try await redis.publish(room: "lobby", #"{"type":"gap","data":{"n":4,"rooms":["lobby"],"ms":1234}}"#)
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
