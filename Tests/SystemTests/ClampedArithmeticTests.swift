import Testing

@testable import System

@Suite struct ClampedArithmeticTests {
    @Test func sumsStayAtTheEnds() {
        #expect(9_223_372_036_854_775_807.addingClamped(1) == Int.max)
        #expect(Int.min.addingClamped(-1) == Int.min)
        #expect(Int.max.addingClamped(Int.min) == -1)
        #expect(UInt64.max.addingClamped(1) == UInt64.max)
        #expect([Int.max, Int.max, -1].clampedSum == Int.max - 1)
        #expect([UInt64]().clampedSum == 0)
    }

    @Test func productsStayAtTheEnds() {
        #expect(Int.max.multipliedClamped(by: 4096) == Int.max)
        #expect(Int.max.multipliedClamped(by: -2) == Int.min)
        #expect(Int.min.multipliedClamped(by: -1) == Int.max)
        #expect(3.multipliedClamped(by: 4) == 12)
    }
}
