// The server of the tests themselves (TestSupport): which program it is, and what a wrong one leads to.
import Foundation
import TestSupport
import Testing

@Suite struct RedisServerTests {
    @Test func itIsTheProgramThatWasAskedFor() throws {
        let asked = ProcessInfo.processInfo.environment["ROOMCAST_REDIS_SERVER"] ?? ""
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [asked.isEmpty ? "redis-server" : asked, "--version"]
        process.standardOutput = pipe
        try process.run()
        let version = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let words = try #require(version.firstMatch(of: /(Redis|Valkey) server v=(\S+)/), "\(version)")
        let server = try RedisServer()
        let found = try server.information("server", "\(words.1.lowercased())_version")
        #expect(found == String(words.2))
    }

    /// Instead of waiting for an answer.
    @Test(arguments: ["/nowhere/valkey-server", "no-such-server", "true"])
    func aProgramThatEndsAtOnceIsReported(program: String) {
        let error = #expect(throws: ServerEnded.self) { _ = try RedisServer(program: program) }
        #expect(error?.description.hasPrefix("\(program) ended with ") == true)
    }
}
