import Testing

@testable import System

@Suite struct DurationUnitsTests {
    @Test func whatIsFinerThanTheUnitIsCutOff() {
        #expect(Duration.milliseconds(1_234).wholeNanoseconds == 1_234_000_000)
        let fraction = Duration(secondsComponent: 0, attosecondsComponent: 999)
        #expect((Duration.nanoseconds(7) + fraction).wholeNanoseconds == 7)
        #expect(Duration.nanoseconds(1_999_999).wholeMilliseconds == 1)
        #expect(Duration.seconds(3_600).wholeMilliseconds == 3_600_000)
        #expect(Duration.zero.wholeNanoseconds == 0)
        #expect(Duration.milliseconds(1_500).inSeconds == 1.5)
        #expect(Duration.seconds(2).isWholeSeconds && !Duration.milliseconds(2_001).isWholeSeconds)
    }
}
