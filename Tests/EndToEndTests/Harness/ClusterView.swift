// What one server of a Redis Cluster believes of all of them: the answer to CLUSTER NODES.

struct ClusterView: Sendable, Equatable {
    struct Node: Sendable, Equatable {
        let id: String
        let flags: Set<String>
        /// The id of the master that this one follows; nil for a master.
        let masterId: String?
        let epoch: Int
        let isLinked: Bool
        /// As the server writes them: `0-5460`, `93`. A slot that is on its way is still its owner's.
        let ranges: [String]

        var isMaster: Bool { flags.contains("master") }
        var firstSlot: Int? { ranges.first?.split(separator: "-").first.flatMap { Int($0) } }

        func owns(_ slot: Int) -> Bool {
            ranges.contains { range in
                let ends = range.split(separator: "-").compactMap { Int($0) }
                return ends.first.map { $0 <= slot } == true && ends.last.map { slot <= $0 } == true
            }
        }
    }

    /// By their ids.
    let nodes: [String: Node]
    /// The server that was asked.
    let own: Node

    /// - Throws: `HarnessError` for an answer of another form.
    init(parsing text: String) throws {
        var nodes: [String: Node] = [:]
        var own: Node?
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ").map(String.init)
            guard fields.count >= 8, let epoch = Int(fields[6]) else {
                throw HarnessError("no line of CLUSTER NODES: \(line)")
            }
            let node = Node(
                id: fields[0], flags: Set(fields[2].split(separator: ",").map(String.init)),
                masterId: fields[3] == "-" ? nil : fields[3], epoch: epoch,
                isLinked: fields[7] == "connected",
                ranges: fields[8...].filter { !$0.hasPrefix("[") })
            nodes[node.id] = node
            if node.flags.contains("myself") { own = node }
        }
        guard let own else { throw HarnessError("CLUSTER NODES without the server itself: \(text)") }
        (self.nodes, self.own) = (nodes, own)
    }

    /// Who follows whom and who owns what: equal at all servers of a cluster that is at rest.
    var agreed: [String: [String]] { nodes.mapValues { [$0.masterId ?? "master"] + $0.ranges } }
}
