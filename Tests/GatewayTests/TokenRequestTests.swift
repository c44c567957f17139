import HTTP
import RedisSchema
import Testing

@testable import Gateway

@Suite final class TokenRequestTests {
    /// What the last request was refused for.
    private var fault = ""

    private func ask(_ query: String) throws -> TokenRequest? {
        let text = "GET /get/token?\(query) HTTP/1.1\r\nHost: x\r\n\r\n"
        let parsed = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 1 << 20) }
        guard case .complete(let head) = parsed else { throw CancellationError() }
        do throws(ParameterFault) {
            return try TokenRequest(head)
        } catch {
            fault = error.detail
            return nil
        }
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

    @Test(arguments: [
        ("", "isLogin"), ("isLogin=TRUE&userId=a", "isLogin"), ("isLogin=true", "userId"),
        ("isLogin=true&userId=", "userId"), ("isLogin=true&deviceId=a", "userId"),
        ("isLogin=false&userId=a", "deviceId"),
        ("isLogin=true&userId=a%0A", "userId"), ("isLogin=true&userId=%zz", "userId"),
        ("isLogin=true&userId=a&rooms=", "rooms"), ("isLogin=true&userId=a&rooms=x,%1F", "rooms"),
        ("isLogin=true&userId=a&isLogin=true", "isLogin"), ("isLogin=true&userId=a&userId=b", "userId"),
        ("isLogin=true&userId=a&deviceId=b&deviceId=b", "deviceId"),
        ("isLogin=true&userId=a&rooms=x&rooms=y", "rooms"),
    ])
    func faultNamesItsParameter(query: String, name: String) throws {
        #expect(try ask(query)?.identity == nil)
        #expect(fault.hasPrefix("parameter \(name) "), "\(fault)")
    }

    /// Each would be a token for every room.
    @Test(arguments: [
        "Rooms", "ROOMS", "room", "Room", "roomIds", "roomId", "roomids", "ROOMID", "room_ids", "room-id",
        "rooms%5B%5D",
        "room%5b%5d", "room.ids",
    ])
    func nameThatIsNearlyRoomsIsRefused(name: String) throws {
        #expect(try ask("isLogin=true&userId=a&\(name)=x")?.identity == nil)
        #expect(fault.contains("rooms"))
        #expect(try ask("isLogin=true&userId=a&rooms=x&\(name)=x")?.identity == nil)
    }

    @Test(arguments: ["roomName", "chatrooms", "r", "rum", "_", "bedrooms", "userid", "x=1&x=2&x"])
    func otherParametersAreIgnored(name: String) throws {
        #expect(try ask("isLogin=true&userId=a&\(name)=x")?.allowedRooms == [])
    }
}
