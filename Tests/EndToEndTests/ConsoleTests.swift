// The console in a real Chromium, on one Redis: what an operator sees and does.
import Foundation
import Testing

extension ConsoleBrowser {
    fileprivate var cluster: Cluster { get throws { try Cluster.current } }

    /// The console of the first node of a cluster.
    fileprivate static func with(
        nodes: Int = 2, key: String? = key, _ body: @Sendable (ConsoleBrowser) async throws -> Void
    ) async throws {
        let environment = key.map { ["GATEWAY_ADMIN_KEY": $0] } ?? [:]
        try await Cluster.with(nodes: nodes, environment: environment) { cluster in
            try await Cluster.$shared.withValue(cluster) {
                let console = try await ConsoleBrowser(cluster.node)
                try await body(console)
                try await console.checkManners()
            }
        }
    }
}

@Suite struct ConsoleTests {
    @Test func pageShowsAllNodesAndWhatTheyDo() async throws {
        try await ConsoleBrowser.with(key: nil) { console in
            let cluster = try console.cluster
            try await console.expect("#state-text", "both nodes") { $0 == "Live · 2 nodes" }
            #expect(try await console.isShown("#rooms-empty"))
            let room = cluster.room("<b>room")
            let clients = [
                try await cluster.nodes[0].connect(room.percentEncoded),
                try await cluster.nodes[1].connect(room.percentEncoded),
                try await cluster.nodes[1].connect(room.percentEncoded),
            ]
            try await console.expect("#total-connections", "three") { $0 == "3" }
            try await console.expect("#rooms li", "the room, with its members of both nodes") {
                $0 == room + "3"
            }
            #expect(
                try await console.page.evaluate("document.querySelectorAll('#nodes tbody tr').length") == 2)
            #expect(try await console.text("#nodes tbody tr:nth-child(1)").contains("node-1 (this one)"))
            #expect(try await console.text("#nodes tbody tr:nth-child(2)").contains("2 / "))
            try await cluster.redis.publish(room: room, "1")
            for client in clients { #expect(try await client.next() == .text("1")) }
            try await console.expect("#total-p99", "a time") { $0.hasSuffix("ms") }
            try await console.expect("#chart-latency figcaption", "quantiles") { $0.contains("p99") }
            _ = try await clients[0].close()
            try await console.expect("#chart-closes figcaption", "the close") {
                $0.contains("by the client 1")
            }
            #expect(try await console.isShown("#tools-off"))
            #expect(try await !console.isShown("#key-form"))
            #expect(try await !console.isShown("#tools-on"))
        }
    }

    @Test func noticeIsSentAndArrives() async throws {
        try await ConsoleBrowser.with { console in
            let room = try console.cluster.room("räume")
            let client = try await console.cluster.nodes[1].connect(room.percentEncoded)
            try await console.enter()
            try await console.fill("#room", room)
            try await console.fill("#data", "{ nonsense")
            try await console.click("#send-form .primary")
            try await console.expect("#send-note", "not JSON") { $0.hasPrefix("This is not JSON") }
            try await console.fill("#data", #"{"n": 1, "text": "<i>é"}"#)
            try await console.click("#watch")
            try await console.expect("#send-note", "watching") { $0.hasPrefix("Watching") }
            try await console.click("#send-form .primary")
            let notice = #"{"type":"notice","data":{"n":1,"text":"<i>é"}}"#
            try await console.expect("#arrivals li code", "the notice") { $0 == notice }
            try await console.expect("#arrivals li small.own", "its time") { $0.hasSuffix(" ms") }
            try await console.expect("#send-note", "both nodes") { $0 == "Received by 2 nodes." }
            #expect(try await client.next() == .text(notice))
            try await console.click("#durable")
            try await console.click("#send-form .primary")
            try await console.expect("#send-note", "its id") { $0.contains(" Kept as ") }
            try await console.expect("#arrivals li code", "the durable one") { $0.hasPrefix(#"{"id":""#) }
            try await console.expect("#arrivals li small.own", "its time, too") { $0.hasSuffix(" ms") }
            guard case .text(let frame) = try await client.next() else {
                Issue.record("no durable notice")
                return
            }
            #expect(frame.hasSuffix(#","type":"notice","data":{"n":1,"text":"<i>é"}}"#))
            try await console.expect("#rooms li", "its history") { $0.contains("1 kept · ") }
            try await console.cluster.redis.publish(room: room, #"{"from":"elsewhere"}"#)
            try await console.expect("#arrivals li code", "that of others") {
                $0 == #"{"from":"elsewhere"}"#
            }
            try await console.click("#watch")
            try await eventually("the page has left the room") {
                try await console.cluster.nodes[0].metrics()["roomcast_connections"] == 0
            }
        }
    }

    @Test func tokenIsRevokedAndItsClientClosed() async throws {
        try await ConsoleBrowser.with { console in
            let node = try console.cluster.nodes[1]
            let token = try await node.token()
            let client = try await node.connect(console.cluster.room(), token: token)
            try await console.enter()
            try await console.fill("#token", token)
            try await console.click("#revoke-form button")
            try await console.expect("#revoke-note", "done") { $0.hasPrefix("Revoked") }
            #expect(try await client.closed()?.code == 4003)
        }
    }

    @Test func wrongKeyIsRefusedAndForgotten() async throws {
        try await ConsoleBrowser.with { console in
            try await console.enter(key: "short")
            try await console.expect("#key-note", "its form") { $0.contains("16 to 256") }
            #expect(try await !console.isShown("#tools-on"))
            try await console.enter(key: "fedcba9876543210")
            try await console.click("#send-form .primary")
            try await console.expect("#key-note", "the refusal") {
                $0.hasPrefix("The gateway does not accept")
            }
            #expect(try await console.isShown("#key-form"))
            #expect(try await !console.isShown("#tools-on"))
            #expect(try await console.page.evaluate("sessionStorage.length") == 0)
            try await console.enter()
            #expect(try await console.isShown("#tools-on"))
        }
    }

    @Test func absenceOfRedisIsTold() async throws {
        try await ConsoleBrowser.with { console in
            try await console.expect("#state-text", "both nodes") { $0 == "Live · 2 nodes" }
            try await console.cluster.redis.stop()
            try await console.expect("#banner", "the absence") { $0.contains("cannot reach Redis") }
            #expect(try await console.text("#nodes tbody").contains("node-1"))
            #expect(try await console.isShown("#banner"))
            _ = try await console.cluster.redis.restart()
            try await console.expect("#state-text", "both nodes again") { $0 == "Live · 2 nodes" }
            #expect(try await !console.isShown("#banner"))
        }
    }

    /// What the policy is there for: a script that somebody got into the page does not run, nor reach
    /// anybody.
    @Test func foreignScriptsDoNotRun() async throws {
        try await ConsoleBrowser.with { console in
            let elsewhere = try console.cluster.nodes[1].adminPort
            let outcome = try await console.page.evaluate(
                """
                (async () => {
                  const inline = document.createElement("script");
                  inline.textContent = "window.ran = true";
                  document.body.append(inline);
                  const answer = await fetch("http://127.0.0.1:\(elsewhere)/healthz", { mode: "no-cors" })
                    .then(() => "reached", () => "blocked");
                  performance.clearResourceTimings();
                  return [window.ran === undefined, answer];
                })()
                """)
            #expect(outcome == [true, "blocked"])
        }
    }

    /// Reports come from Redis, and what stands there is anybody's.
    @Test func reasonsOfClosesMayHaveAnyName() async throws {
        try await ConsoleBrowser.with(nodes: 1) { console in
            let outcome = try await console.page.evaluate(
                """
                (async () => {
                  const { History } = await import("/console/history.js");
                  const names = ["constructor", "__proto__", "toString", "hasOwnProperty"];
                  const node = (uptimeMs, count) => ({ id: "a", startedAt: 1, uptimeMs, received: 0, delivered: 0,
                    handshakes: 0, connections: 0, publishToFlush: [0], topRooms: [],
                    closes: JSON.parse(`{${names.map((name) => `"${name}":${count}`).join()}}`) });
                  const history = new History();
                  history.add({ nodes: [{ ...node(1000, 0), closes: {} }], boundsMs: [] }, 0);
                  history.add({ nodes: [node(3000, 5)], boundsMs: [] }, 0);
                  history.add({ nodes: [node(5000, 8)], boundsMs: [] }, 0);
                  return history.closeReasons;
                })()
                """)
            #expect(
                outcome == [
                    ["__proto__", 8], ["constructor", 8], ["hasOwnProperty", 8], ["toString", 8],
                ])
        }
    }

    /// The page's arithmetic, in the engine that runs it.
    @Test func ratesAndQuantilesAreThoseOfTheReports() async throws {
        try await ConsoleBrowser.with(nodes: 1) { console in
            let outcome = try await console.page.evaluate(
                """
                (async () => {
                  const { History, difference, quantile, largestRooms } = await import("/console/history.js");
                  const node = (uptimeMs, received, buckets, startedAt = 1) => ({ id: "a", startedAt, uptimeMs, received,
                    delivered: received * 10, handshakes: 0, connections: 3, closes: { 1001: received },
                    publishToFlush: buckets, topRooms: [] });
                  const history = new History();
                  const rates = [];
                  for (const report of [node(1000, 0, [0, 0, 0]), node(3000, 8, [0, 8, 8]), node(3000, 8, [0, 8, 8]),
                    node(9000, 1, [1, 1, 1], 2), node(11000, 5, [5, 5, 5], 2)]) {
                    history.add({ nodes: [report], boundsMs: [1, 3] }, 0);
                    rates.push([history.last.notices, history.last.p50, history.last.closes[1001] ?? 0]);
                  }
                  return {
                    rates, closes: history.closeReasons,
                    quantiles: [quantile([0, 0, 0], [1, 3], 0.5), quantile([4, 8, 8], [1, 3], 0.75),
                      quantile([0, 0, 2], [1, 3], 0.5), quantile([4, 4, 4], [1, 3], 0.5)],
                    rooms: largestRooms([{ topRooms: [{ room: "b", members: 1 }, { room: "a", members: 1 }] },
                      { topRooms: [{ room: "c", members: 1 }, { room: "b", members: 2 }] }], 2),
                  };
                })()
                """)
            #expect(
                outcome["rates"] == [
                    [.null, .null, 0], [4, 2, 8], [4, 2, 0], [.null, .null, 0], [2, 0.5, 4],
                ])
            #expect(outcome["closes"] == [["1001", 12]])
            #expect(outcome["quantiles"] == [.null, 2, 3, 0.5])
            #expect(outcome["rooms"] == [["b", 3], ["a", 1]])
        }
    }
}
