import Testing

@testable import System

@Suite struct CalendarTextTests {
    @Test func timesHaveTheirTextInUTC() {
        #expect(
            CalendarText.utc(784_111_777, "%a, %d %b %Y %H:%M:%S GMT") == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(CalendarText.utc(4_294_967_296, "%Y-%m-%dT%H:%M:%S") == "2106-02-07T06:28:16")
        #expect(CalendarText.utc(.max, "%Y") == "1970", "no calendar has it")
        #expect(CalendarText.local(0, "%M:%S").hasSuffix(":00"))
    }

    @Test(arguments: [(0, ".000"), (1_042, ".042"), (999, ".999"), (5_100, ".100")] as [(Int64, String)])
    func fractionsHaveThreeDigits(milliseconds: Int64, text: String) {
        #expect(CalendarText.fraction(ofUnixMilliseconds: milliseconds) == text)
    }
}
