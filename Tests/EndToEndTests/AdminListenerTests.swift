// The operators' door: who may ask it, by which name, and how.
import Foundation
import Testing

@Suite struct AdminListenerTests {
    private static let key = "0123456789-abcdef"
    private static let paths = ["/healthz", "/readyz", "/metrics"]

    private func publish(
        _ node: GatewayNode, key: String?, expecting: Bool = false
    ) -> (head: String, body: String) {
        let body = #"{"room":"a","data":1}"#
        var headers = ["Content-Type": "application/json", "Content-Length": "\(body.utf8.count)"]
        if let key { headers["Authorization"] = "Bearer \(key)" }
        if expecting { headers["Expect"] = "100-continue" }
        return (requestText("/api/publish", method: "POST", headers: headers), body)
    }

    private func ask(_ node: GatewayNode, key: String?) async throws -> Answer {
        let (head, body) = publish(node, key: key)
        return try await node.driver.exchange(node.adminPort, head + body).answers[0]
    }

    @Test func headIsAsGetWithoutTheBody() async throws {
        try await Cluster.with { cluster in
            for path in Self.paths {
                let asGet = try await cluster.driver.request(cluster.node.adminPort, path)
                let raw = try await RawConnection(cluster.driver, port: cluster.node.adminPort)
                try await raw.send(requestText(path, method: "HEAD", headers: ["Connection": "close"]))
                let head = String(decoding: try await raw.receive().bytes, as: UTF8.self)
                #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n"))
                #expect(head.components(separatedBy: "\r\n\r\n").count == 2)
                // Numbers grow between the two.
                if path != "/metrics" {
                    #expect(head.contains("\r\nContent-Length: \(asGet.body.utf8.count)\r\n"))
                }
                #expect(asGet.headers["cache-control"] == "no-store")
                #expect(asGet.headers["date"] != nil)
                let refused = try await cluster.driver.request(
                    cluster.node.adminPort, path, method: "DELETE")
                #expect(refused.status == 405)
                #expect(refused.headers["allow"] == "GET, HEAD")
                try await raw.close()
            }
        }
    }

    /// A page whose name has been given the listener's address sends its name, and reads nothing.
    @Test func onlyOwnNamesAreTaken() async throws {
        try await Cluster.with(options: ["--admin-hosts", "gateway,node.example"]) { cluster in
            let node = cluster.node
            func status(_ path: String, _ host: String) async throws -> Int {
                try await cluster.driver.request(node.adminPort, path, headers: ["Host": host]).status
            }
            for path in Self.paths + ["/console/", "/console/api/cluster"] {
                for host in [
                    "127.0.0.1:\(node.adminPort)", "localhost", "gateway:9090", "Node.Example", "[::1]:9090",
                ] {
                    #expect(try await status(path, host) == 200, "\(host)")
                }
                for host in ["evil.example", "evil.example:\(node.adminPort)", "gateway.evil.example"] {
                    #expect(try await status(path, host) == 421, "\(host)")
                }
            }
            let refused = try await cluster.driver.request(
                node.adminPort, "/metrics", headers: ["Host": "evil.example"])
            #expect(refused.data?.contains("--admin-hosts") == true)
            #expect(!refused.body.contains("roomcast_"))
            #expect(node.child.errorOutput.contains("admin request for an unknown host"))
        }
    }

    @Test func wrongKeysAreLimitedAndTheRightOneIsTakenLater() async throws {
        try await Cluster.with(environment: ["GATEWAY_ADMIN_KEY": Self.key]) { cluster in
            let node = cluster.node
            var statuses: [Int] = []
            var limited: Answer?
            // At one a second for each further one this takes a few more than five, however slow the machine
            // is.
            for _ in 0..<1_000 where limited == nil {
                let answer = try await ask(node, key: "0123456789-abcdeX")
                statuses.append(answer.status)
                if answer.status == 429 { limited = answer }
            }
            #expect(statuses.count > 5 && statuses.dropLast().allSatisfy { $0 == 401 })
            #expect(limited?.headers["retry-after"] == "1")
            #expect(limited?.data == "Too many wrong keys")
            // Whoever shows none guesses nothing.
            #expect(try await ask(node, key: nil).status == 401)
            try await eventually("the key is looked at again") {
                try await ask(node, key: Self.key).status == 200
            }
            let lineCount = node.child.errorOutput.components(separatedBy: "admin key refused").count - 1
            #expect(lineCount < statuses.count, "one line a second")
        }
    }

    @Test(arguments: ["--admin-key", "--issue-key"])
    func weakKeyIsRefusedAtTheStart(option: String) async throws {
        let driver = try Driver()
        let ended = try await driver.run([try Installation.binary("gateway"), option, "changemechangeme"])
        #expect(ended.code == 2)
        #expect(ended.errors.contains(option) && ended.errors.contains("8 of them different"))
        #expect(!ended.errors.contains("changeme"))
        await driver.stop()
    }

    @Test func bodyIsSentAfterTheInterimAnswer() async throws {
        try await Cluster.with(environment: ["GATEWAY_ADMIN_KEY": Self.key]) { cluster in
            let raw = try await RawConnection(cluster.driver, port: cluster.node.adminPort)
            for _ in 0..<2 {
                let (head, body) = publish(cluster.node, key: Self.key, expecting: true)
                try await raw.send(head)
                let interim = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
                #expect(interim == "HTTP/1.1 100 Continue\r\n\r\n")
                try await raw.send(body)
                let final = String(
                    decoding: try await raw.receive(until: #""nodes":0}]}"#).bytes, as: UTF8.self)
                #expect(final.hasPrefix("HTTP/1.1 200 OK\r\n"))
            }
            // A body that is too long is refused before it is sent.
            let tooLong = requestText(
                "/api/publish", method: "POST",
                headers: ["Content-Length": "199999", "Expect": "100-continue"])
            try await raw.send(tooLong)
            let refusal = try await raw.receive()
            #expect(String(decoding: refusal.bytes, as: UTF8.self).hasPrefix("HTTP/1.1 413 "))
            #expect(refusal.end == .eof)
            try await raw.close()
        }
    }
}
