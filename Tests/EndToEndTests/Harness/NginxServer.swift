// nginx in front of the nodes of a cluster: the repository's own deploy/nginx-start with the configuration
// that deployments use, so that this file has none.
import Foundation
import Testing

struct NginxServer: Sendable {
    let driver: Driver
    let port: Int
    let child: Child

    init(_ cluster: Cluster) async throws {
        driver = cluster.driver
        _ = try Installation.system("nginx", package: "nginx-light")
        let script = Installation.root.appending(path: "deploy/nginx-start").path
        guard FileManager.default.isReadableFile(atPath: script) else {
            throw HarnessError("\(script) is missing")
        }
        let port = try await driver.freePort()
        self.port = port
        child = try await Child(
            driver, name: "nginx-\(port)",
            ["bash", script, driver.directory.appending(path: "nginx-\(port).d").path],
            environment: [
                "NGINX_LISTEN": "127.0.0.1:\(port)",
                "NGINX_GATEWAYS": cluster.nodes.map { "127.0.0.1:\($0.port)" }.joined(separator: " "),
            ])
        try await eventually("nginx passes requests on") { [driver, child] in
            if let code = try await child.exitCode(within: .zero) {
                throw Hopeless("nginx-start ended with \(code): \(child.errorOutput.suffix(2000))")
            }
            return try await driver.request(port, "/heartbeat?token=x").data == "token error"
        }
    }

    /// Opens a socket with a new token, both through nginx.
    func connect(_ rooms: String, headers: [String: String] = [:], source: String? = nil)
        async throws -> (client: Client, token: String)
    {
        let answer = try await driver.request(port, "/get/token?isLogin=true&userId=ada")
        guard let token = answer.data, answer.status == 200 else {
            throw HarnessError("no token: \(answer.body)")
        }
        let url = "ws://127.0.0.1:\(port)/ws?token=\(token)&roomIds=\(rooms)"
        switch try await driver.handshake(url, headers: headers, source: source) {
        case .open(let client): return (client, token)
        case .refused(let refusal): throw HarnessError("refused: \(refusal.status) \(refusal.body)")
        }
    }
}
