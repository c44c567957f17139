import Testing

@testable import Gateway

@Suite struct DateFieldTests {
    /// The example of RFC 9110 5.6.7, the first and the last second of a leap day, and the end of 32 bits.
    @Test(
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_294_967_296, "Sun, 07 Feb 2106 06:28:16 GMT"),
            (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
        ] as [(Int64, String)])
    func textHasTheFormOfTheStandard(seconds: Int64, text: String) {
        #expect(DateField.text(of: seconds) == text)
    }

    @Test func lineChangesWithTheSecond() {
        var field = DateField()
        let line = Array("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".utf8)
        #expect(field.line(at: 784_111_777_000) == line)
        #expect(field.line(at: 784_111_777_999) == line)
        #expect(String(decoding: field.line(at: 784_111_778_000), as: UTF8.self).contains("08:49:38"))
        #expect(field.line(at: 784_111_777_500) == line, "a clock that was set back is believed")
    }

    /// No clock of a machine shows such times; no answer may fail for one.
    @Test(arguments: [Int64.min, -1, Int64.max])
    func absurdTimesEndNothing(seconds: Int64) {
        #expect(DateField.text(of: seconds).hasSuffix(" GMT"))
    }
}
