// A program of a test: started, waited for, and ended with the object. Confined to one thread but for its
// output.
import Foundation
import Synchronization
import TestSupport

/// What keeps a test from going on.
struct Hopeless: Error, CustomStringConvertible {
    let description: String
}

/// Where the built programs are.
enum Installation {
    static func binary(_ name: String) throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let given = ProcessInfo.processInfo.environment["ROOMCAST_BIN"].flatMap { $0.isEmpty ? nil : $0 }
        let path = (given ?? root.appending(path: ".build/release").path) + "/\(name)"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw Hopeless(description: "\(path) is missing: swift build -c release, or set ROOMCAST_BIN")
        }
        return path
    }

    /// What rates and payloads are divided by that the programs must keep up with: a sanitizer slows them
    /// down.
    static let slowness = ProcessInfo.processInfo.environment["ROOMCAST_SANITIZER"] == nil ? 1 : 8
}

final class Child {
    private let process = Process()
    private let output = Collector()
    private let errors = Collector()

    init(_ name: String, _ arguments: [String]) throws {
        // `timeout` bounds its life even when the tests are killed; it passes signals on and the status
        // back.
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["timeout", "-k", "1", "1800", try Installation.binary(name)] + arguments
        process.standardOutput = output.pipe
        process.standardError = errors.pipe
        try process.runWithOpenSignals()
    }

    deinit { if process.isRunning { process.terminate() } }

    var outputText: String { output.text }
    var errorText: String { errors.text }
    var isRunning: Bool { process.isRunning }

    /// The process behind `timeout`.
    func programID() throws -> Int {
        var found: Int?
        try eventually("the program runs") {
            let path = "/proc/\(process.processIdentifier)/task/\(process.processIdentifier)/children"
            found = try String(contentsOfFile: path, encoding: .utf8).split(separator: " ").first
                .flatMap { Int($0) }
            return found != nil
        }
        return found ?? 0
    }

    /// Waits for the end; the texts are complete by then.
    ///
    /// - Returns: the exit code.
    func finish() throws -> Int32 {
        let deadline = ContinuousClock.now + .seconds(240)
        while process.isRunning || !output.isComplete || !errors.isComplete {
            guard ContinuousClock.now < deadline else { throw Hopeless(description: "it does not end") }
            usleep(5_000)
        }
        return process.terminationStatus
    }

    func terminate() throws {
        process.terminate()
        try eventually("the program ends") { !process.isRunning }
    }
}

/// Reads a pipe to its end on a thread of its own.
private final class Collector: Sendable {
    private let bytes = Mutex<(data: Data, isComplete: Bool)>((Data(), false))
    let pipe = Pipe()

    init() {
        let handle = pipe.fileHandleForReading
        Thread.detachNewThread { [self] in
            while case let chunk = handle.availableData, !chunk.isEmpty {
                bytes.withLock { $0.data += chunk }
            }
            bytes.withLock { $0.isComplete = true }
        }
    }

    var text: String { bytes.withLock { String(decoding: $0.data, as: UTF8.self) } }
    var isComplete: Bool { bytes.withLock { $0.isComplete } }
}

extension Process {
    /// Tests run on threads that block signals, and a child inherits the mask of the thread that starts it.
    fileprivate func runWithOpenSignals() throws {
        var open = sigset_t()
        var previous = sigset_t()
        sigemptyset(&open)
        pthread_sigmask(SIG_SETMASK, &open, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        try run()
    }
}

/// A built gateway on a free port, in front of a Redis of its own.
final class GatewayNode {
    let child: Child
    private(set) var endpoint = ""

    init(_ redis: RedisServer, options: [String] = []) throws {
        child = try Child(
            "gateway",
            [
                "--listen", "127.0.0.1:0", "--admin-listen", "off", "--workers", "1", "--redis",
                "redis://127.0.0.1:\(redis.port)",
            ] + options)
        let words = "listening on "
        try eventually("the gateway is ready") {
            guard child.isRunning else { throw Hopeless(description: "gateway: \(child.errorText)") }
            let log = child.errorText
            guard log.contains("info ready"), let start = log.range(of: words)?.upperBound else {
                return false
            }
            endpoint = String(log[start...].prefix { !$0.isWhitespace && $0 != "\"" && $0 != "," })
            return true
        }
    }

    /// Kills it as a crash would.
    func crash() throws { kill(pid_t(try child.programID()), SIGKILL) }
}
