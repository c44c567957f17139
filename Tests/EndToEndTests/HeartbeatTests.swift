// GET /heartbeat: every node answers for every token, and a beat renews the registration.
import Testing

@Suite(.cluster(nodes: 2))
struct HeartbeatTests {
    @Test func everyNodeAnswersForATokenOfAnotherNode() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.nodes[0].token()
        for node in cluster.nodes {
            let answer = try await node.heartbeat(token)
            #expect(answer.status == 200)
            #expect(answer.body == "{}")
            #expect(answer.headers["content-type"] == "application/json")
        }
    }

    @Test(arguments: [
        "", "?", "?token", "?token=", "?token=nothing", "?Token=abc", "?token=AAAAAAAAAAAAAAAAAAAAAAAA",
        "?token=AAAAAAAAAAAAAAAAAAAAAAAAA", "?token=*", "?token=%20", "?token=client%3AAAAA",
    ])
    func unknownEmptyAndAbsentTokensAreErrors(query: String) async throws {
        let answer = try await Cluster.current.node.get("/heartbeat\(query)")
        #expect(answer.status == 500)
        #expect(answer.body == #"{"data":"token error"}"#)
        #expect(answer.headers["content-type"] == "application/json")
    }

    @Test(arguments: ["?token=%", "?token=%4", "?token=%zz", "?token=%00", "?token=abc%00"])
    func malformedQueryIsNoTokenError(query: String) async throws {
        let answer = try await Cluster.current.node.get("/heartbeat\(query)")
        #expect(answer.status == 400)
        #expect(answer.body == #"{"data":"Invalid request parameters"}"#)
    }

    @Test func expiredTokenIsAnError() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        #expect(try await cluster.node.heartbeat(token).status == 200)
        try await cluster.redis.command("PEXPIRE", .string("client:\(token)"), "1")
        try await eventually("the token has expired") {
            try await cluster.redis.command("EXISTS", .string("client:\(token)")) == 0
        }
        let answer = try await cluster.node.heartbeat(token)
        #expect(answer.status == 500)
        #expect(answer.body == #"{"data":"token error"}"#)
        // Nor may the beat have brought it back.
        #expect(try await cluster.redis.command("EXISTS", .string("client:\(token)")) == 0)
    }

    @Test func deletedTokenIsAnErrorOnEveryNode() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        try await cluster.redis.command("DEL", .string("client:\(token)"))
        for node in cluster.nodes { #expect(try await node.heartbeat(token).status == 500) }
    }

    @Test(arguments: [0, 1])
    func renewsTheLifetimeThatTheTokenWasIssuedWith(index: Int) async throws {
        let cluster = try Cluster.current
        let token = try await cluster.nodes[0].token()
        try await cluster.redis.command("EXPIRE", .string("client:\(token)"), "100")
        let start = ContinuousClock.now
        #expect(try await cluster.nodes[index].heartbeat(token).status == 200)
        try await cluster.redis.expectLife(of: token, .seconds(3600), since: start)
    }
}
