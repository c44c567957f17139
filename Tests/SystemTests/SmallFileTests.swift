import Glibc
import Testing

@testable import System

@Suite struct SmallFileTests {
    @Test func aFileWithoutASizeIsReadWholeOrUpToTheBound() throws {
        let whole = try #require(SmallFile.text(of: "/proc/self/status"))
        #expect(whole.hasPrefix("Name:") && whole.hasSuffix("\n"))
        #expect(SmallFile.text(of: "/proc/self/status", maximumBytes: 5) == "Name:")
    }

    @Test func whatCannotBeReadIsNothing() {
        #expect(SmallFile.text(of: "/proc/self/none") == nil)
        #expect(SmallFile.text(of: "/proc/self") == nil)
    }
}
