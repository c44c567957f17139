// What a request for a token asks for. Pure.

import Notices
import WebSocket

/// The checked query of `/get/token`.
struct TokenRequest {
    /// More rooms than a client ever switches between.
    static let maximumRoomCount = 32
    /// Of all rooms together with their commas: the record of a token stays small.
    static let maximumRoomsBytes = 1024

    let identity: Identity
    /// Whether the identity is a user's; otherwise it is a device's.
    let isLogin: Bool
    /// The only rooms that the token may enter; empty is any room.
    let allowedRooms: [RoomId]

    /// - Returns: nil when the query is malformed or lacks something.
    init?(_ request: HttpRequestHead) {
        guard let query = ClientEndpoints.parameters(request) else { return nil }
        let named: Identity?
        switch query.first("isLogin") {
        case "true":
            named = query.first("userId").flatMap { Identity($0) }
            isLogin = true
        case "false":
            named = query.first("deviceId").flatMap { Identity($0) }
            isLogin = false
        default: return nil
        }
        guard let identity = named, let allowedRooms = TokenRequest.allowedRooms(query) else { return nil }
        self.identity = identity
        self.allowedRooms = allowedRooms
    }

    /// A list that names no room is an error, not the absence of one: a backend whose list came out empty must not
    /// hand out a token for every room.
    private static func allowedRooms(_ query: QueryParameters) -> [RoomId]? {
        let given = query.withFirst("rooms") { RoomList.first(maximumRoomCount + 1, of: $0) }
        guard let list = given else { return [] }
        guard let rooms = list, (1...maximumRoomCount).contains(rooms.count),
            RoomList.byteCount(rooms) <= maximumRoomsBytes
        else { return nil }
        return rooms
    }
}
