// CPU time and memory of processes, from /proc. Any thread.

import Glibc

/// What a process has used up to now.
package struct ProcessUsage: Equatable, Sendable {
    /// Of all its threads since the start, to a tick of the kernel's clock (10 ms).
    package var userSeconds = 0.0
    package var systemSeconds = 0.0
    /// Resident memory, shared pages included.
    package var residentBytes = 0
    /// Resident memory, a shared page counted in part; nil where the system does not say, or was not asked.
    package var proportionalBytes: Int?

    /// Reads all figures of a process; nil if no process has this number. The last one costs the kernel a
    /// walk through all of the process's pages.
    package static func read(pid: Int) -> ProcessUsage? {
        guard var usage = read(directory: "/proc/\(pid)") else { return nil }
        usage.proportionalBytes = SmallFile.text(of: "/proc/\(pid)/smaps_rollup").flatMap(parse(rollup:))
        return usage
    }

    /// The figures of this process without the last; nil where /proc is not mounted.
    package static func own() -> ProcessUsage? { read(directory: "/proc/self") }

    /// CPU time of this process since its start, to the nanosecond.
    package static var ownCpuSeconds: Double {
        var time = timespec()
        // Cannot fail: the clock exists since Linux 2.6.12, and the address is ours.
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1_000_000_000
    }

    private static func read(directory: String) -> ProcessUsage? {
        SmallFile.text(of: directory + "/stat").flatMap(parse(stat:))
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
}
