// The cores to which the calling thread is pinned. Any thread; one system call.

import CLibevent
import Glibc

/// The kernel's mask of cores (sched_setaffinity(2), taskset, cpusets).
package enum CoreAffinity {
    /// Room for 8,192 cores, the most that Linux can be built for.
    private static let maximumCoreCount = 8_192

    /// The cores on which the thread may run; nil if the kernel does not say.
    package static var coreCount: Int? {
        var mask = [UInt64](repeating: 0, count: maximumCoreCount / 64)
        let result = mask.withUnsafeMutableBytes { bytes in
            sched_getaffinity(0, bytes.count, bytes.baseAddress!.assumingMemoryBound(to: cpu_set_t.self))
        }
        let count = mask.reduce(0) { $0 + $1.nonzeroBitCount }
        return result == 0 && count > 0 ? count : nil
    }
}
