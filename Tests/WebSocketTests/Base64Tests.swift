import TestSupport
import Testing

@testable import WebSocket

@Suite struct Base64Tests {
    static let vectors = [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ]

    @Test(arguments: vectors)
    func encodesTheVectorsOfTheStandardBothWays(plain: String, encoded: String) {
        #expect(withRaw(plain, Base64.encode) == encoded)
        #expect(withRaw(encoded, Base64.decode) == Array(plain.utf8))
    }

    @Test func lastTwoCharactersAreThoseOfTheStandard() {
        #expect(withRaw([0xFB, 0xEF, 0xFF], Base64.encode) == "++//")
    }

    @Test func everyLengthSurvivesTheWayThereAndBack() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for length in 0...100 {
            let bytes = random.bytes(length)
            let encoded = withRaw(bytes, Base64.encode)
            #expect(withRaw(encoded, Base64.decode) == bytes, "seed \(seed), \(length) bytes")
        }
    }

    @Test(arguments: [
        "Z", "Zg", "Zg=", "Zg===", "=", "==", "====", "Z===", "Zg==Zg==", "Zm=8", "Zm9v\n", "Zm 9v", "Zm9-",
        "Zm9_", "Zh==",
        "Zm9=", "Zm\u{0}v", "Zmé",
    ])
    func decodingIsStrict(text: String) {
        #expect(withRaw(text, Base64.decode) == nil)
    }
}
