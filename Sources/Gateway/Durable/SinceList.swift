// The positions that a client asks for in its handshake: `since=<position>,<position>`. Pure.

import RedisSchema

/// Reads the value of the query parameter `since`, whose presence opts in.
enum SinceList {
    static let fault = "parameter since has an item that is not a position"

    /// The positions of the rooms, in their order: nil where an item is empty or missing.
    ///
    /// - Parameters:
    ///   - list: the decoded value; empty if the client only opts in.
    ///   - roomCount: how many rooms count; what stands behind their items is not even looked at.
    /// - Returns: nil if one of the items is not a position.
    static func positions(_ list: UnsafeRawBufferPointer, roomCount: Int) -> [HistoryPosition?]? {
        var positions: [HistoryPosition?] = []
        var rest = list[...]
        while positions.count < roomCount {
            let item = rest.prefix { $0 != UInt8(ascii: ",") }
            rest = rest[item.endIndex...].dropFirst()
            if item.isEmpty {
                positions.append(nil)
            } else {
                guard let position = HistoryPosition(UnsafeRawBufferPointer(rebasing: item)) else {
                    return nil
                }
                positions.append(position)
            }
        }
        return positions
    }

    static let lastEventIdFault = "Last-Event-ID is not that of an event stream of these rooms"

    /// The positions of an event stream's last id.
    ///
    /// - Parameter id: one position for each room; or one of a stream of two, which has ended between a
    ///   notice and the positions of both. That stands for both rooms: the room to which it does not belong
    ///   finds no notice of it, and has lost its place.
    static func positions(lastEventId id: String, roomCount: Int) -> [HistoryPosition?]? {
        let list = [UInt8](id.utf8)
        let items = list.withUnsafeBytes { positions($0, roomCount: roomCount) }
        guard let items, !list.contains(UInt8(ascii: ",")) else { return items }
        return Array(repeating: items[0], count: roomCount)
    }

    /// The positions of a connection's rooms as a client sends them.
    static func text(_ positions: [HistoryPosition?]) -> String {
        positions.map { $0?.description ?? "" }.joined(separator: ",")
    }
}
