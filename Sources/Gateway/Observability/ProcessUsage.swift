// What this process has used, as the kernel tells it. Any thread; two system calls, or four.

import Glibc

/// CPU time and memory of the own process at one moment.
struct ProcessUsage: Equatable {
    /// User and system time of all threads since the start, in seconds.
    var cpuSeconds: Double
    /// Resident memory, shared pages included; nil where /proc is not mounted.
    var residentBytes: UInt64?

    static func now() -> ProcessUsage {
        var time = timespec()
        // Cannot fail: the clock exists since Linux 2.6.12, and the address is ours.
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return ProcessUsage(
            cpuSeconds: Double(time.tv_sec) + Double(time.tv_nsec) / 1_000_000_000,
            residentBytes: statm().flatMap(residentBytes(ofStatm:)))
    }

    /// The second number of /proc/PID/statm (proc(5)) counts resident pages; nil when the line is malformed.
    static func residentBytes(ofStatm line: String) -> UInt64? {
        let fields = line.split(separator: " ")
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
        return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    }

    private static func statm() -> String? {
        let descriptor = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        // Seven numbers of at most 20 digits.
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
