// What a process uses at a moment, and what it leaves to the kernel, from /proc.
import Foundation

extension Child {
    /// Open descriptors.
    var descriptorCount: Int {
        get throws { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count }
    }

    /// User and system time since the start.
    var cpuTime: Duration {
        get throws {
            let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
            // The name, in parentheses, may hold blanks; times are the 14th and 15th field, in ticks.
            let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
            guard fields.count > 13, let user = Int(fields[11]), let system = Int(fields[12]) else {
                throw HarnessError("/proc/\(pid)/stat: \(text)")
            }
            return .milliseconds((user + system) * 1000 / sysconf(Int32(_SC_CLK_TCK)))
        }
    }

    /// Resident memory.
    var residentBytes: Int {
        get throws {
            let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            guard let line, let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
            else {
                throw HarnessError("/proc/\(pid)/status: \(text)")
            }
            return kibibytes << 10
        }
    }

    /// Changes the soft limit of open descriptors while the process runs.
    func limitDescriptors(to count: Int) async throws {
        let program = try Installation.system("prlimit", package: "util-linux")
        let result = try await driver.run([program, "--pid", "\(pid)", "--nofile=\(count):"])
        guard result.code == 0 else { throw HarnessError(result.errors) }
    }
}

extension GatewayNode {
    /// Connections that the node has closed while their peers had still something to take: the kernel's.
    func orphanCount() async throws -> Int? {
        try await driver.call("tcp_orphans", ["port": .number(Double(port))]).int
    }
}
