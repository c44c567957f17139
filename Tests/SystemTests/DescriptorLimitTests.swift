import Glibc
import Testing

@testable import System

@Suite struct DescriptorLimitTests {
    @Test func softLimitIsRaisedToTheHardOne() {
        let raised = DescriptorLimit.raise()
        #expect(raised > 2)
        #expect(DescriptorLimit.raise() == raised)
        #expect(DescriptorLimit.count == raised)
    }

    @Test func openDescriptorsAreCountedUpToABound() throws {
        #expect(try #require(DescriptorLimit.countedDescriptors(maximumCount: 1_000_000)) > 2)
        #expect(DescriptorLimit.countedDescriptors(maximumCount: 2) == nil)
        // The kernel's own count, where it has one, is of another moment than ours: other tests open and
        // close.
        #expect(try #require(DescriptorLimit.openCount) > 2)
    }
}
