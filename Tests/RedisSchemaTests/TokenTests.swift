import Testing

@testable import RedisSchema

/// Counts up, so that a minted token is known.
private struct CountingGenerator: RandomNumberGenerator {
    var state: UInt64 = 0

    mutating func next() -> UInt64 {
        state += 1
        return state
    }
}

@Suite struct TokenTests {
    private let text = "ABCDEFGHIJklmnopqrst01-_"

    @Test func textRoundTrips() throws {
        let token = try #require(Token(text))
        #expect(token.text == text)
        #expect(token.bytes == Array(text.utf8))
        #expect(Token(token.bytes) == token)
        #expect(Token(token.bytes)?.hashValue == token.hashValue)
        #expect(MemoryLayout<Token>.size <= 32)
    }

    @Test func everyCharacterCounts() throws {
        let token = try #require(Token(text))
        for index in 0..<24 {
            var bytes = Array(text.utf8)
            bytes[index] = bytes[index] == 0x7A ? 0x79 : 0x7A
            let other = try #require(Token(bytes))
            #expect(other != token)
            #expect(other.bytes == bytes)
            for wrong: UInt8 in [0x00, 0x20, 0x2B, 0x2F, 0x3D, 0x40, 0x5B, 0x60, 0x7B, 0x80, 0xFF] {
                bytes[index] = wrong
                #expect(Token(bytes) == nil, "\(wrong) at \(index)")
            }
        }
    }

    @Test func otherLengthsAreRefused() {
        #expect(Token("") == nil)
        #expect(Token(String(text.dropLast())) == nil)
        #expect(Token(text + "A") == nil)
    }

    @Test func mintTakesTwentyFourBitsAGroup() {
        var random = CountingGenerator()
        #expect(Token.mint(using: &random).text == "AAABAAACAAADAAAEAAAFAAAG")
    }

    @Test func mintedTokensDiffer() {
        var random = RandomPool()
        let tokens = Set((0..<1000).map { _ in Token.mint(using: &random) })
        #expect(tokens.count == 1000)
    }

    @Test func onlyFourCharactersArePrinted() throws {
        let token = try #require(Token(text))
        var dumped = ""
        dump([token], to: &dumped)
        for shown in ["\(token)", String(reflecting: token), "\([token])", dumped] {
            #expect(shown.contains("ABCD…"))
            #expect(!shown.contains("EFGH"), "\(shown)")
        }
    }
}
