// Configurations and requests as the tests of this target need them.

import HTTP
import Options
import Testing

@testable import Gateway

/// Always the same digits. It has a property because the thread sanitizer falls over the address of an empty
/// value.
private struct ZeroGenerator: RandomNumberGenerator {
    let number: UInt64 = 0
    mutating func next() -> UInt64 { number }
}

/// A configuration from command-line arguments, on two cores.
func configuration(_ arguments: [String] = []) throws -> Configuration {
    guard case .run(let values) = try Configuration.program.parse(arguments, environment: { _ in nil })
    else {
        throw UsageError("printed")
    }
    var random = ZeroGenerator()
    return try Configuration(values, hostName: "host", coreCount: 3, random: &random)
}

/// A GET request with these field lines.
func request(_ method: String = "GET", _ fields: [String]) throws -> HttpRequestHead {
    let text = "\(method) / HTTP/1.1\r\nHost: x\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    let result = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 8192) }
    guard case .complete(let head) = result else { throw UsageError("not a request: \(text)") }
    return head
}
