// The Python process that holds the independent clients and all other processes of one cluster
// (Support/driver.py). Requests and answers are JSON lines over its stdin and stdout; any task may call,
// answers come in any order.
import Foundation
import Synchronization

final class Driver: Sendable {
    private struct State {
        var lastNumber = 0
        var waiting: [Int: CheckedContinuation<JSON, any Error>] = [:]
        var received = Data()
        var ended = false
        var onEnd: [CheckedContinuation<Void, Never>] = []

        /// Takes the lines that `piece` completes. Only `piece` is searched: an answer with a payload of 1
        /// MiB comes in many pieces.
        mutating func lines(adding piece: Data) -> [Data] {
            let parts = piece.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            var lines: [Data] = []
            for part in parts.dropLast() {
                lines.append(received + part)
                received = Data()
            }
            received.append(parts.last ?? Data())
            return lines
        }
    }

    private let state = Mutex(State())
    private let process = Process()
    private let input = Mutex(Pipe())
    private let output = Pipe()
    /// For logs and files of the processes; gone when the driver is stopped.
    let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "roomcast-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        process.executableURL = URL(filePath: try Installation.python())
        // -B: no cache files in the source tree.
        let script = Installation.root.appending(path: "Tests/EndToEndTests/Support/driver.py").path
        process.arguments = ["-B", script, directory.path]
        input.withLock { process.standardInput = $0 }
        process.standardOutput = output
        try process.run()
        // A thread that blocks, not a readability handler: libdispatch can fall over a descriptor that is
        // closed and used again by another pipe while its event is under way.
        Thread.detachNewThread { [self] in
            var isOpen = true
            while isOpen {
                let piece = output.fileHandleForReading.availableData
                isOpen = !piece.isEmpty
                receive(piece)
            }
        }
    }

    /// Sends a request and awaits its answer.
    /// - Throws: `HarnessError` with the driver's words when the operation failed there.
    @discardableResult
    func call(_ operation: String, _ arguments: [String: JSON]) async throws -> JSON {
        try await withCheckedThrowingContinuation { continuation in
            let number = state.withLock { state in
                state.lastNumber += 1
                if !state.ended { state.waiting[state.lastNumber] = continuation }
                return state.ended ? nil : state.lastNumber
            }
            guard let number else {
                continuation.resume(throwing: HarnessError("\(operation): the driver has ended"))
                return
            }
            let request: JSON = [
                "i": .number(Double(number)), "op": .string(operation), "with": .object(arguments),
            ]
            do {
                let line = try JSONEncoder().encode(request) + Data("\n".utf8)
                // A lock of its own: while this waits for room in the pipe, answers must be taken, or the
                // driver would wait for room in the other one.
                try input.withLock { try $0.fileHandleForWriting.write(contentsOf: line) }
            } catch {
                state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(throwing: error)
            }
        }
    }

    /// Ends the driver, which kills every process that it started and removes the directory.
    func stop() async {
        input.withLock { try? $0.fileHandleForWriting.close() }
        await withCheckedContinuation { continuation in
            let ended = state.withLock { state in
                if !state.ended { state.onEnd.append(continuation) }
                return state.ended
            }
            if ended { continuation.resume() }
        }
        process.waitUntilExit()
    }

    private func receive(_ piece: Data) {
        var answers: [(CheckedContinuation<JSON, any Error>, JSON)] = []
        var abandoned: [CheckedContinuation<JSON, any Error>] = []
        var onEnd: [CheckedContinuation<Void, Never>] = []
        state.withLock { state in
            for line in state.lines(adding: piece) {
                guard let answer = try? JSONDecoder().decode(JSON.self, from: line),
                    let continuation = answer["i"].int.flatMap({ state.waiting.removeValue(forKey: $0) })
                else { continue }
                answers.append((continuation, answer))
            }
            if piece.isEmpty {
                state.ended = true
                abandoned = Array(state.waiting.values)
                state.waiting = [:]
                swap(&onEnd, &state.onEnd)
            }
        }
        for (continuation, answer) in answers {
            if let error = answer["error"].string {
                continuation.resume(throwing: HarnessError(error))
            } else {
                continuation.resume(returning: answer["ok"])
            }
        }
        for continuation in abandoned { continuation.resume(throwing: HarnessError("the driver has ended")) }
        for continuation in onEnd { continuation.resume() }
    }
}
