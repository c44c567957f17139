// deploy/stunnel.conf: programs without TLS at a Redis with it.
import Foundation
import Testing

private let program = try? Installation.system("stunnel", package: "stunnel4")

@Suite(.enabled("stunnel is installed") { program != nil })
struct StunnelTests {
    /// Starts a tunnel by the example, as its comments say to change it; returns it with its port.
    private func startTunnel(_ cluster: Cluster, name: String) async throws -> (Child, port: Int) {
        let certificates = try #require(cluster.redis.certificates)
        let port = try await cluster.driver.freePort()
        var text = try String(
            contentsOf: Installation.root.appending(path: "deploy/stunnel.conf"), encoding: .utf8)
        for (example, own) in [
            ("accept = 127.0.0.1:6380", "accept = 127.0.0.1:\(port)"),
            ("connect = redis.example:6379", "connect = 127.0.0.1:\(cluster.redis.servedPort)"),
            ("sni = redis.example", "sni = \(name)"), ("checkHost = redis.example", "checkHost = \(name)"),
            ("CAfile = /etc/ssl/certs/ca-certificates.crt", "CAfile = \(certificates.path("ca.crt"))"),
        ] {
            #expect(text.contains("\n\(example)\n"))
            text = text.replacing(example, with: own)
        }
        let path = cluster.driver.directory.appending(path: "stunnel-\(port).conf")
        try text.write(to: path, atomically: true, encoding: .utf8)
        return (
            try await Child(cluster.driver, name: "stunnel-\(port)", [try #require(program), path.path]),
            port
        )
    }

    @Test func nodeAndPublisherReachARedisWithTLS() async throws {
        try await Cluster.with(nodes: 0, isSecured: true) { cluster in
            let (_, port) = try await startTunnel(cluster, name: "localhost")
            let url = "redis://127.0.0.1:\(port)"
            let node = try await GatewayNode(cluster.driver, id: "tunnel", redis: cluster.redis, url: url)
            let room = cluster.room()
            let client = try await node.connect(room)
            func publish(_ data: String) async throws {
                let sent = try await cluster.driver.run([
                    try Installation.binary("publisher"), "--redis", url, "--room", room, "--data", data,
                ])
                #expect(sent.code == 0, "\(sent.errors)")
                #expect(try await client.next() == .text(#"{"type":"notice","data":\#(data)}"#))
            }
            try await publish("1")
            try await cluster.redis.stop()
            try await eventually("the loss is seen") { try await node.ready().status == 503 }
            _ = try await cluster.redis.restart()
            try await eventually("ready again") { try await node.ready().status == 200 }
            try await publish("2")
        }
    }

    @Test func certificateOfAnotherHostIsRefused() async throws {
        try await Cluster.with(nodes: 0, isSecured: true) { cluster in
            let (tunnel, port) = try await startTunnel(cluster, name: "other.example")
            let node = try await GatewayNode(
                cluster.driver, id: "tunnel", redis: cluster.redis, url: "redis://127.0.0.1:\(port)",
                awaitReady: false)
            try await eventually("the tunnel says why") {
                (tunnel.output + tunnel.errorOutput).contains("Rejected by CERT")
            }
            #expect(try await node.ready().status == 503)
        }
    }
}
