// How many cores the process may use: by its pinning, and by its control groups. Used once, at the start.

import EventLoop
import Glibc
import System

/// The number of threads that can run at the same time.
enum AvailableCores {
    /// At least 1.
    static func count() -> Int {
        let pinned = CoreAffinity.coreCount ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let quota = CpuQuota.cores(
            groups: text(of: "/proc/self/cgroup"), mounts: text(of: "/proc/self/mountinfo"), read: text(of:))
        // Half a core still needs a thread.
        let granted = quota.map { Int(min($0.rounded(.up), Double(pinned))) } ?? pinned
        return max(1, granted)
    }

    private static func text(of path: String) -> String? {
        SmallFile.text(of: path, maximumBytes: Limits.controlGroupFileBytes)
    }
}

/// The CPU time that control groups grant a process (cgroups(7)), in cores. Pure: the files are given.
enum CpuQuota {
    /// The smallest quota of the process's group and the visible groups around it; nil is no limit. A
    /// missing or malformed file is no limit either.
    ///
    /// - Parameters:
    ///   - groups: /proc/self/cgroup: lines `<number>:<controllers>:<path>`; of version 2 the controllers are
    ///     empty.
    ///   - mounts: /proc/self/mountinfo (proc_pid_mountinfo(5)).
    ///   - read: the text of a file, nil if there is none.
    static func cores(groups: String?, mounts: String?, read: (String) -> String?) -> Double? {
        guard let groups, let mounts else { return nil }
        var smallest: Double?
        for line in groups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let controllers = parts[1].split(separator: ",")
            let isUnified = parts[1].isEmpty
            guard isUnified || controllers.contains("cpu"),
                let mount = Mount.find(in: mounts, controller: isUnified ? nil : "cpu")
            else { continue }
            for directory in mount.directories(of: parts[2]) {
                let quota =
                    isUnified
                    ? unified(read(directory + "/cpu.max"))
                    : legacy(read(directory + "/cpu.cfs_quota_us"), read(directory + "/cpu.cfs_period_us"))
                if let quota { smallest = min(smallest ?? quota, quota) }
            }
        }
        return smallest
    }

    /// `max 100000` is no limit, `150000 100000` one and a half cores.
    static func unified(_ text: String?) -> Double? {
        let words = (text ?? "").split { $0 == " " || $0 == "\n" }
        guard words.count == 2 else { return nil }
        return quotient(words[0], words[1])
    }

    /// A quota of -1 is no limit.
    static func legacy(_ quota: String?, _ period: String?) -> Double? {
        let words = [quota, period].map { ($0 ?? "").split(separator: "\n") }
        guard words[0].count == 1, words[1].count == 1 else { return nil }
        return quotient(words[0][0], words[1][0])
    }

    private static func quotient(_ quota: Substring, _ period: Substring) -> Double? {
        guard let quota = Int(quota), let period = Int(period), quota > 0, period > 0 else { return nil }
        return Double(quota) / Double(period)
    }

    /// Where a hierarchy of groups can be seen.
    private struct Mount {
        /// The group that the mount shows: `/`, or in a container without a namespace of its own that of the
        /// container.
        let root: Substring
        let point: Substring

        /// - Parameter controller: of version 1; nil is version 2.
        static func find(in mounts: String, controller: Substring?) -> Mount? {
            for line in mounts.split(separator: "\n") {
                // 36 35 0:30 /root /point options - type source super-options
                let words = line.split(separator: " ")
                guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count > dash + 3 else {
                    continue
                }
                let isFound =
                    controller.map {
                        words[dash + 1] == "cgroup" && words[dash + 3].split(separator: ",").contains($0)
                    }
                    ?? (words[dash + 1] == "cgroup2")
                if isFound { return Mount(root: words[3], point: words[4]) }
            }
            return nil
        }

        /// The directories of a group and of those around it, as far as the mount shows them.
        func directories(of group: Substring) -> [String] {
            // A process that was moved out of its namespace's root: its group cannot be seen.
            guard group.hasPrefix("/"), !group.split(separator: "/").contains("..") else { return [] }
            var path = group
            if root != "/" {
                guard path == root || path.hasPrefix(root + "/") else { return [String(point)] }
                path = path.dropFirst(root.count)
            }
            var names = path.split(separator: "/")
            guard names.count <= Limits.controlGroupDepth else { return [] }
            var directories: [String] = []
            while true {
                directories.append(([point] + names).joined(separator: "/"))
                guard !names.isEmpty else { return directories }
                names.removeLast()
            }
        }
    }
}
