import Testing

@testable import EventLoop

@Suite struct MonotonicInstantTests {
    @Test func instantsAndDurationsAddUp() {
        let instant = MonotonicInstant(nanoseconds: 5_000)
        #expect((instant + .microseconds(3)).nanoseconds == 8_000)
        #expect(instant + .microseconds(3) - instant == .microseconds(3))
        #expect(instant - (instant + .seconds(2)) == .seconds(-2))
        #expect(instant < instant + .nanoseconds(1))
    }

    @Test func clockNeverGoesBack() {
        var last = MonotonicInstant.now
        for _ in 0..<1_000 {
            let next = MonotonicInstant.now
            #expect(next >= last)
            last = next
        }
    }

    @Test func systemErrorTellsCallAndReason() {
        #expect(SystemError(2, "open x").description == "open x: No such file or directory")
    }
}
