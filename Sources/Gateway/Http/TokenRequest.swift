// What a request for a token asks for. Pure.

import HTTP
import RedisSchema

/// The checked query of `/get/token`.
struct TokenRequest {
    private static let names: [StaticString] = ["isLogin", "userId", "deviceId", "rooms"]
    /// What `rooms` is mistaken for, in small letters and without signs.
    private static let nearMisses: [StaticString] = ["rooms", "room", "roomids", "roomid"]

    let identity: Identity
    /// Whether the identity is a user's; otherwise it is a device's.
    let isLogin: Bool
    /// The only rooms that the token may enter; empty is any room.
    let allowedRooms: [RoomId]

    /// - Throws: when the query is malformed or lacks something.
    init(_ request: HttpRequestHead) throws(ParameterFault) {
        let query = try RequestQuery.parameters(of: request, reading: TokenRequest.names)
        switch query.first("isLogin") {
        case "true": isLogin = true
        case "false": isLogin = false
        default: throw ParameterFault("parameter isLogin is neither true nor false")
        }
        identity = try TokenRequest.identity(isLogin ? "userId" : "deviceId", query)
        allowedRooms = try TokenRequest.allowedRooms(query)
    }

    private static func identity(
        _ name: StaticString, _ query: QueryParameters
    ) throws(ParameterFault) -> Identity {
        guard let text = query.first(name), !text.isEmpty else {
            throw ParameterFault("parameter \(name) is missing or empty")
        }
        guard let identity = Identity(text) else {
            throw ParameterFault("parameter \(name) is over 256 bytes or holds a control character")
        }
        return identity
    }

    /// A list that names no room is an error, not the absence of one, and so is a name that is nearly
    /// `rooms`: a backend whose list came out empty, or that has misspelt the name, must not hand out a
    /// token for every room.
    private static func allowedRooms(_ query: QueryParameters) throws(ParameterFault) -> [RoomId] {
        guard !query.hasName(where: isNearMiss) else {
            throw ParameterFault("a parameter is nearly called rooms; rooms binds a token to rooms")
        }
        let given = query.withFirst("rooms") { RoomList.first(Limits.tokenRoomCount + 1, of: $0) }
        guard let list = given else { return [] }
        guard let rooms = list else { throw ParameterFault(RoomList.fault("rooms")) }
        guard !rooms.isEmpty else { throw ParameterFault("parameter rooms names no room") }
        guard rooms.count <= Limits.tokenRoomCount else {
            throw ParameterFault("parameter rooms names more than \(Limits.tokenRoomCount) rooms")
        }
        guard RoomList.byteCount(rooms) <= Limits.tokenRoomsBytes else {
            throw ParameterFault("parameter rooms is over \(Limits.tokenRoomsBytes) bytes")
        }
        return rooms
    }

    private static func isNearMiss(_ name: UnsafeRawBufferPointer) -> Bool {
        // Longer than all of them with a sign behind each letter.
        guard name.count <= 16, String(decoding: name, as: UTF8.self) != "rooms" else { return false }
        let letters = name.filter { !"_-.[] ".utf8.contains($0) }.map {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0
        }
        return nearMisses.contains { letters == Array("\($0)".utf8) }
    }
}
