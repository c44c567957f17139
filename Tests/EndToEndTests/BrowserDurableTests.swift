// Durable notices in a real Chromium, through nginx, against two nodes and a Redis that keeps its data: whatever
// fails, a page receives each of them once and in order, or is told.
import Foundation
import Testing

@Suite struct BrowserDurableTests {
    private static let durableLobby: [String: JSON] = ["rooms": ["lobby"], "userId": "ada", "durable": true]

    @Test func noFaultCostsAPageANoticeOrItsOrder() async throws {
        try await ClientEdge.with(redisOptions: RedisServer.keepingAll) { edge in
            let page = try await edge.client(Self.durableLobby)
            try await page.expect("where it begins") { $0["resumes"].count == 1 }
            let notices = await DurablePublished(edge.cluster.redis, room: "lobby").start()
            try await Self.expectAll(page, notices)
            var nodes = edge.cluster.nodes

            for round in 1...2 {
                let token = try #require(try await page.seen()["tokens"][0].string)
                let holder = try await edge.cluster.redis.hash("client:\(token)")["node"]
                let index = try #require(nodes.firstIndex { $0.id == holder })
                let connections = try await Self.reconnects(page)
                try await nodes[index].child.signal(SIGKILL)
                #expect(try await nodes[index].child.exitCode() != nil)
                try await Self.expectReconnection(page, after: connections)
                nodes[index] = try await GatewayNode(
                    edge.cluster.driver, id: "node-\(index + 1)-\(round)", redis: edge.cluster.redis,
                    options: ["--listen", "127.0.0.1:\(nodes[index].port)"])
                try await Self.expectAll(page, notices)
            }

            try await edge.cluster.redis.stop()
            let first = try await edge.cluster.redis.restart()
            try await Self.expectAll(page, notices)
            try await first.signal(SIGKILL)
            #expect(try await first.exitCode() != nil)
            let second = try await edge.cluster.redis.restart()
            try await Self.expectAll(page, notices)
            #expect(try await second.exitCode(within: .zero) == nil)

            var connections = try await Self.reconnects(page)
            try await page.setOffline(true)
            try await eventually("offline") { try await page.evaluate("navigator.onLine") == false }
            try await notices.wait(forMore: 20)
            try await page.setOffline(false)
            try await Self.expectReconnection(page, after: connections)
            try await Self.expectAll(page, notices)

            connections = try await Self.reconnects(page)
            try await page.freeze(true)
            try await notices.wait(forMore: 100)
            try await page.freeze(false)
            try await Self.expectReconnection(page, after: connections)
            try await Self.expectAll(page, notices)

            let count = try await notices.stop()
            let seen = try await page.expect("the last notice") { $0.noticeNumbers.count >= count }
            #expect(seen.noticeNumbers == Array(0..<count))
            #expect(seen["gaps"] == [])
            #expect(seen["counts"]["lost"] == 0)
            #expect(try #require(seen["counts"]["resumed"].int) >= 4)
            #expect(seen["errors"] == [])
            #expect(try await page.complaints() == [])
            for node in nodes { #expect(try await node.child.unexpectedExitCode() == nil) }
        }
    }

    @Test func pageThatStoresItsPositionsSurvivesEveryReload() async throws {
        try await ClientEdge.with { edge in
            let page = try await edge.page("/tests/stored.html?\(edge.url)")
            try await eventually("connected") {
                try await page.evaluate("stored.positions !== null") == true
            }
            let notices = await DurablePublished(edge.cluster.redis, room: "lobby").start()
            for loads in 2...6 {
                // Notices are on their way whenever the page goes.
                let numbers = try await Self.stored(page)["numbers"].count
                try await eventually("some notices are there") {
                    try await Self.stored(page)["numbers"].count >= numbers + 5
                }
                try await page.command("Page.reload")
                try await eventually("loaded again") {
                    try await page.evaluate("window.stored?.loads").int == loads
                }
            }
            var holder: GatewayNode?
            try await eventually("the last page resumed") {
                try await Self.stored(page)["resumed"].int ?? 0 >= 5
            }
            try await eventually("a node holds it, and none an earlier one") {
                guard try await edge.total("roomcast_connections") == 1 else { return false }
                for node in edge.cluster.nodes where try await node.metrics()["roomcast_connections"] > 0 {
                    holder = node
                }
                return holder != nil
            }
            let victim = try #require(holder).child
            try await victim.signal(SIGKILL)
            #expect(try await victim.exitCode() != nil)
            try await notices.wait(forMore: 20)
            let count = try await notices.stop()
            try await eventually("the last notice") {
                try await Self.stored(page)["numbers"].count >= count
            }
            let stored = try await Self.stored(page)
            #expect((stored["numbers"].array ?? []).compactMap(\.int) == Array(0..<count))
            #expect(stored["gaps"] == [])
            #expect(try #require(stored["resumed"].int) >= 6, "each load, and the node's end")
            #expect(try await page.complaints() == [])
        }
    }

    /// A Redis that lost everything, and a position of long ago: each is told once, and the page goes on behind it.
    @Test func lossIsToldAndThePageGoesOnBehindIt() async throws {
        try await ClientEdge.with { edge in
            let old: JSON = ["lobby": "k3f9x2ab.1000-7"]
            let page = try await edge.client(Self.durableLobby.merging(["positions": old]) { own, _ in own })
            let told = try await page.expect("a loss") { $0["gaps"].count == 1 }
            #expect(told["gaps"][0]["source"] == "resume" && told["gaps"][0]["rooms"] == ["lobby"])
            #expect(told["resumes"][0]["rooms"][0]["lost"] == true)
            #expect(try #require(told["gaps"][0]["ms"].double) > 0)
            let redis = edge.cluster.redis
            try await redis.publishDurably(room: "lobby", number: 1, once: "a")
            try await page.expect("one notice") { $0.noticeNumbers == [1] }
            let position = try await page.evaluate("seen.client.positions.lobby")

            try await redis.command("FLUSHALL")
            try await page.expect("told") { $0["gaps"].count == 2 }
            #expect(try await page.evaluate("seen.client.positions.lobby") != position)
            try await redis.publishDurably(room: "lobby", number: 2, once: "b")
            try await page.expect("what follows") { $0.noticeNumbers == [1, 2] }

            let connections = try await Self.reconnects(page)
            try await page.freeze(true)
            try await eventually("goodbye has been said") {
                try await edge.total("roomcast_connections") == 0
            }
            try await redis.publishDurably(room: "lobby", number: 3, once: "c")
            try await page.freeze(false)
            try await Self.expectReconnection(page, after: connections)
            let seen = try await page.expect("what was missed") { $0.noticeNumbers == [1, 2, 3] }
            #expect(seen["gaps"].count == 2)
            #expect(seen["counts"]["lost"] == 2 && seen["counts"]["resumed"] == 1)
            #expect(try await page.complaints() == [])
        }
    }

    /// It comes back behind the last notice that it has got, though the node has dropped what waited.
    @Test func pageThatWasTooSlowMissesNothing() async throws {
        let options = ["--maximum-queue-bytes", "16KiB", "--socket-send-buffer", "16KiB"]
        try await ClientEdge.with(options: options) { edge in
            let page = try await edge.client(Self.durableLobby)
            let redis = edge.cluster.redis
            // Busy, but for a moment now and then, until it is told to stop.
            try await page.evaluate(
                """
                window.isBusy = true;
                const work = () => {
                  const end = performance.now() + 500;
                  while (performance.now() < end);
                  if (window.isBusy) setTimeout(work);
                };
                setTimeout(work), null
                """)
            let padding = String(repeating: "x", count: 60_000)
            var count = 0
            try await eventually("it is sent away") {
                try await redis.publishDurably(
                    room: "lobby", number: count, once: "\(count)", padding: padding)
                count += 1
                return try await edge.total(#"roomcast_closes_total{code="1013"}"#) == 1
            }
            try await page.evaluate("window.isBusy = false")
            let seen = try await page.expect("the last notice") { $0.noticeNumbers.count >= count }
            #expect(seen.noticeNumbers == Array(0..<count))
            #expect(seen["gaps"] == [] && seen["counts"]["lost"] == 0)
            #expect(try #require(seen["counts"]["resumed"].int) >= 1)
            let reasons = (seen["statuses"].array ?? []).map { $0["reason"]["code"] }
            #expect(reasons.contains(1013))
            #expect(try await page.complaints() == [])
        }
    }

    /// In a rolling upgrade a page comes to a node that does not know `since`, and back: nginx takes the parameter
    /// away while a file is there. The page says that it knows nothing of what was published meanwhile.
    @Test func nodeThatCannotResumeIsALoss() async throws {
        let mark = FileManager.default.temporaryDirectory.appending(
            path: "roomcast-old-\(UUID().uuidString)")
        let changes = [
            (
                "    upstream gateways {",
                """
                    map $args $args_of_old_node {
                        default $args;
                        "~^(?<head>.*)&since=[^&]*(?<tail>.*)$" $head$tail;
                    }
                    upstream gateways {
                """
            ),
            (
                "include nginx-listen.conf;",
                "include nginx-listen.conf; if (-f \(mark.path)) { set $args $args_of_old_node; }"
            ),
        ]
        try await ClientEdge.with(nginx: changes) { edge in
            let redis = edge.cluster.redis
            let page = try await edge.client(Self.durableLobby)
            try await page.expect("where it begins") { $0["resumes"].count == 1 }
            try await redis.publishDurably(room: "lobby", number: 1, once: "a")
            try await page.expect("one notice") { $0.noticeNumbers == [1] }

            try Data().write(to: mark)
            try await Self.connectAgain(page)
            try await redis.publishDurably(room: "lobby", number: 2, once: "b")
            let old = try await page.expect("what is published now") { $0.noticeNumbers == [1, 2] }
            #expect(old["gaps"].count == 1 && old["resumes"].count == 1)
            #expect(old["gaps"][0]["source"] == "resume" && old["gaps"][0]["rooms"] == ["lobby"])
            #expect(old["counts"]["resumed"] == 0 && old["counts"]["lost"] == 1)
            #expect(try await page.evaluate("seen.client.positions") == [:])

            try FileManager.default.removeItem(at: mark)
            try await Self.connectAgain(page)
            let back = try await page.expect("where it goes on") { $0["resumes"].count == 2 }
            #expect(back["resumes"][1]["rooms"][0]["lost"] == true)
            #expect(back["gaps"].count == 2 && back["counts"]["resumed"] == 0)
            try await redis.publishDurably(room: "lobby", number: 3, once: "c")
            try await page.expect("the next one") { $0.noticeNumbers == [1, 2, 3] }
            try await Self.connectAgain(page)
            let seen = try await page.expect("resumed") { $0["counts"]["resumed"] == 1 }
            #expect(seen["gaps"].count == 2 && seen.noticeNumbers == [1, 2, 3])
            #expect(try await page.complaints() == [])
        }
    }

    /// Over another network.
    private static func connectAgain(_ page: Page) async throws {
        let connections = try await reconnects(page)
        try await page.setOffline(true)
        try await eventually("offline") { try await page.evaluate("navigator.onLine") == false }
        try await page.setOffline(false)
        try await expectReconnection(page, after: connections)
    }

    /// Waits until the page has what is published by now.
    private static func expectAll(_ page: Page, _ notices: DurablePublished) async throws {
        try await notices.wait(forMore: 10)
        let count = await notices.answeredCount
        try await page.expect("\(count) notices") { $0.noticeNumbers.count >= count }
    }

    private static func reconnects(_ page: Page) async throws -> Int {
        try #require(try await page.seen()["counts"]["reconnects"].int)
    }

    private static func expectReconnection(_ page: Page, after count: Int) async throws {
        try await page.expect("connected again") {
            $0["status"] == "open" && $0["counts"]["reconnects"].int ?? 0 > count
        }
    }

    private static func stored(_ page: Page) async throws -> JSON {
        try await page.evaluate("JSON.parse(sessionStorage.getItem('stored'))")
    }
}

/// Numbered durable notices to a room, one after the other until told to stop. One that has no answer is sent again
/// under its key, and so stored once.
actor DurablePublished {
    private(set) var answeredCount = 0
    private let redis: RedisServer
    private let room: String
    private var isOver = false
    private var task: Task<Void, any Error>?

    init(_ redis: RedisServer, room: String) {
        (self.redis, self.room) = (redis, room)
    }

    func start() -> DurablePublished {
        task = Task { try await publish() }
        return self
    }

    nonisolated func wait(forMore count: Int) async throws {
        let already = await answeredCount
        try await eventually("\(count) more are published") { await self.answeredCount >= already + count }
    }

    /// Publishes no more; how many there are.
    func stop() async throws -> Int {
        isOver = true
        try await task?.value
        return answeredCount
    }

    private func publish() async throws {
        while !isOver {
            try await publish(answeredCount)
            answeredCount += 1
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private nonisolated func publish(_ number: Int) async throws {
        try await eventually("notice \(number) is answered") {
            try await redis.publishDurably(room: room, number: number, once: "\(number)")
        }
    }
}

extension RedisServer {
    /// Publishes `{"type":"notice","data":{"n":number}}`, perhaps with padding; false: refused for now.
    @discardableResult
    func publishDurably(
        room: String, number: Int, once key: String, padding: String? = nil
    ) async throws -> Bool {
        let keys: [JSON] = [.string("room:\(room)"), .string("once:{room:\(room)}:\(key)")]
        let padding = padding.map { #","padding":"\#($0)""# } ?? ""
        let notice: JSON = .string(#"{"type":"notice","data":{"n":\#(number)\#(padding)}}"#)
        let reply = try await command(
            ["FCALL", "roomcast_publish", "2"] + keys + [notice], user: nil, password: nil)
        return reply.array != nil
    }
}
