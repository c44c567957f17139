// Several nodes behind the nginx of deploy/: load is spread, order holds, and the client's address comes
// through.
import Foundation
import Testing

@Suite(.cluster(nodes: 3, options: ["--trusted-proxies", "127.0.0.1"]))
struct ProxyTests {
    @Test func thousandsOfMessagesArriveInOrderOnThreeNodesBehindNginx() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(cluster)
        let room = cluster.room()
        var clients: [Client] = []
        var nodes: Set<String> = []
        for _ in 0..<12 {
            let (client, token) = try await nginx.connect(room)
            clients.append(client)
            nodes.insert(try await cluster.redis.hash("client:\(token)")["node"] ?? "none")
            #expect(try await cluster.driver.request(nginx.port, "/heartbeat?token=\(token)").status == 200)
        }
        #expect(nodes == ["node-1", "node-2", "node-3"])
        try await cluster.redis.publishSequence(room: room, count: 5000)
        for received in try await cluster.driver.sequences(clients, count: 5000) {
            #expect(received == ReceivedSequence(count: 5000, firstWrong: nil))
        }
    }

    /// The client comes from 127.0.0.2 and claims to be somebody else: nginx overwrites the claim.
    @Test func recordHasTheAddressThatNginxSaw() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(cluster)
        let (_, token) = try await nginx.connect(
            cluster.room(), headers: ["X-Forwarded-For": "6.6.6.6"], source: "127.0.0.2")
        #expect(try await cluster.redis.hash("client:\(token)")["ip"] == "127.0.0.2")
    }

    @Test func refusalsPassThroughNginxUnchanged() async throws {
        let cluster = try Cluster.current
        let nginx = try await NginxServer(cluster)
        let headers = handshakeHeaders()
        for (target, headers, status, message) in [
            ("/ws", [:], 400, "Invalid WebSocket handshake"), ("/ws", headers, 401, "Missing token"),
            ("/ws?token=x", headers, 401, "Missing room"),
            ("/ws?token=x&roomIds=a", headers, 500, "Token error"),
            ("/heartbeat?token=x", [:], 500, "token error"),
            ("/get/token", [:], 400, "Invalid request parameters"),
        ] {
            let answer = try await cluster.driver.request(nginx.port, target, headers: headers)
            #expect(answer.status == status)
            #expect(answer.data == message)
        }
        #expect(try await cluster.driver.request(nginx.port, "/metrics").status == 404)
    }

    @Test(arguments: [
        ("6.6.6.6", "6.6.6.6"), ("6.6.6.6, 127.0.0.1", "6.6.6.6"), ("6.6.6.6, 10.0.0.9", "10.0.0.9"),
        ("1.2.3.4, 6.6.6.6, 127.0.0.1", "6.6.6.6"), ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:443, 127.0.0.1", "2001:db8::1"),
    ])
    func trustedProxyNamesTheClient(header: String, address: String) async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        _ = try await cluster.node.connect(
            cluster.room(), token: token, headers: ["X-Forwarded-For": header])
        #expect(try await cluster.redis.hash("client:\(token)")["ip"] == address)
    }
}

/// A node whose name has an IPv6 address alone.
@Suite struct Ipv6Tests {
    @Test func nginxReachesNodesByIpv6() async throws {
        try await Cluster.with(options: ["--listen", "[::1]:0"]) { cluster in
            let nginx = try await NginxServer(cluster, gatewayHost: "[::1]")
            let (client, _) = try await nginx.connect(cluster.room())
            #expect(try await client.ping("connected"))
        }
    }

    /// Both families at one port.
    @Test func portAloneIsEveryAddress() async throws {
        try await Cluster.with(options: ["--listen", ":0"]) { cluster in
            #expect(cluster.node.child.errorOutput.contains("listening on [::]:\(cluster.node.port)"))
            for host in ["127.0.0.1", "::1"] {
                let answer = try await cluster.driver.request(
                    cluster.node.port, "/heartbeat?token=x", host: host)
                #expect(answer.data == "token error")
            }
        }
    }
}

@Suite(.cluster())
struct UntrustedProxyTests {
    @Test func headerOfAStrangerIsNotBelieved() async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        _ = try await cluster.node.connect(
            cluster.room(), token: token, headers: ["X-Forwarded-For": "6.6.6.6"])
        #expect(try await cluster.redis.hash("client:\(token)")["ip"] == "127.0.0.1")
    }
}
