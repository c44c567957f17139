import Notices
import Testing
import WebSocket

@testable import Gateway

@Suite struct TokenRequestTests {
    private func ask(_ query: String) throws -> TokenRequest? {
        let text = "GET /get/token?\(query) HTTP/1.1\r\nHost: x\r\n\r\n"
        let parsed = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 1 << 20) }
        guard case .complete(let head) = parsed else { throw CancellationError() }
        return TokenRequest(head)
    }

    private func rooms(_ list: String) throws -> [String]? {
        try ask("isLogin=true&userId=a&rooms=\(list)")?.allowedRooms.map(\.description)
    }

    private func names(_ count: Int) -> String { (1...count).map { "r\($0)" }.joined(separator: ",") }

    @Test func withoutRoomsEveryRoomIsAllowed() throws {
        let user = try #require(try ask("isLogin=true&userId=a"))
        #expect(user.isLogin && user.identity == Identity("a") && user.allowedRooms.isEmpty)
        let device = try #require(try ask("isLogin=false&deviceId=b"))
        #expect(!device.isLogin && device.identity == Identity("b") && device.allowedRooms.isEmpty)
    }

    @Test func roomsAreDecodedAndRepeatsDropped() throws {
        #expect(try rooms("a") == ["a"])
        #expect(try rooms("b,a,,b,") == ["b", "a"])
        #expect(try rooms("a%2Cb,x+y,%E6%88%BF") == ["a", "b", "x y", "房"])
        #expect(try rooms("%65%CC%81,%C3%A9")?.count == 2, "bytes decide, not what they look like")
    }

    /// An empty list is a backend's mistake, and must not become a token for everything.
    @Test(arguments: ["", ",", ",,", "a,%1F", "a,%FF", "%00", "a,%zz", String(repeating: "r", count: 129)])
    func listsThatNameNoRoomOrAnInvalidOneAreRefused(list: String) throws {
        #expect(try rooms(list) == nil)
    }

    @Test func thirtyTwoRoomsAreTheMost() throws {
        #expect(try rooms(names(32))?.count == 32)
        #expect(try rooms(names(32) + ",r1,r2,,")?.count == 32, "repeats do not count")
        #expect(try rooms(names(33)) == nil)
    }

    /// Their commas counted; what is dropped as a repeat is not.
    @Test func roomsTakeOneKibibyteAtMost() throws {
        let longest = (0..<8).map { String(repeating: "r", count: $0 == 0 ? 121 : 127) + "\($0)" }
        #expect(longest.joined(separator: ",").utf8.count == 1_025)
        #expect(try rooms(longest.joined(separator: ",")) == nil)
        let fitting = [String(longest[0].dropFirst())] + longest.dropFirst()
        #expect(try rooms(fitting.joined(separator: ",")) == fitting)
        #expect(try rooms((fitting + fitting).joined(separator: ",")) == fitting)
    }
}
