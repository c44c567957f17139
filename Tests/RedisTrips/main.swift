// What a round trip to Redis costs, for scripts/bench: PINGs, some at a time, one trip after another. Prints a line of
// JSON. Not shipped. Usage: RedisTrips SECONDS COMMANDS-A-TRIP URL [FILE-OF-AUTHORITIES]

import EventLoop
import Glibc
import Redis
import System

/// Trips at the beginning that are not counted: memory that grows to its size is not the cost of a trip.
let warmUpCount = 200

func fail(_ message: String) -> Never {
    print("RedisTrips: \(message)")
    exit(2)
}

func connect(_ text: String, authorityPath: String?) throws -> RedisSession {
    var url = try RedisURL(text)
    if url.isTLS { url = url.secured(by: try TLSContext(TLSSettings(authorityPath: authorityPath))) }
    return try RedisSession(to: url, timeout: .seconds(10), loop: EventLoop())
}

func measure(_ session: RedisSession, seconds: Int, commandCount: Int) throws {
    let commands = Array(repeating: RedisCommand([[UInt8]("PING")]), count: commandCount)
    for _ in 0..<warmUpCount { try session.call(commands) { _, _ in } }
    var trips: [Double] = []
    let (cpu, start) = (ProcessUsage.ownCpuSeconds, ContinuousClock.now)
    var now = start
    while now - start < .seconds(seconds) {
        let before = now
        try session.call(commands) { _, _ in }
        now = .now
        trips.append((now - before) / .microseconds(1))
    }
    let (cpuSeconds, elapsed) = (ProcessUsage.ownCpuSeconds - cpu, (now - start) / .seconds(1))
    trips.sort()
    let (p50, p99) = (trips[trips.count / 2], trips[trips.count * 99 / 100])
    print(
        #"{"trips":\#(trips.count),"commands":\#(trips.count * commandCount),"seconds":\#(elapsed),"#
            + #""p50Microseconds":\#(p50),"p99Microseconds":\#(p99),"cpuSeconds":\#(cpuSeconds)}"#)
}

let arguments = CommandLine.arguments
guard (4...5).contains(arguments.count), let seconds = Int(arguments[1]),
    let commandCount = Int(arguments[2]),
    seconds > 0, commandCount > 0
else { fail("expected SECONDS COMMANDS-A-TRIP URL [FILE-OF-AUTHORITIES]") }
do {
    try measure(
        try connect(arguments[3], authorityPath: arguments.count > 4 ? arguments[4] : nil), seconds: seconds,
        commandCount: commandCount)
} catch {
    fail("\(error)")
}
