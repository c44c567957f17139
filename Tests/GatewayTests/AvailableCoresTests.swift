import Testing

@testable import Gateway

@Suite struct AvailableCoresTests {
    private static let unifiedMounts =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    private static let legacyMounts = """
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
        33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset

        """

    private func cores(_ groups: String?, _ mounts: String?, _ files: [String: String]) -> Double? {
        CpuQuota.cores(groups: groups, mounts: mounts) { files[$0] }
    }

    @Test func smallestQuotaOnTheWayUpCounts() {
        let files = [
            "/sys/fs/cgroup/a/b/cpu.max": "250000 100000\n", "/sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "/sys/fs/cgroup/cpu.max": "max 100000\n",
        ]
        #expect(cores("0::/a/b\n", Self.unifiedMounts, files) == 1.5)
        #expect(cores("0::/a\n", Self.unifiedMounts, files) == 1.5)
        #expect(cores("0::/\n", Self.unifiedMounts, files) == nil)
        #expect(
            cores("0::/other\n", Self.unifiedMounts, files) == nil, "a group without a file has no limit")
    }

    /// In a container with a namespace of its own the group is the root, and has a limit all the same.
    @Test func rootOfANamespaceMayHaveAQuota() {
        #expect(cores("0::/\n", Self.unifiedMounts, ["/sys/fs/cgroup/cpu.max": "50000 100000\n"]) == 0.5)
    }

    @Test func firstVersionHasTwoFiles() {
        let files = [
            "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n",
            "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        ]
        #expect(cores("4:cpuset:/\n3:cpu,cpuacct:/a\n0::/\n", Self.legacyMounts, files) == 3)
        #expect(cores("3:cpu,cpuacct:/\n", Self.legacyMounts, files) == nil)
        #expect(cores("3:cpuacct,cpuset:/a\n", Self.legacyMounts, files) == nil)
    }

    /// A container without a namespace of its own sees its group under the mount's root.
    @Test func mountMayShowAPartOfTheTree() {
        let mounts = "32 31 0:29 /docker/x /sys/fs/cgroup/cpu ro master:3 - cgroup cgroup rw,cpu\n"
        let files = [
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "/sys/fs/cgroup/cpu/in/cpu.cfs_quota_us": "100000",
            "/sys/fs/cgroup/cpu/in/cpu.cfs_period_us": "100000",
        ]
        #expect(cores("1:cpu:/docker/x\n", mounts, files) == 2)
        #expect(cores("1:cpu:/docker/x/in\n", mounts, files) == 1)
        #expect(cores("1:cpu:/docker/other\n", mounts, files) == 2)
    }

    @Test(arguments: [
        nil, "", "\n", "max\n", "max 100000\n", "100000\n", "100000 0\n", "0 100000\n", "-1 100000\n",
        "1e5 100000\n",
        "100000 100000 100000\n", "99999999999999999999 100000\n", "100000 -100000\n", "\u{0}\n",
        "max max\n",
    ])
    func malformedQuotaIsNone(text: String?) {
        #expect(CpuQuota.unified(text) == nil)
        #expect(CpuQuota.legacy(text, "100000\n") == (text == "100000\n" ? 1 : nil))
        #expect(CpuQuota.legacy("100000\n", text) == (text == "100000\n" ? 1 : nil))
    }

    @Test(arguments: [
        nil, "", "0\n", "0:\n", "0::\n", "::\n", "0::a\n", "0::/../a\n", "0::/a/../..\n", "1:cpu\n",
        "\u{FFFD}",
        "0::" + String(repeating: "/a", count: 10_000) + "\n",
    ])
    func malformedGroupsAreNone(groups: String?) {
        #expect(cores(groups, Self.unifiedMounts, ["/sys/fs/cgroup/cpu.max": "100000 100000"]) == nil)
    }

    @Test(arguments: [
        nil, "", "-", "- cgroup2\n", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2\n",
        "29 23 0:26 - cgroup2 cgroup2 rw\n",
        "29 23 0:26 / /sys/fs/cgroup rw shared:9 cgroup2 cgroup2 rw\n",
    ])
    func malformedMountsAreNone(mounts: String?) {
        #expect(cores("0::/\n", mounts, ["/sys/fs/cgroup/cpu.max": "100000 100000"]) == nil)
    }

    @Test func thisProcessMayUseAtLeastOne() {
        #expect(AvailableCores.count() >= 1)
    }
}
