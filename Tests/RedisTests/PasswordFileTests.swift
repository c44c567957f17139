import Foundation
import Testing

@testable import Redis

@Suite struct PasswordFileTests {
    private let path = FileManager.default.temporaryDirectory.appending(path: "password-\(UUID())").path

    private func read(_ bytes: [UInt8]) throws -> (Result<String, RedisFailure>, PasswordFile) {
        try Data(bytes).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let file = PasswordFile(path: path)
        do throws(RedisFailure) { return (.success(try file.read()), file) } catch {
            return (.failure(error), file)
        }
    }

    @Test(arguments: [
        ("secret", "secret", false), ("secret\n", "secret", true), ("secret\r\n", "secret", true),
        ("secret\n\n", "secret\n", true), (" a b \n", " a b ", true), ("é", "é", false),
        ("a\r", "a\r", false),
    ])
    func lineFeedAtTheEndIsNoPartOfIt(text: String, password: String, isDropped: Bool) throws {
        let (result, file) = try read(Array(text.utf8))
        #expect(result == .success(password))
        #expect(file.hasDroppedLineFeed == isDropped)
    }

    @Test func whatIsNoPasswordIsSaid() throws {
        let limit = PasswordFile.maximumBytes
        #expect(
            try read(Array(repeating: 0x61, count: limit)).0
                == .success(String(repeating: "a", count: limit)))
        let faults: [([UInt8], String)] = [
            ([], "is empty"), ([0x0A], "is empty"), ([0xFF], "is not UTF-8"),
            (Array(repeating: 0x61, count: limit + 1), "is longer than \(limit) bytes"),
        ]
        for (bytes, reason) in faults {
            #expect(try read(bytes).0 == .failure(.unavailable("the password file \(path) \(reason)")))
        }
        let missing = "cannot read the password file \(path): No such file or directory"
        #expect(throws: RedisFailure.unavailable(missing)) { try PasswordFile(path: path).read() }
    }

    @Test func fileWinsOverOtherPasswords() throws {
        try Data("new".utf8).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let url = try RedisURL("redis://user:old@host").withPasswordFile(path)
        #expect(try url.readAuthArguments() == ["user", "new"])
        #expect(try RedisURL("redis://host").withPasswordFile(path).readAuthArguments() == ["new"])
        #expect(
            try RedisURL("redis://user:old@host").withPasswordFile(nil).readAuthArguments() == [
                "user", "old",
            ])
    }
}
