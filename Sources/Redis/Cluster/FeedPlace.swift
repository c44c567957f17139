// At which node of a Redis Cluster a gateway node listens. Pure.

/// Every node of a cluster, master or replica, hears what is published at any of them. So that gateway nodes spread
/// over all of them, each has an order of its own, in which it tries them: by the highest of a hash of both names
/// (rendezvous hashing). When a node goes, only those move that listened there, and to different ones.
package enum FeedPlace {
    /// All nodes in the order in which a gateway node tries them.
    package static func order(_ nodes: [RedisURL.Address], for nodeID: String) -> [RedisURL.Address] {
        nodes.map { (weight: hash("\(nodeID) \($0)"), node: $0) }
            .sorted { $0.weight > $1.weight }
            .map(\.node)
    }

    /// FNV-1a with a last mix (of SplitMix64), as names differ in few of their last bits.
    private static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
        return hash ^ hash >> 31
    }
}
