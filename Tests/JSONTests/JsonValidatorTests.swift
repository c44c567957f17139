import TestSupport
import Testing

@testable import JSON

private func isJson(_ text: String) -> Bool { withRaw(text, JsonValidator.isValid) }

@Suite struct JsonValidatorTests {
    @Test(arguments: [
        "null", "true", "false", "0", "-0", "7", "-12", "10.5", "0.001", "1e9", "1E+9", "1e-09", "-0.0e0",
        "123456789012345678901234567890", #""""#, #""a""#, "{}", "[]", "[[]]", "[{}]", #"{"":0}"#,
        #"{"type":"notice","data":{}}"#, #"{"a":1,"a":2}"#, #"[1, "two", null, {"three": [4.5]}]"#,
        #""\" \\ \/ \b \f \n \r \t \u0041 \uABCD \uabcd \u0000""#, #""\ud800""#, #""\uD83D\uDE00""#,
        "\"\u{7F}\"", "\"房间 😀\"", " \t\r\n{ \"a\" :\n[ 1 ,\t2 ]\r} \n", "\"'//[]{},:\"",
    ])
    func acceptsOneValueOfAnyType(text: String) {
        #expect(isJson(text))
    }

    @Test(arguments: [
        "", " ", "\n\t", "nul", "nulll", "True", "NULL", "tru", "t", "undefined", "NaN", "Infinity",
        "-Infinity",
        "'a'", "a", "/**/1", "1//x", "1 2", "{}{}", "[] 1", "null,", ",", ":", "]", "}", "[", "{", "[}",
        "{]",
    ])
    func refusesWhatIsNoValueOrMoreThanOne(text: String) {
        #expect(!isJson(text))
    }

    @Test(arguments: [
        "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "1e-", "1e1.5", "1.2.3", "--1",
        "0x10",
        "1_000", "1a", "-a", "٣", "1e٣",
    ])
    func refusesBadNumbers(text: String) {
        #expect(!isJson(text))
        #expect(!isJson("[\(text)]"))
    }

    @Test(arguments: [
        "\"", "\"a", "\"\\\"", "\"\\", #""\x""#, #""\'""#, #""\u""#, #""\u1""#, #""\u123""#, #""\u12G4""#,
        #""\u 123""#,
        #""\u+123""#, #""\U0041""#, "\"a\nb\"", "\"\t\"", "\"\r\"", "\"\u{0}\"", "\"\u{1F}\"", #""a"b""#,
        #""a""b""#,
    ])
    func refusesBadStrings(text: String) {
        #expect(!isJson(text))
    }

    @Test(arguments: [
        "[1,]", "[,1]", "[,]", "[1 2]", "[1,,2]", "[1", "[1,", "[\"a\"", "[1}", #"{"a"}"#, #"{"a":}"#,
        #"{"a":1,}"#,
        #"{,"a":1}"#, #"{"a":1 "b":2}"#, #"{"a":1,,"b":2}"#, #"{"a" 1}"#, #"{"a"::1}"#, "{a:1}", "{1:1}",
        "{null:1}",
        "{[]:1}", #"{"a":1"#, #"{"a":"#, #"{"a""#, #"{"a":1]"#, #"["a":1]"#, #"{"a",1}"#, #"[[1]"#, #"[1]]"#,
        #"{"a":{"b":1}"#, #"{"a":1}}"#, #"[{]}"#,
    ])
    func refusesBadContainers(text: String) {
        #expect(!isJson(text))
    }

    @Test func refusesForeignWhitespaceAndByteOrderMark() {
        for space in ["\u{FEFF}", "\u{A0}", "\u{B}", "\u{C}", "\u{2028}", "\u{0}"] {
            #expect(!isJson(space + "1"))
            #expect(!isJson("1" + space))
            #expect(!isJson("[1," + space + "2]"))
        }
    }

    @Test func controlCharactersQuotesAndBackslashesAreSeenAtEveryPlaceOfAWord() {
        for byte in UInt8(0)...0xFF {
            for padding in 0...9 {
                let filling = [UInt8](repeating: 0x61, count: padding)
                let bytes = [0x22] + filling + [byte] + filling + filling + [0x22]
                let expected = byte >= 0x20 && byte != 0x22 && byte != 0x5C
                #expect(withRaw(bytes, JsonValidator.isValid) == expected, "\(byte) at \(padding)")
            }
        }
    }

    @Test func depthLimitIsExact() {
        let limit = JsonValidator.maximumDepth
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = open == "[" ? "" : "1"
            let deepest =
                String(repeating: open, count: limit) + inner + String(repeating: close, count: limit)
            #expect(isJson(deepest))
            let deeper = open + deepest + close
            #expect(!isJson(deeper))
        }
        #expect(!isJson(String(repeating: "[", count: 1_000_000)))
        #expect(isJson("[" + String(repeating: "[],", count: 2000) + "[]]"), "width is not depth")
    }

    @Test func closingBracketMustFitAtEveryDepth() {
        for depth in [1, 2, 63, 64, 65, 127, 128, 129, 511, 512] {
            let opens = (0..<depth).map { $0.isMultiple(of: 3) ? "{\"k\":" : "[" }.joined()
            let closes = (0..<depth).reversed().map { $0.isMultiple(of: 3) ? "}" : "]" }
            #expect(isJson(opens + "0" + closes.joined()), "depth \(depth)")
            var wrong = closes
            wrong[0] = wrong[0] == "}" ? "]" : "}"
            #expect(!isJson(opens + "0" + wrong.joined()), "depth \(depth)")
        }
    }

    @Test func randomDocumentsAreValidAndTheirPrefixesAreNot() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<300 {
            let document = "[" + randomValue(depth: 4, using: &random) + "]"
            let bytes = Array(document.utf8)
            #expect(withRaw(bytes, JsonValidator.isValid), "seed \(seed), round \(round): \(document)")
            for length in 0..<bytes.count {
                let isValid = withRaw(Array(bytes[..<length]), JsonValidator.isValid)
                #expect(!isValid, "seed \(seed), round \(round), \(length) bytes of \(document)")
            }
        }
    }

    private func randomValue(depth: Int, using random: inout SeededRandom) -> String {
        let kinds = depth > 0 ? 7 : 5
        switch Int.random(in: 0..<kinds, using: &random) {
        case 0: return ["null", "true", "false"].randomElement(using: &random) ?? "null"
        case 1: return String(Int.random(in: -1000...1000, using: &random))
        case 2: return "\(Int.random(in: 0...99, using: &random)).5e-3"
        case 3, 4: return randomString(using: &random)
        case 5:
            let items = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                randomValue(depth: depth - 1, using: &random)
            }
            return "[" + items.joined(separator: " , ") + "]"
        default:
            let members = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                randomString(using: &random) + ":" + randomValue(depth: depth - 1, using: &random)
            }
            return "{" + members.joined(separator: ",") + "}"
        }
    }

    private func randomString(using random: inout SeededRandom) -> String {
        let pieces = ["a", "plain text", "房", "😀", #"\""#, #"\\"#, #"\u00e9"#, #"\n"#, "{[,:]}", "'"]
        let count = Int.random(in: 0...6, using: &random)
        return "\"" + (0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined() + "\""
    }
}
