// GET /get/token: who gets a token, what it looks like, and what Redis then knows of it.
import Foundation
import Testing

@Suite(.cluster())
struct TokenTests {
    private static let longest = String(repeating: "x", count: 256)

    @Test(arguments: [
        ("isLogin=true&userId=ada", "userId", "ada"),
        ("isLogin=false&deviceId=phone-1", "deviceId", "phone-1"),
        ("userId=ada&isLogin=true", "userId", "ada"),
        ("isLogin=true&userId=ada&deviceId=", "userId", "ada"),
        ("isLogin=true&userId=a+b%20c", "userId", "a b c"),
        ("isLogin=true&userId=%E6%88%BF%E9%97%B4", "userId", "房间"),
        ("isLogin=true&userId=a%26b%3Dc%2B", "userId", "a&b=c+"),
        ("is%4Cogin=%74rue&userId=ada", "userId", "ada"),
        ("isLogin=true&userId=\(longest)", "userId", longest),
    ])
    func identityIsRegisteredAsGiven(query: String, field: String, identity: String) async throws {
        let cluster = try Cluster.current
        let answer = try await cluster.node.get("/get/token?\(query)")
        #expect(answer.status == 200)
        let token = try #require(answer.data)
        let record = try await cluster.redis.hash("client:\(token)")
        #expect(record[field] == identity)
        #expect(record["isLogin"] == (field == "userId" ? "true" : "false"))
        #expect(record[field == "userId" ? "deviceId" : "userId"] == nil)
    }

    @Test(arguments: [
        "", "?", "?isLogin=true", "?isLogin=true&userId=", "?isLogin=true&deviceId=phone-1",
        "?isLogin=false", "?isLogin=false&deviceId=", "?isLogin=false&userId=ada",
        "?isLogin=TRUE&userId=ada", "?isLogin=1&userId=ada", "?isLogin=&userId=ada", "?userId=ada",
        "?isLogin&userId=ada", "?isLogin=yes&userId=ada&deviceId=phone-1", "?islogin=true&userId=ada",
        "?isLogin=true&userId=%", "?isLogin=true&userId=a%4", "?isLogin=true&userId=%zz",
        "?isLogin=true&userId=%00", "?isLogin=true&userId=a%00b", "?isLogin=true%00&userId=a",
        "?isLogin=true&userId=a%1Fb", "?isLogin=true&userId=%0A", "?isLogin=true&userId=%7F",
        "?isLogin=true&userId=%C2%85", "?isLogin=true&userId=%FF", "?isLogin=true&userId=%C0%80",
        "?isLogin=true&userId=%ED%A0%80", "?isLogin=true&userId=\(longest)x",
        "?isLogin=true&userId=\(longest.dropLast())%C3%A9", "?isLogin=false&deviceId=\(longest)x",
    ])
    func anythingElseIsRefused(query: String) async throws {
        let answer = try await Cluster.current.node.get("/get/token\(query)")
        #expect(answer.status == 400)
        #expect(answer.body == #"{"data":"Invalid request parameters"}"#)
        #expect(answer.headers["content-type"] == "application/json")
    }

    @Test func answerIsExactlyTheTokenAsJson() async throws {
        let answer = try await Cluster.current.node.get("/get/token?isLogin=true&userId=ada")
        let token = try #require(answer.data)
        #expect(answer.body == #"{"data":"\#(token)"}"#)
        #expect(answer.headers["content-type"] == "application/json")
    }

    /// 18 random bytes are 24 characters without padding; 64 tokens have 1536 characters, of which each of
    /// the 64 in the alphabet is expected 24 times: one that never occurs would be a fault, not chance
    /// (e^-24).
    @Test func tokensAreDistinctUrlSafeAndUseTheWholeAlphabet() async throws {
        let cluster = try Cluster.current
        var tokens: Set<String> = []
        for _ in 0..<64 { tokens.insert(try await cluster.node.token()) }
        #expect(tokens.count == 64)
        let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        #expect(tokens.allSatisfy { $0.count >= 24 && $0.count.isMultiple(of: 4) })
        #expect(Set(tokens.joined()) == alphabet)
    }

    @Test func recordCarriesTimeAndLifetimeAndExpires() async throws {
        let cluster = try Cluster.current
        let start = ContinuousClock.now
        let before = Int(Date.now.timeIntervalSince1970 * 1000)
        let token = try await cluster.node.token(userId: "ada")
        let after = Int(Date.now.timeIntervalSince1970 * 1000)
        let record = try await cluster.redis.hash("client:\(token)")
        #expect(Set(record.keys) == ["userId", "isLogin", "issuedAt", "ttl"])
        #expect(record["ttl"] == "3600")
        let issuedAt = try #require(record["issuedAt"].flatMap { Int($0) })
        #expect((before...after).contains(issuedAt))
        try await cluster.redis.expectLife(of: token, .seconds(600), since: start)
    }
}
