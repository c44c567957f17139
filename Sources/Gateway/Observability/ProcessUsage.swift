// What this process has used, as the kernel tells it. Any thread; a few system calls.

import Glibc

/// CPU time, memory and descriptors of the own process at one moment.
struct ProcessUsage: Equatable {
    /// User and system time of all threads since the start, in seconds.
    var cpuSeconds: Double
    /// Resident memory, shared pages included; nil where /proc is not mounted.
    var residentBytes: UInt64?
    /// Open descriptors; nil where /proc is not mounted, and where they are too many to be counted one by one.
    var descriptorCount: UInt64?
    /// The most that may be open; `UInt64.max` without a limit.
    var maximumDescriptorCount: UInt64

    static func now() -> ProcessUsage {
        var time = timespec()
        // Cannot fail: the clock exists since Linux 2.6.12, and the address is ours.
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return ProcessUsage(
            cpuSeconds: Double(time.tv_sec) + Double(time.tv_nsec) / 1_000_000_000,
            residentBytes: statm().flatMap(residentBytes(ofStatm:)),
            descriptorCount: descriptors(), maximumDescriptorCount: UInt64(limit.rlim_cur))
    }

    /// The second number of /proc/PID/statm (proc(5)) counts resident pages; nil when the line is malformed.
    static func residentBytes(ofStatm line: String) -> UInt64? {
        let fields = line.split(separator: " ")
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
        let (bytes, isOver) = pages.multipliedReportingOverflow(by: UInt64(sysconf(Int32(_SC_PAGESIZE))))
        return isOver ? nil : bytes
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

    /// Since Linux 6.2 the size of the directory is the number (proc(5)); before it is 0, and entries are counted.
    private static func descriptors() -> UInt64? {
        var status = stat()
        guard stat("/proc/self/fd", &status) == 0 else { return nil }
        return status.st_size > 0 ? UInt64(status.st_size) : countedDescriptors(maximumCount: 50_000)
    }

    /// Counts the entries of /proc/self/fd, about a microsecond each.
    ///
    /// - Parameter maximumCount: beyond it nil, because counting would keep the loop.
    static func countedDescriptors(maximumCount: UInt64) -> UInt64? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count: UInt64 = 0
        while let entry = readdir(directory) {
            // "." and "..".
            if entry.pointee.d_name.0 == CChar(UInt8(ascii: ".")) { continue }
            count += 1
            if count > maximumCount { return nil }
        }
        // The directory's own.
        return count - 1
    }
}
