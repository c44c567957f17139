// The rooms of all nodes, added up from what each of their workers tells. Pure.

import RedisSchema

/// Adds up answers to the question which rooms there are.
struct RoomCensus {
    /// A room with its clients over all nodes.
    struct Entry: Equatable {
        var members: RoomMembers
        /// On how many nodes they are.
        var nodeCount: Int
    }

    private struct Node {
        let id: String
        /// How many rooms each worker has named.
        var named: [Int: Int] = [:]
        /// How many rooms each worker has, of those whose end has come; in a cluster perhaps before the rest.
        var ends: [Int: Int] = [:]
        /// Rooms of the node: they may be on several of its workers.
        var rooms: Set<RoomId> = []
        /// nil before the first end.
        var workerCount: Int?

        /// A payload that was lost on the way shows in the count.
        var isComplete: Bool {
            ends.count == workerCount && ends.allSatisfy { named[$0.key, default: 0] == $0.value }
        }
    }

    private var nodes: [Node]

    /// How many nodes were asked.
    var nodeCount: Int { nodes.count }

    private var entries: [RoomId: Entry] = [:]

    /// - Parameter nodes: the ids of those who are asked.
    init(nodes: [String]) {
        self.nodes = nodes.map { Node(id: $0) }
    }

    /// The nodes of which not everything has come.
    var missing: [String] { nodes.filter { !$0.isComplete }.map(\.id) }

    /// All rooms, largest first.
    ///
    /// - Complexity: O(rooms log rooms).
    var rooms: [Entry] {
        entries.values.sorted { RoomMembers.isBefore($0.members, $1.members) }
    }

    /// Takes one payload of the answer of the node with this index.
    mutating func take(_ message: RoomListMessage, from node: Int) {
        switch message {
        case .rooms(let worker, let rooms):
            nodes[node].named[worker, default: 0] += rooms.count
            for members in rooms { add(members, node) }
        case .end(let worker, let workerCount, let roomCount):
            nodes[node].workerCount = workerCount
            nodes[node].ends[worker] = roomCount
        }
    }

    private mutating func add(_ members: RoomMembers, _ node: Int) {
        let isNew = nodes[node].rooms.insert(members.room).inserted
        var entry =
            entries[members.room] ?? Entry(members: RoomMembers(room: members.room, count: 0), nodeCount: 0)
        entry.members.count = entry.members.count.addingClamped(members.count)
        if isNew { entry.nodeCount += 1 }
        entries[members.room] = entry
    }
}
