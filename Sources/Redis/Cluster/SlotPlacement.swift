// Where the slots of a Redis Cluster are, by the word of their own masters, and which of them are on their way. Pure
// value.

import Bytes

/// What each master says of its own slots. Equal before and after a walk through the keys of all masters, in the order
/// given here, it says that the walk has met every key that was there all the time.
package struct SlotPlacement: Equatable {
    package typealias Address = RedisURL.Address

    /// What a master says of its slots: ranges, `[93-<-id]` for one that comes, `[77->-id]` for one that leaves.
    struct Own: Equatable {
        let slots: [Substring]

        /// - Parameter nodes: the answer to `CLUSTER NODES`.
        init?(_ nodes: String) {
            let line = nodes.split(separator: "\n").lazy.map { $0.split(separator: " ") }
                .first { $0.count >= 8 && $0[2].split(separator: ",").contains("myself") }
            guard let line else { return nil }
            slots = Array(line.dropFirst(8))
        }

        var hasLeaving: Bool { slots.contains { $0.contains("->-") } }
        var hasComing: Bool { slots.contains { $0.contains("-<-") } }

        /// How many it has.
        var count: Int {
            slots.lazy.filter { !$0.hasPrefix("[") }.reduce(0) { sum, range in
                let ends = range.split(separator: "-").compactMap { Int($0) }
                guard let first = ends.first, let last = ends.last else { return sum }
                return sum + last - first + 1
            }
        }
    }

    let map: ClusterMap
    /// nil of a master that may not be asked.
    let own: [Address: Own?]

    /// Replicas do not matter, nor the order of rows.
    package static func == (left: SlotPlacement, right: SlotPlacement) -> Bool {
        left.own == right.own && left.map.moves(since: right.map).isEmpty
    }

    /// Masters from which keys leave come before those to which they go: a key that has left the first before it was
    /// found there is found at the second.
    package var mastersInOrder: [Address] {
        func rank(_ master: Address) -> Int {
            guard let own = own[master] ?? nil else { return 1 }
            return own.hasLeaving ? 0 : own.hasComing ? 2 : 1
        }
        return map.masters.enumerated().sorted {
            (rank($0.element), $0.offset) < (rank($1.element), $1.offset)
        }
        .map(\.element)
    }

    /// Whether there is such an order, and all slots are told of.
    package var isOrderly: Bool {
        let known = own.values.compactMap { $0 }
        if known.contains(where: { $0.hasLeaving && $0.hasComing }) { return false }
        guard known.count == map.masters.count else { return true }
        return known.reduce(0) { $0 + $1.count } == map.masters.reduce(0) { $0 + map.slotCount(of: $1) }
    }
}

extension RedisSession {
    private static let nodes = RedisCommand([[UInt8]("CLUSTER"), [UInt8]("NODES")])

    /// Asks all masters of a cluster for their slots.
    ///
    /// - Throws: `lost`; `refused` if nobody says who they are; `interrupted`.
    package func slotPlacement() throws(RedisSessionError) -> SlotPlacement {
        var outcome: Result<ClusterMap, RedisFailure>?
        renewMap { outcome = $0 }
        try wait { outcome != nil }
        let map: ClusterMap
        switch outcome {
        case .success(let found)?: map = found
        case .failure(.refused(let message))?: throw .refused("CLUSTER SLOTS: \(message)")
        case .failure(.unavailable(let reason))?: throw failure ?? .lost(reason)
        case nil: throw failure ?? .interrupted
        }
        var own: [SlotPlacement.Address: SlotPlacement.Own?] = [:]
        for master in map.masters {
            send(Self.nodes, at: master) { result in
                own.updateValue(
                    (try? result.get())?.string.flatMap { SlotPlacement.Own($0) }, forKey: master)
            }
        }
        try wait { own.count == map.masters.count }
        if let failure { throw failure }
        return SlotPlacement(map: map, own: own)
    }
}
