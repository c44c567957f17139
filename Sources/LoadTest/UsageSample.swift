// CPU time and memory of several processes. Any thread.

import System

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
