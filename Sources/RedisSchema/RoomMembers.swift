// Rooms and the number of their clients, as nodes report them in Redis: the largest in the field
// `rooms:<worker>` of a report, and on request all of them on a reply channel. Pure values, any thread.

/// A room and the number of its clients somewhere: on a worker, on a node, on all of them.
///
///     <room id> TAB <members> LF        for each room; an id has no control characters
package struct RoomMembers: Equatable, Sendable {
    package let room: RoomId
    package var count: Int

    package init(room: RoomId, count: Int) {
        self.room = room
        self.count = count
    }

    /// Larger first; those of one size in the order of their bytes, so that a list does not flicker.
    package static func isBefore(_ left: RoomMembers, _ right: RoomMembers) -> Bool {
        left.count != right.count
            ? left.count > right.count : left.room.bytes.lexicographicallyPrecedes(right.room.bytes)
    }

    /// Each room once, its members summed, largest first. A sum that overflows is the largest number:
    /// what is read may come from anyone.
    package static func merged(_ lists: some Sequence<RoomMembers>) -> [RoomMembers] {
        var counts: [RoomId: Int] = [:]
        for entry in lists {
            let (sum, isTooMuch) = counts[entry.room, default: 0].addingReportingOverflow(entry.count)
            counts[entry.room] = isTooMuch ? Int.max : sum
        }
        return counts.map { RoomMembers(room: $0.key, count: $0.value) }.sorted(by: isBefore)
    }

    /// Appends the room's line.
    package func append(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: room.bytes)
        bytes.append(0x09)
        bytes.append(contentsOf: "\(count)".utf8)
        bytes.append(0x0A)
    }

    /// The lines of several rooms.
    package static func encode(_ rooms: some Sequence<RoomMembers>) -> [UInt8] {
        var bytes: [UInt8] = []
        for entry in rooms { entry.append(to: &bytes) }
        return bytes
    }

    /// Reads lines; those of another form are left out.
    package static func decode(_ bytes: some Collection<UInt8>) -> [RoomMembers] {
        bytes.split(separator: 0x0A).compactMap { line in
            guard let tab = line.firstIndex(of: 0x09), let room = RoomId(Array(line[..<tab])),
                let count = Int(String(decoding: line[line.index(after: tab)...], as: UTF8.self)), count >= 0
            else { return nil }
            return RoomMembers(room: room, count: count)
        }
    }
}

/// One payload of the answer to the control message `rooms`, on the reply channel. Each worker of the node
/// sends any number of chunks and then its end:
///
///     rooms <worker> LF   followed by lines of RoomMembers
///     end <worker> <workers of the node> <rooms of this worker>
///
/// The asker subscribes the reply channel first, has everything once each worker's end has come, and adds
/// the rooms up: the members of a room may be spread over workers and nodes.
package enum RoomListMessage: Equatable, Sendable {
    /// The most bytes of a chunk.
    package static let maximumChunkBytes = 64 << 10

    case rooms(worker: Int, [RoomMembers])
    case end(worker: Int, workerCount: Int, roomCount: Int)

    /// The first word of the question.
    package static let requestWord: Substring = "rooms"

    /// The message on a node's control channel that asks for its rooms.
    ///
    /// - Parameter reply: the last part of the reply channel (see `Channels.reply`), chosen at random by the
    ///   asker.
    package static func request(reply: ReplyId) -> [UInt8] { Array("\(requestWord) \(reply)".utf8) }

    /// The beginning of a chunk.
    package static func chunkHead(worker: Int) -> [UInt8] { Array("rooms \(worker)\n".utf8) }

    /// The payload.
    package var bytes: [UInt8] {
        switch self {
        case .rooms(let worker, let rooms): Self.chunkHead(worker: worker) + RoomMembers.encode(rooms)
        case .end(let worker, let workerCount, let roomCount):
            Array("end \(worker) \(workerCount) \(roomCount)".utf8)
        }
    }

    /// - Returns: nil if this is not a payload of an answer.
    package init?(_ bytes: [UInt8]) {
        let head = bytes.prefix { $0 != 0x0A }
        let words = String(decoding: head, as: UTF8.self).split(
            separator: " ", omittingEmptySubsequences: false)
        let numbers = words.dropFirst().compactMap { Int($0) }
        guard numbers.count == words.count - 1, numbers.allSatisfy({ $0 >= 0 }) else { return nil }
        switch (words[0], numbers.count) {
        case ("rooms", 1): self = .rooms(worker: numbers[0], RoomMembers.decode(bytes[head.endIndex...]))
        case ("end", 3) where head.count == bytes.count:
            self = .end(worker: numbers[0], workerCount: numbers[1], roomCount: numbers[2])
        default: return nil
        }
    }
}

/// The last part of a reply channel: 1 to 64 characters of `A-Z a-z 0-9 - _`. The asker chooses it at
/// random.
package struct ReplyId: Hashable, Sendable, CustomStringConvertible {
    package let description: String

    /// - Returns: nil when the text has another form.
    package init?(_ text: some StringProtocol) {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
            default: false
            }
        }
        guard isPlain, (1...64).contains(text.utf8.count) else { return nil }
        description = String(text)
    }
}
