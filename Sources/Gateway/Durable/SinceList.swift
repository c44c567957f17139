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
}
