import TestSupport
import Testing

@testable import Bytes

@Suite struct AsciiTests {
    @Test func tokenBytesAreThoseOfTheGrammar() {
        let grammar = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        let found = (UInt8.min...UInt8.max).filter(Ascii.isTokenByte)
        #expect(found == Array(grammar.utf8).sorted())
    }

    @Test func lowercaseTouchesLettersOnly() {
        for byte in UInt8.min...UInt8.max {
            let isUppercase = (0x41...0x5A).contains(byte)
            #expect(Ascii.lowercase(byte) == (isUppercase ? byte + 32 : byte))
        }
    }

    @Test func trimmingLeavesInnerBlanks() {
        func trimmed(_ sample: String) -> String { withRaw(sample) { text(Array($0.trimmed())) } }
        #expect(trimmed(" \t a b \t") == "a b")
        #expect(trimmed(" \t ") == "" && trimmed("") == "" && trimmed("a") == "a")
    }

    @Test(arguments: [
        ("0", 0), ("007", 7), ("-1", -1), ("9223372036854775807", Int64.max),
        ("-9223372036854775808", Int64.min), ("9223372036854775808", nil), ("-9223372036854775809", nil),
        ("99999999999999999999", nil), ("", nil), ("-", nil), ("+1", nil), ("1 ", nil), ("--1", nil),
    ])
    func signedDecimalIsDigitsBehindAMinusOrNot(sample: String, value: Int64?) {
        #expect(withRaw(sample) { signedDecimal($0) } == value)
    }
}
