// Certificates of a test's Redis, made by the script that makes them for the composition.
import Foundation

struct Certificates: Sendable {
    private let directory: URL

    /// Of an authority of their own, for 127.0.0.1 and localhost.
    init(_ driver: Driver, name: String = "certificates") async throws {
        directory = driver.directory.appending(path: name)
        let script = Installation.root.appending(path: "deploy/redis-certificates").path
        let made = try await driver.run(["sh", script, directory.path, "127.0.0.1", "localhost"])
        guard made.code == 0 else { throw HarnessError("no certificates: \(made.errors)") }
    }

    /// The path of one of the files, such as `ca.crt`.
    func path(_ file: String) -> String { directory.appending(path: file).path }

    /// What a server needs to listen there with TLS, and to follow a master over it.
    func serverOptions(port: Int) -> [String] {
        [
            "--tls-port", "\(port)", "--tls-cert-file", path("redis.crt"), "--tls-key-file",
            path("redis.key"),
            "--tls-ca-cert-file", path("ca.crt"), "--tls-auth-clients", "no", "--tls-replication", "yes",
        ]
    }
}
