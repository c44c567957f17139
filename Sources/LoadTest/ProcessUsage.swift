// CPU time and memory of processes, from /proc. Any thread.

import Glibc

/// What a process has used up to now.
struct ProcessUsage: Equatable, Sendable {
    var userSeconds = 0.0
    var systemSeconds = 0.0
    /// Resident memory, shared pages included.
    var residentBytes = 0
    /// Resident memory, a shared page counted in part; nil where the system does not tell.
    var proportionalBytes: Int?

    /// Reads the figures of a process; nil when there is none of this number.
    static func read(pid: Int) -> ProcessUsage? {
        guard let stat = text(ofFile: "/proc/\(pid)/stat"), var usage = parse(stat: stat) else { return nil }
        usage.proportionalBytes = text(ofFile: "/proc/\(pid)/smaps_rollup").flatMap(parse(rollup:))
        return usage
    }

    /// The line of /proc/PID/stat (proc(5)); nil when it is malformed.
    static func parse(stat: String) -> ProcessUsage? {
        // The name, in parentheses, may hold blanks and parentheses itself.
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(whereSeparator: \.isWhitespace)
        guard fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]),
            let pages = Int(fields[21])
        else { return nil }
        let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        return ProcessUsage(
            userSeconds: user / ticksPerSecond, systemSeconds: system / ticksPerSecond,
            residentBytes: pages.multipliedClamped(by: sysconf(Int32(_SC_PAGESIZE))), proportionalBytes: nil)
    }

    /// The `Pss:` line of /proc/PID/smaps_rollup.
    static func parse(rollup: String) -> Int? {
        for line in rollup.split(separator: "\n") where line.hasPrefix("Pss:") {
            return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
                .map { $0.multipliedClamped(by: 1024) }
        }
        return nil
    }

    /// The whole of a small file; nil when it cannot be read.
    private static func text(ofFile path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 16 << 10)
        let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

/// The figures of several processes at one moment.
struct UsageSample: Sendable {
    let usages: [Int: ProcessUsage]

    /// Reads all of `pids`; one that has ended is left out.
    init(pids: [Int]) {
        var usages: [Int: ProcessUsage] = [:]
        for pid in pids { usages[pid] = ProcessUsage.read(pid: pid) }
        self.usages = usages
    }

    /// CPU time used since an earlier sample, by the processes that are in both.
    func cpu(since earlier: UsageSample) -> CpuTime {
        var time = CpuTime()
        for (pid, usage) in usages {
            guard let before = earlier.usages[pid] else { continue }
            time.userSeconds += usage.userSeconds - before.userSeconds
            time.systemSeconds += usage.systemSeconds - before.systemSeconds
        }
        return time
    }

    var residentBytes: Int { usages.values.map(\.residentBytes).clampedSum }

    /// nil when it is not known of every process.
    var proportionalBytes: Int? {
        let parts = usages.values.compactMap(\.proportionalBytes)
        return parts.count == usages.count && !parts.isEmpty ? parts.clampedSum : nil
    }
}

/// CPU time over a span.
struct CpuTime: Codable, Equatable, Sendable {
    var userSeconds = 0.0
    var systemSeconds = 0.0
    var seconds: Double { userSeconds + systemSeconds }
}
