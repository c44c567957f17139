import Glibc
import Testing

@testable import Gateway

@Suite struct ProcessUsageTests {
    @Test func residentPagesAreCountedInBytes() {
        let page = UInt64(sysconf(Int32(_SC_PAGESIZE)))
        #expect(ProcessUsage.residentBytes(ofStatm: "9000 1200 800 20 0 700 0\n") == 1200 * page)
        for line in ["", "9000", "9000 x 1", "1 18446744073709551615"] {
            #expect(ProcessUsage.residentBytes(ofStatm: line) == nil)
        }
    }

    @Test func descriptorsAreCountedUpToABound() throws {
        #expect(try #require(ProcessUsage.countedDescriptors(maximumCount: 1_000_000)) > 2)
        #expect(ProcessUsage.countedDescriptors(maximumCount: 2) == nil)
        // The kernel's own count, where it has one, is of another moment than ours: other tests open and close.
        #expect(try #require(ProcessUsage.now().descriptorCount) > 2)
        #expect(ProcessUsage.now().maximumDescriptorCount > 2)
    }

    @Test func figuresFollowTheProcess() throws {
        let before = ProcessUsage.now()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64 << 20, alignment: 4096)
        memset(memory, 1, 64 << 20)
        let after = ProcessUsage.now()
        memory.deallocate()
        #expect(after.cpuSeconds > before.cpuSeconds)
        // Other tests of the process may free meanwhile, but not half of it.
        #expect(try #require(after.residentBytes) > 32 << 20)
    }
}
