// What a token's record says of its token. Pure.

/// Enough of the record `client:<token>` to write it again should Redis lose it.
struct ClientRecord {
    /// The user or the device, as `isLogin` says.
    let identity: String
    let isLogin: Bool
    /// Unix milliseconds, to show.
    let issuedAt: Int64
    /// 1...`Limits.recordLifeSeconds`.
    let ttlSeconds: Int64
    /// The only rooms that the token may enter, joined by commas; empty is any room.
    var allowedRooms: [UInt8] = []
    /// The place of the connection among those of its token, given out by Redis: the highest is the newest.
    var order: Int64 = 0
}

/// What the script `attach` returns.
struct Registration {
    let record: ClientRecord
    /// The record still names another connection, which is replaced when this one is complete.
    let isPending: Bool
}

extension Registration {
    /// Reads the script's text:
    ///
    ///     ttl SP isLogin SP issuedAt SP order SP isPending SP bytes of allowedRooms SP allowedRooms identity
    ///
    /// Rooms and identities may hold spaces, so the length shows where the rooms end and the identity
    /// begins.
    ///
    /// - Parameter defaultTTLSeconds: for a record without one.
    init(attached text: UnsafeRawBufferPointer, defaultTTLSeconds: Int64) {
        var rest = text[...]
        let next = {
            let part = rest.prefix { $0 != UInt8(ascii: " ") }
            rest = rest[part.endIndex...].dropFirst()
            return String(decoding: part, as: UTF8.self)
        }
        let life = 1...Limits.recordLifeSeconds
        let ttlSeconds = Int64(next()).flatMap { life.contains($0) ? $0 : nil } ?? defaultTTLSeconds
        let isLogin = next() == "true"
        let issuedAt = Int64(next()) ?? 0
        let order = Int64(next()) ?? 0
        isPending = next() == "1"
        let roomsBytes = max(0, Int(next()) ?? 0)
        let allowedRooms = Array(rest.prefix(roomsBytes))
        record = ClientRecord(
            identity: String(decoding: rest.dropFirst(allowedRooms.count), as: UTF8.self), isLogin: isLogin,
            issuedAt: issuedAt, ttlSeconds: ttlSeconds, allowedRooms: allowedRooms, order: order)
    }
}
