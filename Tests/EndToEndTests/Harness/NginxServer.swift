// nginx in front of the nodes of a cluster: the repository's own deploy/nginx-start with the configuration
// that deployments use, so that this file has none.
import Foundation
import Testing

struct NginxServer: Sendable {
    let driver: Driver
    let port: Int
    let child: Child

    /// - Parameters:
    ///   - gatewayHost: where the nodes listen, an IPv6 address in brackets.
    ///   - changes: texts of nginx.conf, each of which must be there, and what stands in their places.
    init(
        _ cluster: Cluster, gatewayHost: String = "127.0.0.1", changes: [(String, String)] = []
    ) async throws {
        driver = cluster.driver
        _ = try Installation.system("nginx", package: "nginx-light")
        let port = try await driver.freePort()
        let files = driver.directory.appending(path: "nginx-\(port).files")
        try FileManager.default.createDirectory(at: files, withIntermediateDirectories: true)
        let deploy = Installation.root.appending(path: "deploy")
        var configuration = try String(contentsOf: deploy.appending(path: "nginx.conf"), encoding: .utf8)
        for (text, change) in changes {
            guard configuration.contains(text) else { throw HarnessError("nginx.conf has no '\(text)'") }
            configuration.replace(text, with: change)
        }
        try configuration.write(to: files.appending(path: "nginx.conf"), atomically: true, encoding: .utf8)
        let script = files.appending(path: "nginx-start").path
        try FileManager.default.copyItem(atPath: deploy.appending(path: "nginx-start").path, toPath: script)
        self.port = port
        child = try await Child(
            driver, name: "nginx-\(port)",
            ["bash", script, driver.directory.appending(path: "nginx-\(port).d").path],
            environment: [
                "NGINX_LISTEN": "127.0.0.1:\(port)",
                "NGINX_GATEWAYS": cluster.nodes.map { "\(gatewayHost):\($0.port)" }.joined(separator: " "),
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
