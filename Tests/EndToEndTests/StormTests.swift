// More connections, handshakes and requests than a node can or will take.
import Foundation
import Testing

@Suite struct StormTests {
    /// The limit is lowered under a running node: what it reckoned at its start does not hold any more.
    @Test func nodeOutOfDescriptorsWaitsWithoutSpinningAndRecovers() async throws {
        try await Cluster.with { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let staying = try await node.connect(room)
            let token = try await node.token()
            try await eventually("requests are over") {
                try await node.metrics()["roomcast_http_connections"] == 0
            }
            try await node.child.limitDescriptors(to: 1)
            var waiting: [RawConnection] = []
            for _ in 0..<8 {
                let raw = try await RawConnection(cluster.driver, port: node.port)
                try await raw.send(
                    requestText("/heartbeat?token=\(token)", headers: ["Connection": "close"]))
                waiting.append(raw)
            }
            try await eventually("it says so") { node.child.errorOutput.contains("accept failed") }
            let (before, begun) = (try node.child.cpuTime, ContinuousClock.now)
            // The log tells how many failures it left out, once a second: two workers with a pause of 100
            // ms.
            var leftOut: [Int] = []
            try await eventually("it has gone on for a while") {
                leftOut = node.child.errorOutput.matches(of: /left_out=(\d+)/).compactMap {
                    Int($0.output.1)
                }
                return leftOut.count >= 2
            }
            #expect(leftOut.allSatisfy { (1...15).contains($0) }, "\(leftOut)")
            // One that spins has all that the machine leaves it.
            #expect(try node.child.cpuTime - before < (ContinuousClock.now - begun) * 0.15)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await staying.next() == .text("1"), "those who are there are served")
            try await node.child.limitDescriptors(to: 1000)
            for raw in waiting {
                let answer = try await raw.receive(15).bytes
                #expect(String(decoding: answer, as: UTF8.self) == "HTTP/1.1 200 OK")
                try await raw.close()
            }
            #expect(try await node.metrics()["roomcast_accept_pauses_total"] > 10)
        }
    }

    /// A node that knows its low limit from its start takes no more than it has descriptors for, and lets a
    /// crowd that says nothing wait, not those who speak.
    @Test func stormOnFewDescriptorsIsKeptWaiting() async throws {
        try await Cluster.with { cluster in
            let prlimit = try Installation.system("prlimit", package: "util-linux")
            let node = try await GatewayNode(
                cluster.driver, id: "small", redis: cluster.redis, wrapper: [prlimit, "--nofile=100"])
            let room = cluster.room()
            let staying = try await node.connect(room)
            var storm: [RawConnection] = []
            for _ in 0..<200 { storm.append(try await RawConnection(cluster.driver, port: node.port)) }
            let served = try await node.connect(room)
            #expect(try node.child.descriptorCount < 100)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await staying.next() == .text("1"))
            #expect(try await served.next() == .text("1"))
            for raw in storm { try await raw.close() }
            try await eventually("there is room again") { (try? await node.connect(room)) != nil }
            #expect(try await node.metrics()["roomcast_accept_pauses_total"] == 0)
        }
    }

    @Test func connectionThatNeverSendsAnythingIsClosed() async throws {
        try await Cluster.with(options: ["--request-timeout", "500ms"]) { cluster in
            let silent = try await RawConnection(cluster.driver, port: cluster.node.port)
            let (bytes, end) = try await silent.receive()
            #expect(bytes.isEmpty && end == .eof)
            try await eventually("its place is free") {
                try await cluster.node.metrics()["roomcast_http_connections"] == 0
            }
        }
    }

    /// A head that is complete while Redis says nothing: the wait for Redis ends it, and its places are
    /// given back.
    @Test func handshakeThatWaitsForRedisEndsInTime() async throws {
        let options = ["--redis-timeout", "300ms", "--maximum-connections-per-address", "1"]
        try await Cluster.with(options: options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let token = try await node.token()
            try await cluster.redis.first.signal(SIGSTOP)
            let (answers, pace) = try await Pace.during(cluster.driver, cluster.redis) {
                var answers: [Answer] = []
                for _ in 0..<3 {
                    answers.append(
                        try await node.get("/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
                    )
                }
                return answers
            }
            for answer in answers {
                #expect(answer.status == 500)
                #expect(answer.data == "WebSocket upgrade failed")
                #expect(answer.after < pace.allows(.seconds(1.5)))
            }
            try await cluster.redis.first.signal(SIGCONT)
            try await eventually("the one place of the address is free") {
                (try? await node.connect(room, token: token)) != nil
            }
        }
    }
}

@Suite struct AddressLimitTests {
    private func handshake(_ node: GatewayNode, _ room: String, from address: String) async throws
        -> Handshake
    {
        let token = try await node.token()
        return try await node.handshake(
            "token=\(token)&roomIds=\(room)", headers: ["X-Forwarded-For": address])
    }

    private func open(_ handshake: Handshake) throws -> Client {
        guard case .open(let client) = handshake else { throw HarnessError("\(handshake)") }
        return client
    }

    @Test func connectionsOfOneAddressAreLimited() async throws {
        let options = ["--maximum-connections-per-address", "3", "--trusted-proxies", "127.0.0.1"]
        try await Cluster.with(options: options) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            var clients: [Client] = []
            for host in 1...3 {
                clients.append(try open(try await handshake(node, room, from: "2001:db8:0:7::\(host)")))
            }
            guard case .refused(let answer) = try await handshake(node, room, from: "2001:db8:0:7:8::")
            else {
                Issue.record("a fourth connection from the same /64")
                return
            }
            #expect(answer.status == 429)
            #expect(answer.body == #"{"data":"Too many connections"}"#)
            #expect(answer.headers["retry-after"] == "5")
            _ = try open(try await handshake(node, room, from: "2001:db8:0:8::1"))
            _ = try open(try await handshake(node, room, from: "192.0.2.1"))
            #expect(
                try await node.metrics().samples[
                    #"roomcast_handshakes_rejected_total{reason="too_many_of_address"}"#] == 1)
            _ = try await clients[0].close()
            try await eventually("a place is free again") {
                if case .open = try await handshake(node, room, from: "2001:db8:0:7:8::") { return true }
                return false
            }
        }
    }

    /// At one a second whoever comes too soon is told when to come, and then taken.
    @Test func handshakesBeyondTheRateAreToldWhenToComeBack() async throws {
        try await Cluster.with(options: ["--handshake-rate", "1"]) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let token = try await node.token()
            _ = try await node.connect(room)
            var told: [Int] = []
            // A slow machine asks so seldom that some are taken in between.
            for _ in 0..<1_000 where (told.last ?? 0) <= 1 {
                let answer = try await node.get(
                    "/ws?token=\(token)&roomIds=\(room)", headers: handshakeHeaders())
                guard answer.status == 503 else { continue }
                #expect(answer.data == "service unavailable")
                told.append(answer.headers["retry-after"].flatMap { Int($0) } ?? 0)
            }
            #expect(told.first == 1)
            #expect(try #require(told.last) > 1, "not all at the same time")
            #expect(
                try await node.metrics().samples[
                    #"roomcast_handshakes_rejected_total{reason="too_many_handshakes"}"#]
                    == Double(told.count))
            try await eventually("the next second takes one") {
                (try? await node.connect(room, token: token)) != nil
            }
        }
    }

    @Test func tokensOfOneAddressAreLimited() async throws {
        let options = ["--token-rate-per-address", "2", "--trusted-proxies", "127.0.0.1"]
        try await Cluster.with(options: options) { cluster in
            let node = cluster.node
            let target = "/get/token?isLogin=true&userId=ada"
            func ask(_ address: String) async throws -> Answer {
                try await node.get(target, headers: ["X-Forwarded-For": address])
            }
            // Each connection may come to another worker: what they count, they count together.
            var refused: [Answer] = []
            let begun = ContinuousClock.now
            var askedCount = 0
            for index in 0..<1_000 where index < 12 || refused.isEmpty {
                let answer = try await ask("192.0.2.1")
                askedCount += 1
                if answer.status != 200 { refused.append(answer) }
            }
            let seconds = (ContinuousClock.now - begun).seconds
            #expect(
                askedCount - refused.count <= 2 + Int((2 * seconds).rounded(.up)),
                "two at once, and two a second")
            let answer = try #require(refused.first)
            #expect(answer.status == 429)
            #expect(answer.body == #"{"data":"Too many requests"}"#)
            #expect(answer.headers["retry-after"] == "1")
            #expect(try await ask("192.0.2.2").status == 200)
            #expect(try await node.metrics()["roomcast_tokens_limited_total"] == Double(refused.count))
            try await eventually("the next second brings one") { try await ask("192.0.2.1").status == 200 }
        }
    }
}
