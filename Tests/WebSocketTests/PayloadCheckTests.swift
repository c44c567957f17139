import Testing

@testable import WebSocket

@Suite struct PayloadCheckTests {
    @Test func tellsTextFromJsonFromBytes() {
        #expect(withRaw(#"{"type":"notice","data":{"text":"你好"}}"#, PayloadCheck.init) == .valid)
        #expect(withRaw("hello", PayloadCheck.init) == .notJson)
        #expect(withRaw("", PayloadCheck.init) == .notJson)
        #expect(withRaw([0x22, 0xFF, 0x22], PayloadCheck.init) == .notUtf8)
        #expect(withRaw([0x22, 0xE4, 0xBD, 0x22], PayloadCheck.init) == .notUtf8)
    }

    @Test func whatIsNeitherCountsAsNotUtf8() {
        #expect(withRaw([0xFF, 0x7B], PayloadCheck.init) == .notUtf8)
    }
}
