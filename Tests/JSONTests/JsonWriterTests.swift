import Foundation
import JSON
import Testing

@Suite struct JsonWriterTests {
    private func text(_ text: String, _ escaping: JsonWriter.Escaping = .required) -> String {
        String(decoding: JsonWriter.text(text, escaping: escaping), as: UTF8.self)
    }

    @Test func membersAndItemsAreSeparated() {
        let bytes = JsonWriter.object {
            $0.member("none") { _ in }
            $0.member("empty", [Int]())
            $0.member("one", [1])
            $0.member("two", ["a", "b"])
            $0.member("deep", array: [1, 2]) { json, number in json.object { $0.member("n", number) } }
            $0.member("given", json: "[1.0]".utf8)
            $0.member("last", true)
        }
        let expected =
            #"{"none":{},"empty":[],"one":[1],"two":["a","b"],"deep":[{"n":1},{"n":2}],"given":[1.0],"last":true}"#
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
    }

    @Test func numbersAndNothing() {
        let bytes = JsonWriter.object {
            $0.member("most", UInt64.max)
            $0.member("least", Int64.min)
            $0.member("half", 0.5)
            $0.member("infinite", Double.infinity)
            $0.member("nothing", nil as String?)
            $0.member("no", false)
        }
        let expected =
            #"{"most":18446744073709551615,"least":-9223372036854775808,"half":0.5,"infinite":null,"nothing":null,"#
            + #""no":false}"#
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
    }

    @Test func onlyWhatJsonRequiresIsEscaped() {
        #expect(
            text("a\"b\\c/d\u{1}\u{1F}\n\r\t\u{7F}\u{9B}\u{202E}é房😀")
                == "\"a\\\"b\\\\c/d\\u0001\\u001f\\n\\r\\t\u{7F}\u{9B}\u{202E}é房😀\"")
    }

    @Test func whatIsNotSeenIsEscapedWherePeopleLook() {
        #expect(text("a\"b\\c\n", .visible) == #""a\"b\\c\n""#)
        #expect(text("\u{1B}[2J\u{7F}\u{9B}é房😀", .visible) == #""\u001b[2J\u007f\u009bé房😀""#)
        #expect(
            text("\u{202E}\u{2028}\u{2029}\u{200B}\u{E0001}", .visible)
                == #""\u202e\u2028\u2029\u200b\udb40\udc01""#)
    }

    @Test(arguments: [JsonWriter.Escaping.required, .visible])
    func everyCharacterComesBack(escaping: JsonWriter.Escaping) throws {
        for first in stride(from: UInt32(0), through: 0x10FFFF, by: 97) {
            let scalars = (first..<min(first + 97, 0x110000)).compactMap(Unicode.Scalar.init)
            var value = ""
            value.unicodeScalars.append(contentsOf: scalars)
            let bytes = JsonWriter.object(escaping: escaping) { $0.member("v", value) }
            let object = try #require(JSONSerialization.jsonObject(with: Data(bytes)) as? [String: String])
            #expect(object["v"]?.unicodeScalars.elementsEqual(scalars) == true, "from \(first)")
        }
    }
}
