// Who has the slots of a Redis Cluster. Pure.

/// The question for the slots, and its answer: rows of first slot, last slot, the master (host, port, id), replicas.
enum ClusterSlots {
    static let command = RedisCommand([[UInt8]("CLUSTER"), [UInt8]("SLOTS")])
    private static let count: Int64 = 16_384

    /// Whether one server has all of them, and so every key: the shape of a cluster with one shard, and of services
    /// that keep their servers to themselves.
    static func isWhole(_ reply: RedisReply) -> Bool {
        var slotCount: Int64 = 0
        var owners: Set<String> = []
        for index in 0..<reply.count {
            let row = reply[index]
            guard row.count >= 3, let first = row[0].integer, let last = row[1].integer, row[2].count >= 2
            else {
                return false
            }
            slotCount += last - first + 1
            owners.insert("\(row[2][0].string ?? ""):\(row[2][1].integer ?? 0)")
        }
        return slotCount == count && owners.count == 1
    }
}
