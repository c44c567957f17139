// What the server that the tests start is: most of them do not ask.
import Foundation

enum ServerUnderTest {
    /// Its first line: `Valkey server v=8.0.1 …`, `Redis server v=7.0.15 …`.
    static let version = output("--version")

    /// Whether it has what came with Redis 7: functions, and scripts that begin with `#!lua`.
    static let hasFunctions = version.firstMatch(of: /v=(\d+)\./).flatMap { Int($0.1) } ?? 0 >= 7

    /// Redis without TLS, and with it if the programs under test have the trait and the server can.
    static let securities = takesTLS ? [false, true] : [false]

    #if TLS
        /// Neither starts: a server with TLS misses its certificate.
        static let takesTLS = output("--port", "0", "--tls-port", "1").contains("tls-cert-file")
    #else
        static let takesTLS = false
    #endif

    /// Everything that it prints when it is called so; empty if it cannot be called.
    private static func output(_ arguments: String...) -> String {
        guard let program = try? Installation.redisServer() else { return "" }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.standardOutput = pipe
        process.standardError = pipe
        guard (try? process.run()) != nil else { return "" }
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: output, as: UTF8.self)
    }
}
