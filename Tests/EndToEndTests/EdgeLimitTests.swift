// What deploy/nginx.conf lets one address have, with the real nginx and limits that a test can reach; and
// what nginx logs.
import Foundation
import Testing

@Suite(.cluster())
struct EdgeLimitTests {
    /// nginx takes the client's address from a header, so that a test can be many clients.
    private static let realip = (
        "    server_tokens off;",
        "    server_tokens off; set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;"
    )

    private func from(_ address: String) -> [String: String] { ["X-Forwarded-For": address] }

    private func expectLimited(_ answer: Answer, _ message: String) {
        #expect(answer.status == 429)
        #expect(answer.body == #"{"data":"\#(message)"}"#)
        #expect(answer.headers["content-type"] == "application/json")
        #expect(answer.headers["retry-after"] == "5")
        #expect(answer.headers["cache-control"] == "no-store")
        #expect(answer.headers["access-control-allow-origin"] == "*")
        #expect(answer.headers["access-control-expose-headers"] == "Retry-After")
    }

    @Test func tokensOfOneAddressAreLimited() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(
            cluster, changes: [Self.realip, ("rate=50r/s", "rate=1r/m"), ("burst=1000", "burst=2")])
        let target = "/get/token?isLogin=true&userId=ada"
        func token(_ address: String, method: String = "GET") async throws -> Answer {
            try await cluster.driver.request(nginx.port, target, method: method, headers: from(address))
        }
        for _ in 0..<3 { #expect(try await token("192.0.2.1").status == 200) }
        expectLimited(try await token("192.0.2.1"), "Too many requests")
        // Another address has its own, and nothing else is limited with it.
        #expect(try await token("192.0.2.2").status == 200)
        #expect(
            try await cluster.driver.request(nginx.port, "/heartbeat?token=x", headers: from("192.0.2.1"))
                .status == 500)
        // A preflight of the limited address passes.
        #expect(try await token("192.0.2.1", method: "OPTIONS").status != 429)
        // IPv6: the /64 counts, however its addresses are written.
        for (network, other) in [("2001:db8:1:2", "2001:db8:1:3"), ("2001:db8:1", "2001:db8:2")] {
            let places = network.split(separator: ":").count == 4 ? "5:6:7:" : ":"
            for host in 1...3 { #expect(try await token("\(network):\(places)\(host)").status == 200) }
            expectLimited(try await token("\(network):\(places)4"), "Too many requests")
            #expect(try await token("\(other):\(places)1").status == 200)
        }
    }

    @Test func handshakesOfOneAddressAreLimited() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(
            cluster, changes: [("rate=200r/s", "rate=1r/m"), ("burst=2000", "burst=1")])
        let room = cluster.room()
        for _ in 0..<2 { _ = try await nginx.connect(room) }
        let token = try #require(
            try await cluster.driver.request(nginx.port, "/get/token?isLogin=true&userId=ada").data)
        let answer = try await cluster.driver.request(
            nginx.port, "/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
        expectLimited(answer, "Too many requests")
    }

    @Test func connectionsOfOneAddressAreLimitedAndGivenBack() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(
            cluster, changes: [("limit_conn tunnels 10000", "limit_conn tunnels 2")])
        let room = cluster.room()
        let (first, _) = try await nginx.connect(room)
        _ = try await nginx.connect(room)
        let token = try #require(
            try await cluster.driver.request(nginx.port, "/get/token?isLogin=true&userId=ada").data)
        let target = "/ws?token=\(token)&roomIds=\(room)"
        expectLimited(
            try await cluster.driver.request(nginx.port, target, headers: handshakeHeaders()),
            "Too many connections")
        // From another address there is room.
        _ = try await nginx.connect(room, source: "127.0.0.2")
        _ = try await first.close()
        try await eventually("the place is free again") {
            if case .open = try await cluster.driver.handshake("ws://127.0.0.1:\(nginx.port)\(target)") {
                return true
            }
            return false
        }
    }

    /// Thousands of users behind one address: the limits of the file itself let a whole node's clients come
    /// back.
    @Test func limitsOfTheFileAreGenerous() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(cluster)
        let request = requestText("/get/token?isLogin=true&userId=ada")
        for _ in 0..<8 {
            let answers = try await cluster.driver.exchange(
                nginx.port, String(repeating: request, count: 100), count: 100
            ).answers
            #expect(answers.allSatisfy { $0.status == 200 })
        }
    }

    @Test func healthCheckOfNginxIsNotLogged() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(cluster)
        let check = Installation.root.appending(path: "deploy/http-check").path
        let completed = try await cluster.driver.run([
            "bash", check, "127.0.0.1", "\(nginx.port)", "/", "404",
        ])
        #expect(completed.code == 0, "\(completed.errors)")
        // Somebody else's request of the same path is logged, and comes later.
        _ = try await cluster.driver.request(nginx.port, "/")
        try await eventually("the request is logged") { nginx.child.output.contains("GET /\"") }
        #expect(nginx.child.output.components(separatedBy: "GET /\"").count == 2, "\(nginx.child.output)")
    }

    /// No gateway is left: the answer is nginx's own, and a page can read it.
    @Test func answerForUnavailableGatewaysCanBeReadByPages() async throws {
        try await Cluster.with { cluster in
            let nginx = try await NginxServer(cluster)
            try await cluster.node.child.signal(SIGKILL)
            _ = try await cluster.node.child.exitCode()
            let answer = try await cluster.driver.request(nginx.port, "/get/token?isLogin=true&userId=ada")
            #expect(answer.status == 503)
            #expect(answer.data == "service unavailable")
            #expect(answer.headers["access-control-allow-origin"] == "*")
            #expect(answer.headers["cache-control"] == "no-store")
        }
    }
}
