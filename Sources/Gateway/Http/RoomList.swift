// Lists of rooms in queries: `a,b,c`. Pure.

import RedisSchema

/// Reads comma-separated room ids.
enum RoomList {
    /// The first different items that are not empty. Compared by their bytes: a String would take two ways
    /// to write "é" for one room.
    ///
    /// - Parameter maximumCount: how many rooms are taken at most; what stands behind them is not even
    ///   looked at.
    /// - Returns: nil if one of them is no room's id.
    /// - Complexity: O(list · maximumCount).
    static func first(_ maximumCount: Int, of list: UnsafeRawBufferPointer) -> [RoomId]? {
        var rooms: [RoomId] = []
        rooms.reserveCapacity(min(maximumCount, 2))
        var rest = list[...]
        while rooms.count < maximumCount, !rest.isEmpty {
            let item = rest.prefix { $0 != UInt8(ascii: ",") }
            rest = rest[item.endIndex...].dropFirst()
            guard !item.isEmpty else { continue }
            guard let room = RoomId(UnsafeRawBufferPointer(rebasing: item)) else { return nil }
            if !rooms.contains(room) { rooms.append(room) }
        }
        return rooms
    }

    /// What is wrong with a list for which `first` returns nil.
    static func fault(_ parameter: StaticString) -> String {
        "parameter \(parameter) has an item that is not 1 to \(RoomId.maximumBytes) bytes of UTF-8 without control "
            + "characters"
    }

    /// How many bytes `append` appends.
    static func byteCount(_ rooms: [RoomId]) -> Int {
        rooms.reduce(max(rooms.count - 1, 0)) { $0 + $1.bytes.count }
    }

    /// Appends room ids joined by commas, none of which can hold one when it came out of a list.
    static func append(_ rooms: [RoomId], to bytes: inout [UInt8]) {
        for (index, room) in rooms.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(contentsOf: room.bytes)
        }
    }
}
