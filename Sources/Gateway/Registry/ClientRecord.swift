// What a token's record says of its token. Pure.

import Bytes

/// Enough of the record `client:<token>` to write it again should Redis lose it. A node keeps one for each
/// connection, so its two texts share an allocation that has just their size.
struct ClientRecord {
    /// The identity, and behind it the allowed rooms.
    private let texts: ManagedBuffer<Void, UInt8>
    /// Unix milliseconds, to show.
    let issuedAt: Int64
    /// The place of the connection among those of its token, given out by Redis: the highest is the newest.
    let order: Int64
    private let identityBytes: Int32
    private let allowedRoomsBytes: Int32
    /// 1...`Limits.recordLifeSeconds`.
    let ttlSeconds: Int32
    let isLogin: Bool

    init(
        identity: UnsafeRawBufferPointer, isLogin: Bool, issuedAt: Int64, ttlSeconds: Int32,
        allowedRooms: UnsafeRawBufferPointer, order: Int64
    ) {
        texts = .create(minimumCapacity: identity.count + allowedRooms.count) { _ in }
        texts.withUnsafeMutablePointerToElements {
            let start = UnsafeMutableRawPointer($0)
            UnsafeMutableRawBufferPointer(start: start, count: identity.count).copyMemory(from: identity)
            UnsafeMutableRawBufferPointer(start: start + identity.count, count: allowedRooms.count)
                .copyMemory(from: allowedRooms)
        }
        identityBytes = Int32(identity.count)
        allowedRoomsBytes = Int32(allowedRooms.count)
        self.isLogin = isLogin
        self.issuedAt = issuedAt
        self.ttlSeconds = ttlSeconds
        self.order = order
    }

    /// The user or the device, as `isLogin` says.
    var identity: [UInt8] { text(from: 0, byteCount: identityBytes) }

    /// The only rooms that the token may enter, joined by commas; empty is any room.
    var allowedRooms: [UInt8] { text(from: identityBytes, byteCount: allowedRoomsBytes) }

    private func text(from start: Int32, byteCount: Int32) -> [UInt8] {
        texts.withUnsafeMutablePointerToElements {
            Array(UnsafeMutableBufferPointer(start: $0 + Int(start), count: Int(byteCount)))
        }
    }
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
        var text = SpacedText(rest: text)
        let life = 1...Limits.recordLifeSeconds
        let ttlSeconds = text.nextNumber().flatMap { life.contains($0) ? $0 : nil } ?? defaultTTLSeconds
        let isLogin = text.next().equals(("true" as StaticString).rawBytes)
        let issuedAt = text.nextNumber() ?? 0
        let order = text.nextNumber() ?? 0
        isPending = text.nextNumber() == 1
        let roomsBytes = min(max(0, Int(text.nextNumber() ?? 0)), text.rest.count)
        record = ClientRecord(
            identity: text.rest.part(roomsBytes..<text.rest.count), isLogin: isLogin, issuedAt: issuedAt,
            ttlSeconds: Int32(ttlSeconds), allowedRooms: text.rest.part(0..<roomsBytes), order: order)
    }
}

/// A text of parts with a space behind each, read from the front.
private struct SpacedText {
    private(set) var rest: UnsafeRawBufferPointer

    /// The next part; an empty one at the end.
    mutating func next() -> UnsafeRawBufferPointer {
        let end = Word.firstOffset(of: Ascii.space, in: rest, from: 0) ?? rest.count
        defer { rest = rest.part(min(end + 1, rest.count)..<rest.count) }
        return rest.part(0..<end)
    }

    /// The next part, if it is a whole number.
    mutating func nextNumber() -> Int64? { signedDecimal(next()) }
}
