// What a token's record says of its token. Pure.

import Notices

/// Enough of the record `client:<token>` to write it again should Redis lose it.
struct ClientRecord {
    /// The user or the device, as `isLogin` says.
    let identity: String
    let isLogin: Bool
    /// Unix milliseconds.
    let issuedAt: Int64
    let ttlSeconds: Int64
    /// The only rooms that the token may enter, joined by commas; empty is any room.
    var allowedRooms: [UInt8] = []
}

extension ClientRecord {
    /// Reads what the script `attach` returns:
    ///
    ///     ttl SP isLogin SP issuedAt SP bytes of allowedRooms SP allowedRooms identity
    ///
    /// Rooms and identities may hold spaces, so the length tells where the ones end and the other begins.
    ///
    /// - Parameter defaultTTLSeconds: for a record without one.
    init(attached text: UnsafeRawBufferPointer, defaultTTLSeconds: Int64) {
        var rest = text[...]
        let next = {
            let part = rest.prefix { $0 != UInt8(ascii: " ") }
            rest = rest[part.endIndex...].dropFirst()
            return String(decoding: part, as: UTF8.self)
        }
        ttlSeconds = Int64(next()) ?? defaultTTLSeconds
        isLogin = next() == "true"
        issuedAt = Int64(next()) ?? 0
        let roomsBytes = max(0, Int(next()) ?? 0)
        allowedRooms = Array(rest.prefix(roomsBytes))
        identity = String(decoding: rest.dropFirst(allowedRooms.count), as: UTF8.self)
    }
}
