// A process whose words are collected while it runs.
import Foundation
import Synchronization
import TestSupport
import Testing

/// A started process.
final class Child {
    private let process = Process()
    private let input = Pipe()
    private let output = Collector()
    private let errors = Collector()

    /// - Parameter variables: the whole environment besides PATH and where sanitizers report.
    init(_ path: String, _ arguments: [String], variables: [String: String] = [:]) throws {
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let kept = ProcessInfo.processInfo.environment.filter {
            $0.key == "PATH" || $0.key.hasSuffix("SAN_OPTIONS")
        }
        process.environment = variables.merging(kept) { given, _ in given }
        process.standardInput = input
        process.standardOutput = output.pipe
        process.standardError = errors.pipe
        try process.runWithOpenSignals()
    }

    deinit { if process.isRunning { process.terminate() } }

    /// The built publisher, which stands beside the tests.
    static func publisher(_ arguments: [String], variables: [String: String] = [:]) throws -> Child {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let directory = URL(fileURLWithPath: tests).deletingLastPathComponent()
        return try Child(directory.appendingPathComponent("publisher").path, arguments, variables: variables)
    }

    var processID: pid_t { process.processIdentifier }
    var isRunning: Bool { process.isRunning }

    /// Whether the process has a handler for a signal (proc(5), SigCgt).
    func catches(_ number: Int32) throws -> Bool {
        let status = try String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8)
        let mask = status.firstMatch(of: #/SigCgt:\s*([0-9a-f]+)/#).flatMap { UInt64($0.1, radix: 16) } ?? 0
        return mask & (1 << UInt64(number - 1)) != 0
    }

    var outputText: String { output.text }
    var errorText: String { errors.text }

    func write(_ text: String) throws { try input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }

    func interrupt() { process.interrupt() }

    /// Closes stdin and waits for the end.
    ///
    /// - Returns: the exit code; the texts are complete by then.
    func finish() throws -> Int32 {
        try input.fileHandleForWriting.close()
        try eventually("\(process.executableURL?.lastPathComponent ?? "") ends") { !process.isRunning }
        try eventually("its output ends") { output.isComplete && errors.isComplete }
        #expect(process.terminationReason == .exit)
        return process.terminationStatus
    }

    func terminate() throws {
        process.terminate()
        try eventually("the child ends") { !process.isRunning }
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
    /// Tests run on threads that block all signals, and a child inherits the mask of the thread that starts
    /// it: without this neither SIGINT nor SIGTERM would ever reach it.
    func runWithOpenSignals() throws {
        var open = sigset_t()
        var previous = sigset_t()
        sigemptyset(&open)
        pthread_sigmask(SIG_SETMASK, &open, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        try run()
    }
}
