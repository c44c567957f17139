// Checks of the repository's files by scripts in Support, and of the scripts by copies with a mistake.
import Foundation
import Testing

/// A script that checks files below a directory and says what is wrong with them.
struct CheckScript {
    let name: String
    /// Where the repository has the files.
    let directory: URL
    /// The files and folders that the script reads; empty for the whole directory.
    var paths: [String] = []
    /// What follows the directory on its command line.
    var arguments: [String] = []

    /// Runs the script on the repository's own files, or on a copy of them.
    func run(on copy: URL? = nil) async throws -> Completed {
        let script = Installation.root.appending(path: "Tests/EndToEndTests/Support/\(name)").path
        return try await Driver.with { driver in
            try await driver.run(
                [try Installation.python(), "-B", script, (copy ?? directory).path] + arguments)
        }
    }

    /// Expects that the script finds a mistake in a file of a copy and names it with `words`.
    func expectFound(_ mistake: String, inPlaceOf text: String, in file: String, words: String) async throws
    {
        let copy = FileManager.default.temporaryDirectory.appending(path: "roomcast-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: copy) }
        if paths.isEmpty { try FileManager.default.copyItem(at: directory, to: copy) }
        for path in paths {
            let target = copy.appending(path: path)
            try FileManager.default.createDirectory(
                at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
            try FileManager.default.copyItem(at: directory.appending(path: path), to: target)
        }
        let path = copy.appending(path: file)
        let content = try String(contentsOf: path, encoding: .utf8)
        try #require(content.contains(text))
        try content.replacing(text, with: mistake).write(to: path, atomically: true, encoding: .utf8)
        let completed = try await run(on: copy)
        #expect(completed.code == 1, "\(completed.errors)")
        #expect(completed.output.contains(words), "\(completed.output)")
    }
}

extension Driver {
    /// Runs `body` with a driver of its own.
    static func with<Result: Sendable>(_ body: (Driver) async throws -> Result) async throws -> Result {
        let driver = try Driver()
        do {
            let result = try await body(driver)
            await driver.stop()
            return result
        } catch {
            await driver.stop()
            throw error
        }
    }
}
