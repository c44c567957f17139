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
        #expect(hidden(["--issue-key", "secret", "--workers", "2"]) == ["--issue-key", "******", "--workers", "2"])
        #expect(hidden(["--workers=2", "--issue-key=secret"]) == ["--workers=2", "--issue-key=******"])
        #expect(hidden(["--issue-key=a,b=c"]) == ["--issue-key=*****"])
        #expect(hidden(["--issue-key=", "x"]) == ["--issue-key=", "x"])
        #expect(hidden(["x", "--issue-key"]) == ["x", "--issue-key"])
        #expect(hidden(["--issue-keys", "x", "--issue", "y", ""]) == ["--issue-keys", "x", "--issue", "y", ""])
    }

    @Test(arguments: [
        "", "--workers", "redis://host:6379", "redis://user@host", "redis://@host", "unix:///run/redis.sock",
        "a:b@c", "://", "x://@",
    ])
    func whatHasNoPasswordIsLeftAsItIs(text: String) {
        #expect(hidden(text) == text)
    }
}
