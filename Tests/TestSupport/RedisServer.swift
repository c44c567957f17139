// A private redis-server, or what ROOMCAST_REDIS_SERVER names: on a free port of loopback and on a Unix socket in a
// directory of its own, with nothing kept on disk. It can be stopped, started again, and frozen.

import EventLoop
import Foundation
import Redis

/// A server that did not come up.
package struct ServerEnded: Error, CustomStringConvertible {
    package let description: String
}

/// A running server; it ends, and its directory goes, with this object. Confined to one thread.
package final class RedisServer {
    package let port: Int
    package let socketPath: String
    /// Its files; gone with this object.
    package let directory: URL
    private let password: String?
    private let moreOptions: [String]
    private let program: String
    /// Where it listens with TLS, if it was given certificates.
    package let securedPort: Int
    private var process: Process?
    private var processID: pid_t = 0

    /// - Parameters:
    ///   - password: what `requirepass` is set to.
    ///   - certificates: for TLS, on a second port.
    ///   - asksForCertificate: whether clients have to show one there.
    ///   - isCluster: whether it is a node of a cluster, without a slot at first.
    ///   - program: of the server, a name in PATH or a path.
    package init(
        password: String? = nil, certificates: Certificates? = nil, asksForCertificate: Bool = false,
        isCluster: Bool = false,
        program: String? = ProcessInfo.processInfo.environment["ROOMCAST_REDIS_SERVER"]
    ) throws {
        self.program = program.flatMap { $0.isEmpty ? nil : $0 } ?? "redis-server"
        self.password = password
        port = try Self.freePort()
        let securedPort = try Self.freePort()
        self.securedPort = securedPort
        let clusterOptions = ["--cluster-enabled", "yes", "--cluster-port", "\(securedPort)"]
        moreOptions =
            isCluster
            ? clusterOptions
            : certificates.map { certificates in
                [
                    "--tls-port", "\(securedPort)", "--tls-cert-file", certificates.path("redis.crt"),
                    "--tls-key-file", certificates.path("redis.key"), "--tls-ca-cert-file",
                    certificates.path("ca.crt"), "--tls-auth-clients", asksForCertificate ? "yes" : "no",
                ]
            } ?? []
        directory = URL(fileURLWithPath: "/tmp/roomcast-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        socketPath = directory.appendingPathComponent("redis.sock").path
        try start()
    }

    /// Bound to find a port that is free, and closed again: Redis takes it over.
    private static func freePort() throws -> Int {
        let socket = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        defer { Socket(descriptor: socket.descriptor).close() }
        return Int(socket.port)
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(at: directory)
    }

    /// Where it listens on TCP, with its password.
    package var url: RedisURL {
        get throws { try url() }
    }

    package func url(credentials: String? = nil, database: Int = 0) throws -> RedisURL {
        let login = credentials ?? password.map { ":\($0)@" } ?? ""
        return try RedisURL("redis://\(login)127.0.0.1:\(port)" + (database == 0 ? "" : "/\(database)"))
    }

    /// Where it listens with TLS, with its password.
    package func securedURL(by settings: TLSSettings) throws -> RedisURL {
        let login = password.map { ":\($0)@" } ?? ""
        return try RedisURL("rediss://\(login)127.0.0.1:\(securedPort)").secured(by: TLSContext(settings))
    }

    package func start() throws {
        let process = Process()
        // `timeout` bounds the server's life even when the tests are killed.
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            [
                "timeout", "-k", "1", "1800", program, "--port", "\(port)", "--bind", "127.0.0.1",
                "--unixsocket", socketPath, "--save", "", "--dir", directory.path,
            ] + (password.map { ["--requirepass", $0] } ?? []) + moreOptions
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        self.process = process
        try eventually("\(program) answers") {
            guard process.isRunning else {
                throw ServerEnded(description: "\(program) ended with \(process.terminationStatus)")
            }
            return (try? command("PING")) == .bytes(Array("PONG".utf8))
        }
        processID = pid_t(try information("server", "process_id") ?? "") ?? 0
        precondition(processID > 1, "\(program) tells its process id")
    }

    /// Ends the server at once, as a crash would, and waits for its end.
    package func stop() {
        guard let process else { return }
        self.process = nil
        if processID > 1 { kill(processID, SIGKILL) } else { process.terminate() }
        process.waitUntilExit()
        processID = 0
    }

    /// The server stops to do anything; its connections stay.
    package func freeze() { kill(processID, SIGSTOP) }

    /// The server goes on.
    package func thaw() { kill(processID, SIGCONT) }

    /// One command over a connection of its own.
    @discardableResult
    package func command(_ arguments: String...) throws -> Reply {
        try command(bytes: arguments.map { Array($0.utf8) })
    }

    /// The same for arguments of any bytes.
    @discardableResult
    package func command(bytes arguments: [[UInt8]]) throws -> Reply {
        try RedisSession(to: url, timeout: .seconds(10), loop: EventLoop()).replies(to: [arguments])[0]
    }

    /// What stands behind `name` in a section of INFO; nil if it is not there.
    package func information(_ section: String, _ name: String) throws -> String? {
        guard case .bytes(let information) = try command("INFO", section) else { return nil }
        let line = String(decoding: information, as: UTF8.self).split(whereSeparator: \.isNewline)
            .first { $0.hasPrefix(name + ":") }
        return line.map { String($0.dropFirst(name.utf8.count + 1)) }
    }
}
