import Foundation
import Testing

@testable import RedisSchema

@Suite struct NoticeEnvelopeTests {
    private func envelope(_ type: String, _ data: String) -> String {
        String(decoding: NoticeEnvelope.bytes(type: type, data: data.utf8), as: UTF8.self)
    }

    @Test func dataIsEmbeddedByteForByte() {
        #expect(envelope("notice", "{}") == #"{"type":"notice","data":{}}"#)
        #expect(
            envelope("n", #" {"b":1.0, "a":1e400,"a":2} "#)
                == #"{"type":"n","data": {"b":1.0, "a":1e400,"a":2} }"#)
    }

    @Test func everyTypeComesBackFromJSON() throws {
        for type in [
            "", "notice", "a\"b\\c/d", (0..<0x80).map { String(UnicodeScalar($0)) }.joined(), "通知🎉\u{2028}",
        ] {
            let bytes = Data(NoticeEnvelope.bytes(type: type, data: "[1]".utf8))
            let object = try #require(JSONSerialization.jsonObject(with: bytes) as? [String: Any])
            #expect(object["type"] as? String == type)
            #expect(object["data"] as? [Int] == [1])
        }
    }

    @Test func controlCharactersAreEscaped() {
        #expect(
            envelope("\u{1}\u{1F}\n\r\t\u{7F}", "1")
                == "{\"type\":\"\\u0001\\u001f\\n\\r\\t\u{7F}\",\"data\":1}")
    }
}
