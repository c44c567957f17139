// clients/python: its own tests, which start the nodes, Redis and nginx that they need.
import Foundation
import Testing

@Suite struct PythonClientTests {
    private static let folder = Installation.root.appending(path: "clients/python")
    private static let files =
        (try? FileManager.default.contentsOfDirectory(
            atPath: folder.appending(path: "tests").path))?
        .filter { $0.hasPrefix("test_") }.sorted() ?? []

    /// Each file beside the others, because they mostly wait. A file without tests fails.
    @Test(arguments: files) func behaviour(file: String) async throws {
        try await Self.expectSuccess(["pytest", "tests/\(file)"])
    }

    @Test func everyFileIsFound() {
        #expect(Self.files.count >= 9, "\(Self.files)")
    }

    @Test func typesHold() async throws {
        try await Self.expectSuccess(["mypy", "--no-incremental"])
    }

    @Test func formIsKept() async throws {
        try await Self.expectSuccess(["ruff", "check", "--no-cache"])
    }

    private static func expectSuccess(_ module: [String]) async throws {
        let gateway = URL(filePath: try Installation.binary("gateway"))
        let run = try await Driver.with { driver in
            try await driver.run(
                ["env", "-C", folder.path, try Installation.python(), "-B", "-m"] + module,
                environment: ["ROOMCAST_BIN": gateway.deletingLastPathComponent().path])
        }
        #expect(run.code == 0, "\(run.output.suffix(8000))\(run.errors)")
    }
}
