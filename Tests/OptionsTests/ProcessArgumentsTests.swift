import Testing

@testable import Options

@Suite struct ProcessArgumentsTests {
    private func hidden(_ text: String) -> String {
        var bytes = text.utf8.map { CChar(bitPattern: $0) }
        bytes.withUnsafeMutableBufferPointer { ProcessArguments.hidePassword(in: $0) }
        return String(decoding: bytes.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    @Test(arguments: [
        ("redis://user:secret@host:6379/1", "redis://user:******@host:6379/1"),
        ("redis://:secret@host", "redis://:******@host"),
        ("--redis=redis://u:secret@host", "--redis=redis://u:******@host"),
        ("redis://u:se:cr@et@host", "redis://u:********@host"),
        ("redis://u:p%40ss@[::1]:6379", "redis://u:******@[::1]:6379"),
        ("redis://u:é@h", "redis://u:**@h"),
        ("redis://u:@h", "redis://u:@h"),
        // As redis-cli takes it.
        ("redis://secret@host", "redis://******@host"),
    ])
    func passwordIsOverwrittenByStars(text: String, expected: String) {
        #expect(hidden(text) == expected)
    }

    private func hidden(_ arguments: [String]) -> [String] {
        let copies = arguments.map { text in
            let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: text.utf8.count)
            _ = copy.initialize(from: text.utf8.map { CChar(bitPattern: $0) })
            return copy
        }
        defer { for copy in copies { copy.deallocate() } }
        ProcessArguments.hideValue(of: "issue-key", in: copies)
        return copies.map { String(decoding: $0.map { UInt8(bitPattern: $0) }, as: UTF8.self) }
    }

    @Test func valueOfAnOptionIsOverwrittenByStars() {
        #expect(
            hidden(["--issue-key", "secret", "--workers", "2"]) == [
                "--issue-key", "******", "--workers", "2",
            ])
        #expect(hidden(["--workers=2", "--issue-key=secret"]) == ["--workers=2", "--issue-key=******"])
        #expect(hidden(["--issue-key=a,b=c"]) == ["--issue-key=*****"])
        #expect(hidden(["--issue-key=", "x"]) == ["--issue-key=", "x"])
        #expect(hidden(["x", "--issue-key"]) == ["x", "--issue-key"])
        #expect(
            hidden(["--issue-keys", "x", "--issue", "y", ""]) == ["--issue-keys", "x", "--issue", "y", ""])
    }

    @Test func argumentsAreTextsBehindTheProgramsName() throws {
        #expect(
            try ProcessArguments.texts(["p", "--room", "é", ""].map { Array($0.utf8) }) == [
                "--room", "é", "",
            ])
        #expect(try ProcessArguments.texts([[0xFF]]) == [])
    }

    @Test func commandLineWithoutAProgramsNameIsLost() throws {
        let error = #expect(throws: UsageError.self) { try ProcessArguments.texts([]) }
        #expect(
            try #require(error).description.hasPrefix(
                "cannot read the command line, expected a mounted /proc "))
    }

    @Test(arguments: [
        (["--json", "--room", "?"], "argument 3 (--room) is not UTF-8, expected UTF-8"),
        (["--data=?"], "argument 1 (--data) is not UTF-8, expected UTF-8"),
        (["?"], "argument 1 is not UTF-8, expected UTF-8"),
        (["--room=a", "?"], "argument 2 is not UTF-8, expected UTF-8"),
    ])
    func whatIsNotUTF8IsRefusedByItsPlace(arguments: [String], expected: String) throws {
        let bytes = (["p"] + arguments).map { $0.utf8.map { $0 == UInt8(ascii: "?") ? 0xFF : $0 } }
        let error = #expect(throws: UsageError.self) { try ProcessArguments.texts(bytes) }
        #expect(try #require(error).description == expected)
    }

    @Test(arguments: [
        "", "--workers", "redis://host:6379", "redis://@host", "unix:///run/redis.sock",
        "a:b@c", "://", "x://@",
    ])
    func whatHasNoPasswordIsLeftAsItIs(text: String) {
        #expect(hidden(text) == text)
    }
}
