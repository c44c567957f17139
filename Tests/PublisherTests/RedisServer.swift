// A private redis-server on a Unix socket of its own directory: no port to collide on, nothing kept on disk.
import Foundation
import Redis
import Testing

/// A running server; it ends, and its directory goes, with this object.
final class RedisServer {
    let directory: URL
    let url: RedisURL
    private let process = Process()

    init() throws {
        directory = URL(fileURLWithPath: "/tmp/publisher-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let socket = directory.appendingPathComponent("redis.sock").path
        url = try RedisURL("unix://\(socket)")
        // `timeout` bounds the server's life even when the tests are killed.
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "timeout", "120", "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir",
            directory.path,
        ]
        process.standardOutput = FileHandle.nullDevice
        try process.runWithOpenSignals()
        try eventually("redis-server answers") { (try? self.command("PING")) == .bytes(Array("PONG".utf8)) }
    }

    deinit { stop() }

    /// One command over a connection of its own.
    @discardableResult
    func command(_ arguments: String...) throws -> RedisPipeline.Reply {
        let pipeline = try RedisPipeline(to: url, timeout: .seconds(10))
        try pipeline.append(arguments.map { Array($0.utf8) })
        return try pipeline.nextReply()
    }

    /// Ends the server, as a crash would look to its clients.
    func stop() {
        if process.isRunning {
            process.terminate()
            process.waitUntilExit()
        }
        do { try FileManager.default.removeItem(at: directory) } catch CocoaError.fileNoSuchFile {} catch {
            Issue.record("cannot remove \(directory.path): \(error)")
        }
    }
}

/// Waits for a condition; a deadline far beyond any healthy wait turns a hang into a failure.
func eventually(_ what: String, _ condition: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while try !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("never: \(what)")
            throw CancellationError()
        }
        usleep(5000)
    }
}
