// What browsers need and what protects their users: CORS headers on the endpoints, the origin check of the
// handshake.
import Testing

@Suite(.cluster())
struct AnyOriginTests {
    @Test(arguments: ["/get/token?isLogin=true&userId=a", "/get/token", "/heartbeat?token=x"])
    func everyPageMayReadTheAnswers(target: String) async throws {
        let answer = try await Cluster.current.node.get(target, headers: ["Origin": "https://any.example"])
        #expect(answer.headers["access-control-allow-origin"] == "*")
    }

    private static let preflight = [
        "Origin": "https://any.example", "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    ]

    @Test(arguments: ["/get/token?isLogin=true&userId=a", "/get/token", "/heartbeat?token=x"])
    func preflightIsAnswered(target: String) async throws {
        let cluster = try Cluster.current
        let text = requestText(target, method: "OPTIONS", headers: Self.preflight)
        let exchange = try await cluster.driver.exchange(
            cluster.node.port, text + requestText("/nowhere"), count: 2)
        let answer = exchange.answers[0]
        #expect(answer.status == 204)
        #expect(answer.headers["access-control-allow-origin"] == "*")
        #expect(answer.headers["access-control-allow-methods"]?.contains("GET") == true)
        #expect(
            answer.headers["access-control-allow-headers"]?.lowercased().contains("authorization") == true)
        #expect(exchange.answers[1].status == 404, "a 204 has no body")
    }

    @Test(arguments: ["Origin", "Access-Control-Request-Method"])
    func optionsWithoutAPreflightsFieldsIsNotAllowed(missing: String) async throws {
        let cluster = try Cluster.current
        for target in ["/get/token", "/heartbeat"] {
            let answer = try await cluster.driver.request(
                cluster.node.port, target, method: "OPTIONS",
                headers: Self.preflight.filter { $0.key != missing })
            #expect(answer.status == 405)
            #expect(answer.headers["allow"] == "GET, HEAD")
        }
    }

    /// A WebSocket needs no preflight.
    @Test func optionsOfTheWebSocketIsNotAllowed() async throws {
        let cluster = try Cluster.current
        let answer = try await cluster.driver.request(
            cluster.node.port, "/ws?token=x&roomIds=a", method: "OPTIONS", headers: Self.preflight)
        #expect(answer.status == 405)
        #expect(answer.headers["access-control-allow-methods"] == nil)
    }

    @Test func everyPageMayConnect() async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(
            cluster.room(), headers: ["Origin": "https://any.example"])
        #expect(try await client.ping("connected"))
    }
}

@Suite(.cluster(options: ["--allowed-origins", "https://app.example,http://localhost:3000"]))
struct AllowedOriginTests {
    @Test(arguments: ["https://app.example", "http://localhost:3000"])
    func listedOriginsConnectAndReadTheAnswers(origin: String) async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(cluster.room(), headers: ["Origin": origin])
        #expect(try await client.ping("connected"))
        let answer = try await cluster.node.get("/heartbeat?token=x", headers: ["Origin": origin])
        #expect(answer.headers["access-control-allow-origin"] == origin)
        // A cache must not give this answer to another page.
        #expect(answer.headers["vary"]?.lowercased().contains("origin") == true)
    }

    @Test(arguments: [
        "https://evil.example", "http://app.example", "https://app.example:8443",
        "https://app.example.evil.example",
        "http://localhost", "null", "https://xapp.example",
    ])
    func otherOriginsAreForbidden(origin: String) async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        guard
            case .refused(let answer) = try await cluster.node.handshake(
                "token=\(token)&roomIds=a", headers: ["Origin": origin])
        else {
            Issue.record("\(origin) was let in")
            return
        }
        #expect(answer.status == 403)
        #expect(JSON(parsing: answer.body)?["data"].string != nil)
        let read = try await cluster.node.get("/heartbeat?token=x", headers: ["Origin": origin])
        #expect(read.headers["access-control-allow-origin"] == nil)
        // The refusal costs the token nothing.
        #expect(try await cluster.node.heartbeat(token).status == 200)
    }

    @Test(arguments: [("https://app.example", true), ("https://evil.example", false)])
    func preflightNamesAListedOriginOnly(origin: String, isListed: Bool) async throws {
        let cluster = try Cluster.current
        let answer = try await cluster.driver.request(
            cluster.node.port, "/heartbeat", method: "OPTIONS",
            headers: ["Origin": origin, "Access-Control-Request-Method": "GET"])
        #expect(answer.status == 204)
        #expect(answer.headers["access-control-allow-origin"] == (isListed ? origin : nil))
        #expect(answer.headers["vary"]?.lowercased().contains("origin") == true)
    }

    @Test func clientsWithoutOriginAreNoBrowsersAndConnect() async throws {
        let cluster = try Cluster.current
        let client = try await cluster.node.connect(cluster.room())
        #expect(try await client.ping("connected"))
    }
}

/// With a prefix several installations share one Redis without meeting.
@Suite(.cluster(options: ["--prefix", "blue:"]))
struct PrefixTests {
    @Test func keysAndChannelsCarryThePrefix() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let token = try await cluster.node.token()
        #expect(try await cluster.redis.command("EXISTS", .string("client:\(token)")) == 0)
        #expect(try await cluster.redis.hash("blue:client:\(token)")["userId"] == "user-1")
        let client = try await cluster.node.connect(room, token: token)
        #expect(try await cluster.redis.publish(room: room, "1") == 0)
        #expect(try await cluster.redis.command("PUBLISH", .string("blue:room:\(room)"), "2") == 1)
        #expect(try await client.next() == .text("2"))
        #expect(try await cluster.node.heartbeat(token).status == 200)
    }

    @Test func nodesOfAnotherPrefixDoNotKnowTheToken() async throws {
        let cluster = try Cluster.current
        let other = try await GatewayNode(
            cluster.driver, id: "green-1", redis: cluster.redis, options: ["--prefix", "green:"])
        let token = try await cluster.node.token()
        #expect(try await other.heartbeat(token).status == 500)
        #expect(try await cluster.node.heartbeat(token).status == 200)
    }
}
