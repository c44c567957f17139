// The step from the process to its configuration: arguments, environment, host name, cores.

import Glibc
import Options
import RedisSchema

extension Configuration {
    /// The outcome of reading the command line.
    enum Request {
        case run(Configuration)
        /// To print this text to stdout and exit with 0.
        case print(String)
    }

    /// Reads this process's command line and environment.
    ///
    /// - Parameter arguments: without the program's own name.
    /// - Throws: `UsageError`: one line for stderr, exit 2.
    static func read(
        _ arguments: [String],
        environment: (String) throws(UsageError) -> String? = ProcessEnvironment.text(of:)
    ) throws(UsageError) -> Request {
        switch try program.parse(arguments, environment: environment) {
        case .print(let text):
            return .print(text)
        case .run(let values):
            var random = RandomPool()
            return .run(
                try Configuration(
                    values, hostName: hostName(), coreCount: AvailableCores.count(), random: &random))
        }
    }

    /// The kernel's host name; "node" in the unlikely case that it has none.
    static func hostName() -> String {
        // HOST_NAME_MAX is 64 on Linux; the last byte stays zero whatever gethostname writes.
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "node" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
