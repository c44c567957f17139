import Glibc
import Testing

@testable import System

@Suite struct ProcessUsageTests {
    @Test func aNameWithBlanksAndParenthesesDoesNotShiftTheFields() throws {
        let fields = (3...52).map { $0 == 3 ? "S" : "\($0)" }.joined(separator: " ")
        let usage = try #require(ProcessUsage.parse(stat: "12 (a) b (c)) \(fields)\n"))
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        #expect(usage.userSeconds == 14 / ticks && usage.systemSeconds == 15 / ticks)
        #expect(usage.residentBytes == 24 * sysconf(Int32(_SC_PAGESIZE)))
    }

    @Test func malformedIsNothing() {
        let largest = "1 (a) S" + String(repeating: " 9223372036854775807", count: 40)
        #expect(ProcessUsage.parse(stat: largest)?.residentBytes == .max)
        #expect(ProcessUsage.parse(rollup: "Pss: 9223372036854775807 kB\n") == .max)
        #expect(ProcessUsage.parse(stat: "") == nil)
        #expect(ProcessUsage.parse(stat: "1 (a) S 1 2") == nil)
        #expect(ProcessUsage.parse(rollup: "Rss: 1 kB\n") == nil)
        #expect(ProcessUsage.parse(rollup: "Rss: 1 kB\nPss:      12 kB\n") == 12 * 1024)
    }

    @Test func thisProcessHasFigures() throws {
        let usage = try #require(ProcessUsage.read(pid: Int(getpid())))
        #expect(usage.residentBytes > 1 << 20)
        #expect(ProcessUsage.read(pid: Int(Int32.max)) == nil)
    }

    @Test func figuresFollowTheProcess() throws {
        let before = ProcessUsage.ownCpuSeconds
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64 << 20, alignment: 4096)
        memset(memory, 1, 64 << 20)
        let after = try #require(ProcessUsage.own())
        memory.deallocate()
        #expect(ProcessUsage.ownCpuSeconds > before)
        // Other tests of the process may free meanwhile, but not half of it.
        #expect(after.residentBytes > 32 << 20)
    }
}
