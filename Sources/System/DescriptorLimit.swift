// How many descriptors this process may open, and has open. Any thread.

import Glibc

/// The process's limit of open descriptors.
package enum DescriptorLimit {
    /// The most that may be open; `Int.max` without a limit.
    package static var count: Int { Int(clamping: current.rlim_cur) }

    /// Raises the soft limit to the hard one, which any process may; returns what holds then.
    package static func raise() -> Int {
        var limit = current
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return count
    }

    /// Descriptors that are open; nil where /proc is not mounted, and where they are too many to be counted
    /// one by one. Since Linux 6.2 the size of the directory is the number (proc(5)); before it is 0, and
    /// entries are counted.
    package static var openCount: Int? {
        var status = stat()
        guard stat("/proc/self/fd", &status) == 0 else { return nil }
        return status.st_size > 0 ? Int(status.st_size) : countedDescriptors(maximumCount: 50_000)
    }

    /// Counts the entries of /proc/self/fd, about a microsecond each.
    ///
    /// - Parameter maximumCount: beyond it nil, because counting would keep the loop.
    static func countedDescriptors(maximumCount: Int) -> Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while let entry = readdir(directory) {
            // "." and "..".
            if entry.pointee.d_name.0 == CChar(UInt8(ascii: ".")) { continue }
            count += 1
            if count > maximumCount { return nil }
        }
        // The directory's own.
        return count - 1
    }

    private static var current: rlimit {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit
    }
}
