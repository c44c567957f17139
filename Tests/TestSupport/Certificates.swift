// Certificates for a test's Redis, made by the script that makes them for the composition. Any thread.

import Foundation

/// An authority of its own, a server's certificate and a client's; the files go with this object.
package final class Certificates: Sendable {
    private let directory: URL

    /// - Parameters:
    ///   - names: host names and addresses of the server.
    ///   - days: how long the certificates hold; negative: until so many days ago.
    package init(for names: [String] = ["127.0.0.1", "localhost"], days: Int = 2) throws {
        directory = URL(fileURLWithPath: "/tmp/roomcast-test-\(UUID().uuidString)")
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "deploy/redis-certificates")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [script.path, directory.path] + names
        process.environment = ProcessInfo.processInfo.environment.merging(["DAYS": "\(days)"]) { $1 }
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw NeverHappened(description: "deploy/redis-certificates made no certificates")
        }
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    /// The path of one of the files, such as `ca.crt`.
    package func path(_ file: String) -> String { directory.appending(path: file).path }
}
