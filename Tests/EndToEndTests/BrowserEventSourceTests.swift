// EventSource in a real Chromium, through nginx, without any library: what a page of twenty lines can rely on.
import Foundation
import Testing

@Suite struct BrowserEventSourceTests {
    /// A page that collects what comes and closes its source when it is told to stay away.
    private static let script = """
        (url => {
          const seen = window.events = { texts: [], resumes: [], closes: [], opens: 0, lastId: "" };
          const source = window.source = new EventSource(url);
          source.onopen = () => { seen.opens += 1; };
          source.onmessage = ({ data, lastEventId }) => {
            const notice = JSON.parse(data);
            seen.lastId = lastEventId;
            if (notice.type === "resume") seen.resumes.push(notice.data.rooms);
            else seen.texts.push(notice.data);
          };
          source.addEventListener("close", ({ data }) => {
            const { code } = JSON.parse(data);
            seen.closes.push(code);
            if (code === 4001 || code === 4003) source.close();
          });
        })
        """

    private func open(_ edge: ClientEdge, _ query: String) async throws -> (page: Page, token: String) {
        let answer = try await edge.cluster.driver.request(
            edge.nginx.port, "/get/token?isLogin=true&userId=ada")
        let token = try #require(answer.data)
        let page = try await edge.page()
        try await page.evaluate("\(Self.script)('\(edge.url)/events?token=\(token)&\(query)'), null")
        try await expect(page, "open") { $0["opens"].int ?? 0 >= 1 }
        return (page, token)
    }

    @discardableResult
    private func expect(_ page: Page, _ what: String, _ condition: (JSON) -> Bool) async throws -> JSON {
        var seen = JSON.null
        try await eventually(what) {
            seen = try await page.evaluate("({ ...events, readyState: source.readyState })")
            return condition(seen)
        }
        return seen
    }

    @Test func aKilledNodeCostsAnEventSourceNothing() async throws {
        try await ClientEdge.with { edge in
            let (page, token) = try await open(edge, "roomIds=lobby&since=")
            let redis = edge.cluster.redis
            try await expect(page, "where it begins") { $0["resumes"].count == 1 }
            for number in 0..<20 { try await redis.publishDurably(room: "lobby", "n\(number)") }
            try await expect(page, "the first notices") { $0["texts"].count == 20 }
            let holder = try await edge.holder(of: token)
            try await holder.child.signal(SIGKILL)
            #expect(try await holder.child.exitCode() != nil)
            for number in 20..<40 { try await redis.publishDurably(room: "lobby", "n\(number)") }
            let seen = try await expect(page, "what was missed") { $0["texts"].count >= 40 }
            #expect(seen["texts"].array == (0..<40).map { .string("n\($0)") })
            #expect(seen["opens"].int ?? 0 >= 2)
            let resumes = seen["resumes"].array ?? []
            #expect(resumes.count >= 2 && resumes.allSatisfy { $0[0]["lost"] == false })
            #expect(try await edge.holder(of: token).id != holder.id)
        }
    }

    /// A drained node sends it elsewhere; the one that is told to stay away stays.
    @Test func drainBringsItElsewhereAndATakeoverEndsIt() async throws {
        try await ClientEdge.with(options: ["--drain-time", "0s"]) { edge in
            let (page, token) = try await open(edge, "roomIds=lobby")
            let holder = try await edge.holder(of: token)
            try await holder.child.signal(SIGTERM)
            #expect(try await holder.child.exitCode() == 0)
            try await expect(page, "connected again") { $0["opens"] == 2 && $0["closes"] == [1001] }
            let next = try await edge.holder(of: token)
            #expect(next.id != holder.id)
            _ = try await next.connect("lobby", token: token)
            let seen = try await expect(page, "closed") { $0["closes"] == [1001, 4001] }
            #expect(seen["readyState"] == 2)
        }
    }
}
