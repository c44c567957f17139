import Bytes
import TestSupport
import Testing

@testable import JSON

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

    @Test(arguments: [
        (#"{"a":1} x"#, "expected the end at byte 8, found x"),
        ("", "expected a value at byte 0, found the end"),
        ("  ", "expected a value at byte 2, found the end"),
        ("hello", "expected a value at byte 0, found h"),
        (#"{"a":1"#, "expected a comma or } at byte 6, found the end"),
        (#"{"a":1]"#, "expected a comma or } at byte 6, found ]"),
        ("[1}", "expected a comma or ] at byte 2, found }"),
        ("[1 2]", "expected a comma or ] at byte 3, found 2"),
        ("{a:1}", "expected a name in quotes at byte 1, found a"),
        (#"{"a":1,}"#, "expected a name in quotes at byte 7, found }"),
        ("[1,]", "expected a value at byte 3, found ]"),
        (#"{"a" 1}"#, "expected a colon at byte 5, found 1"),
        ("tru", "expected true at byte 3, found the end"),
        ("nulL", "expected null at byte 3, found L"), ("01", "expected the end at byte 1, found 1"),
        ("-", "expected a digit at byte 1, found the end"), ("1.x", "expected a digit at byte 2, found x"),
        ("1e+", "expected a digit at byte 3, found the end"),
        ("\"a", "expected a quote at the string's end at byte 2, found the end"),
        ("\"a\nb\"", "expected an escape, as strings hold no control characters at byte 2, found 0x0a"),
        ("\"\\x\"", "expected an escape's letter at byte 2, found x"),
        ("\"\\", "expected an escape's letter at byte 2, found the end"),
        ("\"\\u12x4\"", "expected a hex digit at byte 5, found x"),
        ("\"\\u12", "expected a hex digit at byte 5, found the end"),
        ("\u{FEFF}1", "expected a value at byte 0, found 0xef"),
        ("'a'", "expected a value at byte 0, found '"),
    ])
    func faultSaysWhereTheJsonEnds(payload: String, fault: String) {
        #expect(withRaw(payload) { PayloadCheck.fault(in: $0) } == fault)
        #expect(withRaw(payload, PayloadCheck.init) == .notJson)
    }

    @Test func faultOfDeepNestingIsTheBracketTooMany() {
        let deep = String(repeating: "[", count: JsonValidator.maximumDepth + 1)
        #expect(
            withRaw(deep) { PayloadCheck.fault(in: $0) } == "expected no deeper nesting at byte 512, found ["
        )
    }

    @Test func faultSaysWhereTheTextStopsBeingUtf8() {
        #expect(
            withRaw([0x22, 0xFF, 0x22]) { PayloadCheck.fault(in: $0) }
                == "expected UTF-8 at byte 1, found 0xff")
        #expect(
            withRaw([0x22, 0xE4, 0xBD]) { PayloadCheck.fault(in: $0) }
                == "expected UTF-8 at byte 3, found the end")
        // The pieces of the search do not show.
        for offset in [4094, 4095, 4096, 4097, 8192, 9999] {
            var bytes = [UInt8](repeating: 0x61, count: 10_000)
            bytes.replaceSubrange(4090..<4093, with: Array("你".utf8))
            if offset > 4096 { bytes.replaceSubrange(4095..<4098, with: Array("你".utf8)) }
            if offset == 4097 { bytes[4098] = 0x80 } else { bytes[offset] = 0xFF }
            let at = offset == 4097 ? 4098 : offset
            #expect(withRaw(bytes) { Utf8Validator.fault(in: $0) } == at, "\(offset)")
        }
    }

    @Test func validPayloadHasNoFault() {
        for payload in ["1", " {\"a\":[true,null,-0.5e+1,\"\\u00e9\\n\"]} ", "\"你好\""] {
            #expect(withRaw(payload) { PayloadCheck.fault(in: $0) } == nil)
        }
    }
}
