// Who has the slots of a Redis Cluster. Pure value, any thread.
//
//     CLUSTER SLOTS → rows of first slot, last slot, the master (host, port, id, …), its replicas
//
// SLOTS rather than SHARDS: every server and every service has it, and it names live nodes only.

import Synchronization

/// The masters of a cluster, which slots each of them has, and their replicas.
package struct ClusterMap: Sendable, Equatable {
    package typealias Address = RedisURL.Address

    static let command = RedisCommand([[UInt8]("CLUSTER"), [UInt8]("SLOTS")])
    /// A cluster may have a thousand nodes; what claims more is no cluster.
    private static let maximumMasterCount = 4_096
    private static let maximumNodeCount = 16_384
    private static let maximumRowCount = HashSlot.count
    private static let nobody = UInt16.max

    /// At least one, all different.
    package private(set) var masters: [Address]
    /// Of each master, all different.
    private(set) var replicas: [[Address]]
    /// By slot: the number of its master.
    private var owners: [UInt16]
    /// By master: its number in `masters`, and how many slots it has.
    private var numbers: [Address: Int] = [:]
    private var slotCounts: [Int] = []

    /// - Parameters:
    ///   - reply: to `CLUSTER SLOTS`.
    ///   - host: of the node that was asked.
    /// - Returns: nil if it is of another form, or names no master.
    init?(_ reply: RedisReply, askedHost host: String) {
        guard reply.count <= ClusterMap.maximumRowCount else { return nil }
        masters = []
        replicas = []
        owners = Array(repeating: ClusterMap.nobody, count: HashSlot.count)
        var nodeCount = 0
        for index in 0..<reply.count {
            let row = reply[index]
            guard row.count >= 3, let first = row[0].integer, let last = row[1].integer,
                first >= 0, last < HashSlot.count, first <= last
            else { return nil }
            nodeCount += row.count - 2
            guard nodeCount <= ClusterMap.maximumNodeCount else { return nil }
            // Nobody knows where it is: its slots are as good as without a master.
            guard let master = ClusterMap.address(row[2], askedHost: host) else { continue }
            guard let number = number(of: master) else { return nil }
            for slot in Int(first)...Int(last) { give(slot, to: number) }
            for place in 3..<max(3, row.count) {
                guard let replica = ClusterMap.address(row[place], askedHost: host),
                    !replicas[number].contains(replica)
                else { continue }
                replicas[number].append(replica)
            }
        }
        guard !masters.isEmpty else { return nil }
    }

    private static func address(_ node: RedisReply, askedHost: String) -> Address? {
        guard node.count >= 2 else { return nil }
        return Redirection.address(host: node[0].string, port: node[1].integer, askedHost: askedHost)
    }

    /// The number of a master, which may be a new one; nil if there are too many.
    private mutating func number(of master: Address) -> Int? {
        if let number = numbers[master] { return number }
        guard masters.count < ClusterMap.maximumMasterCount else { return nil }
        numbers[master] = masters.count
        masters.append(master)
        replicas.append([])
        slotCounts.append(0)
        return masters.count - 1
    }

    private mutating func give(_ slot: Int, to number: Int) {
        if owners[slot] != ClusterMap.nobody { slotCounts[Int(owners[slot])] -= 1 }
        owners[slot] = UInt16(number)
        slotCounts[number] += 1
    }

    /// The master of a slot; nil if the cluster has none for it.
    package func owner(of slot: Int) -> Address? {
        let number = owners[slot]
        return number == ClusterMap.nobody ? nil : masters[Int(number)]
    }

    /// How many slots a master has.
    package func slotCount(of master: Address) -> Int { numbers[master].map { slotCounts[$0] } ?? 0 }

    /// The lowest slot of a master; nil if it has none.
    package func firstSlot(of master: Address) -> Int? {
        numbers[master].flatMap { number in owners.firstIndex { $0 == number } }
    }

    /// Whether one server has all slots, and so every key: the shape of a cluster with one shard, and of services
    /// that keep their servers to themselves.
    var isWhole: Bool { owners.allSatisfy { $0 == 0 } }

    /// All nodes: masters and replicas.
    package var nodes: [Address] { masters + replicas.flatMap { $0 }.filter { numbers[$0] == nil } }

    /// Whether one node follows another.
    package func isReplica(_ node: Address, of master: Address) -> Bool {
        numbers[master].map { replicas[$0].contains(node) } ?? false
    }

    /// Whether a node has slots, or had some until now.
    func hasMaster(_ node: Address) -> Bool { numbers[node] != nil }

    /// The same map after a node has said that another one has a slot. A master without slots stays: what else it has
    /// lost shows with the next answer to `CLUSTER SLOTS`.
    func moved(_ slot: Int, to master: Address) -> ClusterMap {
        var map = self
        if let number = map.number(of: master) { map.give(slot, to: number) }
        return map
    }

    /// Two masters between which slots have moved.
    package struct Move: Hashable, Sendable {
        package let from: Address
        package let to: Address
    }

    /// What has changed hands since another map.
    package func moves(since before: ClusterMap) -> Set<Move> {
        var pairs: Set<UInt32> = []
        var last: UInt32?
        for slot in 0..<HashSlot.count {
            let (old, new) = (before.owners[slot], owners[slot])
            guard old != ClusterMap.nobody, new != ClusterMap.nobody else { continue }
            let pair = UInt32(old) << 16 | UInt32(new)
            // Neighbours mostly go together.
            if pair != last { pairs.insert(pair) }
            last = pair
        }
        return Set(
            pairs.lazy.map { pair in
                Move(from: before.masters[Int(pair >> 16)], to: masters[Int(pair & 0xFFFF)])
            }
            .filter { $0.from != $0.to })
    }
}

/// The latest map of a cluster, shared by the threads of a process: one that learns of it makes it known to all, and
/// the same map is in memory once.
package final class ClusterMaps: Sendable {
    private let latest = Mutex<ClusterMap?>(nil)

    package init() {}

    /// The map that anyone has learned last; nil before the first.
    package var map: ClusterMap? { latest.withLock { $0 } }

    /// - Returns: the same map, in the memory of the one that is known if they are equal.
    func share(_ map: ClusterMap) -> ClusterMap {
        latest.withLock { latest in
            if latest != map { latest = map }
            return latest ?? map
        }
    }
}
