// The configurations that docs/guides shows are run as they stand there, with the addresses of this machine.
import Foundation
import Testing

@Suite(.cluster(nodes: 2, options: ["--trusted-proxies", "127.0.0.1"]))
struct GuideTests {
    @Test func nginxOfTheGuidePassesClientsOn() async throws {
        let cluster = try Cluster.current
        let port = try await cluster.driver.freePort()
        let text = try configuration("nginx", of: "behind-a-balancer.md", cluster, port: port)
            .replacingOccurrences(of: "listen 80;", with: "listen 127.0.0.1:\(port);")
        let directory = cluster.driver.directory
        let file = directory.appending(path: "guide-nginx.conf")
        try """
        daemon off; pid \(directory.path)/guide-nginx.pid; error_log stderr;
        events {}
        http {
        \(text)
        }
        """.write(to: file, atomically: true, encoding: .utf8)
        let nginx = try Installation.system("nginx", package: "nginx-light")
        let child = try await Child(
            cluster.driver, name: "guide-nginx",
            [nginx, "-e", "stderr", "-p", directory.path, "-c", file.path])
        try await holds(cluster, through: port, child)
    }

    @Test func haproxyOfTheGuidePassesClientsOn() async throws {
        let cluster = try Cluster.current
        let port = try await cluster.driver.freePort()
        var text = try configuration("haproxy", of: "behind-a-balancer.md", cluster, port: port)
            .replacingOccurrences(of: "bind :80", with: "bind 127.0.0.1:\(port)")
        for node in cluster.nodes {
            // The checks of the guide ask port 9090, which every node has to itself there.
            guard let range = text.range(of: "check port 9090") else {
                throw HarnessError("no check in:\n\(text)")
            }
            text.replaceSubrange(range, with: "check port \(node.adminPort)")
        }
        let file = cluster.driver.directory.appending(path: "guide-haproxy.cfg")
        try (text + "\n").write(to: file, atomically: true, encoding: .utf8)
        let haproxy = try Installation.system("haproxy", package: "haproxy")
        let child = try await Child(
            cluster.driver, name: "guide-haproxy", [haproxy, "-db", "-f", file.path])
        try await holds(cluster, through: port, child)
    }

    /// The block of `language` in a guide, with the cluster's nodes in place of the guide's.
    private func configuration(
        _ language: String, of guide: String, _ cluster: Cluster, port: Int
    ) throws -> String {
        let url = Installation.root.appending(path: "docs/guides/\(guide)")
        let blocks = try String(contentsOf: url, encoding: .utf8).components(separatedBy: "```\(language)\n")
        guard blocks.count == 2, var text = blocks[1].components(separatedBy: "```").first else {
            throw HarnessError("\(guide) has \(blocks.count - 1) blocks of \(language)")
        }
        for (index, node) in cluster.nodes.enumerated() {
            let address = "10.0.0.\(11 + index):8080"
            guard text.contains(address) else { throw HarnessError("\(guide) does not name \(address)") }
            text = text.replacingOccurrences(of: address, with: "127.0.0.1:\(node.port)")
        }
        return text
    }

    /// A client gets a token, connects, beats and receives, all through the proxy, and is known by its own
    /// address.
    private func holds(_ cluster: Cluster, through port: Int, _ child: Child) async throws {
        let driver = cluster.driver
        try await eventually("the proxy passes requests on") {
            if let code = try await child.exitCode(within: .zero) {
                throw Hopeless("it ended with \(code): \(child.errorOutput.suffix(2000))")
            }
            return try await driver.request(port, "/heartbeat?token=x").data == "token error"
        }
        let room = cluster.room()
        let token = try #require(try await driver.request(port, "/get/token?isLogin=true&userId=ada").data)
        guard
            case .open(let client) = try await driver.handshake(
                "ws://127.0.0.1:\(port)/ws?token=\(token)&roomIds=\(room)", source: "127.0.0.3")
        else {
            Issue.record("the handshake was refused")
            return
        }
        #expect(try await driver.request(port, "/heartbeat?token=\(token)").status == 200)
        #expect(try await cluster.redis.publish(room: room, "[1]") == 1)
        #expect(try await client.next() == .text("[1]"))
        #expect(try await cluster.redis.hash("client:\(token)")["ip"] == "127.0.0.3")
        try await child.signal(SIGTERM)
        _ = try await child.exitCode()
    }
}
