import TestSupport
import Testing

@testable import HTTP

private func parse(_ query: String) throws -> QueryParameters {
    try withRaw(query) { bytes in Result { () throws(QueryError) in try QueryParameters(bytes) } }.get()
}

@Suite struct QueryParametersTests {
    @Test func decodesNamesAndValues() throws {
        let query = try parse("token=aB-_9&roomIds=room1%2Croom%202,%E6%88%BF&a+b=c+d%2B&%74oken2=x%3d%26")
        #expect(query.first("token") == "aB-_9")
        #expect(query.first("roomIds") == "room1,room 2,房")
        #expect(query.first("a b") == "c d+")
        #expect(query.first("token2") == "x=&")
        #expect(query.first("Token") == nil && query.first("toke") == nil)
    }

    @Test func firstOfRepeatedNamesWins() throws {
        #expect(try parse("a=1&a=2").first("a") == "1")
        #expect(try parse("a&a=2").first("a") == "")
    }

    @Test func piecesMayBeEmpty() throws {
        let query = try parse("&&a&b=&=c&d==e&&")
        #expect(query.first("a") == "" && query.first("b") == "" && query.first("d") == "=e")
        #expect(query.first("") == "c" && query.first("e") == nil)
        #expect(try parse("").first("a") == nil)
        #expect(try parse("").first("") == nil)
        #expect(try parse("a;b=1").first("a;b") == "1")
    }

    @Test(arguments: [
        "%", "a=%", "a=%4", "a=%4&b=1", "a=%G1", "a=%1G", "a=%%41", "%=1", "a=% 41", "ok=1&x=%zz",
    ])
    func badEscapeFails(query: String) {
        #expect(throws: QueryError.malformedEscape) { try parse(query) }
    }

    @Test func nulFails() {
        #expect(throws: QueryError.containsNul) { try parse("a=b%00c") }
        #expect(throws: QueryError.containsNul) { try parse("%00=1") }
    }

    @Test(arguments: [
        "a=%FF", "a=%C3", "a=%C3&b=%A9", "%C3=%A9", "a=%ED%A0%80", "a=%C0%80", "a=%F5%80%80%80",
    ])
    func brokenTextFails(query: String) {
        #expect(throws: QueryError.notUtf8) { try parse(query) }
    }

    @Test func everyByteOfTextSurvivesTheWayThere() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<300 {
            let value = random.text(12)
            let escaped = value.utf8.map { byte in
                let digits = String(byte, radix: 16, uppercase: Bool.random(using: &random))
                return "%" + (digits.count == 1 ? "0" : "") + digits
            }.joined()
            let query = try parse("x=1&value=\(escaped)&y=2")
            #expect(query.first("value") == value, "seed \(seed), round \(round)")
        }
    }

    @Test func headDecodesItsQuery() throws {
        let request = "GET /ws?token=a%2Bb HTTP/1.1\r\nHost: a\r\n\r\nGET /?token=other HTTP/1.1\r\n"
        guard case .complete(let head) = withRaw(request, { HttpRequestHead.parse($0, maximumBytes: 999) })
        else {
            Issue.record("refused")
            return
        }
        #expect(try head.queryParameters().first("token") == "a+b")
    }

    @Test func countsWhatComesTwice() throws {
        let query = try parse("a=1&b=2&a=&%61=3&A=4&a")
        #expect(query.count(of: "a") == 4)
        #expect(query.count(of: "b") == 1)
        #expect(query.count(of: "c") == 0)
        #expect(query.hasName { $0.count == 1 && $0[0] == UInt8(ascii: "A") })
        #expect(!query.hasName { $0.count > 1 })
    }

    @Test(arguments: [
        ("token=%zz", "parameter token has a % without two hex digits behind it"),
        ("a=1&&token=x%00", "parameter token holds a NUL"),
        ("a=1&%FF=2&token=%", "query parameter 2 is not UTF-8"),
        ("secret%", "query parameter 1 has a % without two hex digits behind it"),
        ("secret=%", "query parameter 1 has a % without two hex digits behind it"),
    ])
    func faultIsNamedWithoutRepeatingWhatIsUnknown(query: String, fault: String) {
        #expect(withRaw(query) { QueryParameters.fault(in: $0, known: ["token"]) } == fault)
    }

    @Test func soundQueryHasNoFault() {
        #expect(withRaw("a=1&token=%41") { QueryParameters.fault(in: $0, known: ["token"]) } == nil)
        #expect(withRaw("") { QueryParameters.fault(in: $0, known: []) } == nil)
    }
}
