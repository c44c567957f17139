import Testing

@testable import Gateway

@Suite struct IssueKeysTests {
    private static let first = "first-Key!~0123456789"
    private static let second = "second-Key-of-another-length"

    private func keys(_ text: String) throws -> IssueKeys { try #require(IssueKeys(text)) }

    private func allows(_ keys: IssueKeys, _ fields: String...) throws -> Bool {
        keys.allow(try request("GET", fields.map { "Authorization: \($0)" }))
    }

    @Test(arguments: ["Bearer", "bearer", "BEARER"])
    func keyIsTakenBehindItsScheme(scheme: String) throws {
        let keys = try keys(Self.first)
        #expect(try allows(keys, "\(scheme) \(Self.first)"))
        #expect(try allows(keys, "\(scheme)   \(Self.first)  "))
    }

    @Test func eitherOfTwoKeysIsTaken() throws {
        let keys = try keys("\(Self.first),\(Self.second)")
        #expect(try allows(keys, "Bearer \(Self.first)"))
        #expect(try allows(keys, "Bearer \(Self.second)"))
        #expect(try !allows(keys, "Bearer \(Self.first),\(Self.second)"))
        #expect(try !allows(try self.keys(Self.second), "Bearer \(Self.first)"))
    }

    @Test(arguments: [
        "", "Bearer", "Bearer ", first, "Basic \(first)", "Bearer\(first)", "Bearer\t\(first)",
        "Bearer \(first)x",
        "Bearer \(first.dropLast())", "Bearer \(first)\(first)", "Bearer x\(first)",
        "Bearer \(first.uppercased())",
        "Bearer \(first) x", "Bearer \"\(first)\"", "Bearer \(first),",
    ])
    func anythingElseIsNot(credentials: String) throws {
        let keys = try keys("\(Self.first),\(Self.second)")
        #expect(try !allows(keys, credentials))
    }

    /// Every single byte counts, in every place.
    @Test func oneOtherByteIsEnough() throws {
        let keys = try keys(Self.first)
        for index in Self.first.utf8.indices {
            var wrong = Array(Self.first.utf8)
            wrong[Self.first.utf8.distance(from: Self.first.startIndex, to: index)] ^= 2
            #expect(try !allows(keys, "Bearer \(String(decoding: wrong, as: UTF8.self))"))
        }
    }

    @Test func nothingAndTwiceAreNot() throws {
        let keys = try keys(Self.first)
        #expect(try !allows(keys))
        #expect(try !allows(keys, "Bearer \(Self.first)", "Bearer \(Self.first)"))
    }

    @Test func lengthAndCharactersAreChecked() {
        func key(_ count: Int) -> String { String(String(repeating: "01234567", count: 33).prefix(count)) }
        for count in [16, 17, 255, 256] { #expect(IssueKeys(key(count)) != nil) }
        for count in [0, 1, 15, 257] { #expect(IssueKeys(key(count)) == nil) }
        let (one, two) = (key(16), key(256))
        #expect(IssueKeys("\(one),\(two)") != nil)
        for wrong in [
            "\(one),", ",\(one)", "\(one),,\(two)", "\(one),\(two),\(one)", "\(one), \(two)", "\(one),short",
        ] {
            #expect(IssueKeys(wrong) == nil, "\(wrong)")
        }
        for byte in [" ", "\t", "\u{7F}", "é", "\u{0}"] { #expect(IssueKeys(one + byte) == nil) }
    }

    @Test func keysAreNotPrinted() throws {
        let keys = try keys("\(Self.first),\(Self.second)")
        var dumped = ""
        dump([keys], to: &dumped)
        for shown in ["\(keys)", String(reflecting: keys), "\([keys])", "\(Optional(keys) as Any)", dumped] {
            #expect(!shown.contains("-Key"), "\(shown)")
            #expect(!shown.contains("\(UInt8(ascii: "f"))"), "\(shown)")
        }
    }
}
