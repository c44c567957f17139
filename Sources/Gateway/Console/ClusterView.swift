// What the console shows of all nodes, read from Redis at most once a second. Confined to the control loop.

import EventLoop
import RedisSchema
import Redis

/// Reads the reports of all nodes and keeps them for a moment, so that many open pages cost what one does.
final class ClusterView {
    /// All reports, or this node's own and why there are no others.
    struct Cluster {
        var reports: [NodeReport]
        var failure: String?
        /// The largest rooms of all nodes that have a history.
        var histories: [RoomId: RoomHistory] = [:]
    }

    private let node: NodeContext
    private let address: ReportedAddress
    private let link: ConsoleLink
    private let reader: ClusterReader
    private let historyReader: RoomHistoryReader
    private var last: (cluster: Cluster, readAt: MonotonicInstant)?
    private var waiting: [(Cluster) -> Void] = []

    init(node: NodeContext, address: String, link: ConsoleLink) {
        self.node = node
        self.address = ReportedAddress(bound: address, hostName: Configuration.hostName())
        self.link = link
        reader = ClusterReader(prefix: node.configuration.prefix) { link.send($0, onReply: $1) }
        historyReader = RoomHistoryReader(prefix: node.configuration.prefix) { link.send($0, onReply: $1) }
    }

    /// - Parameter onDone: called once, perhaps before this returns.
    func read(onDone: @escaping (Cluster) -> Void) {
        if let last, .now - last.readAt < Limits.clusterFreshness { return onDone(last.cluster) }
        waiting.append(onDone)
        guard waiting.count == 1 else { return }
        reader.read { [unowned self] in self.finish($0) }
    }

    private func finish(_ outcome: ClusterReader.Outcome) {
        var cluster = Cluster(reports: [])
        switch outcome {
        case .success(let reports): cluster.reports = reports
        case .failure(.unavailable(let reason)): cluster.failure = reason
        case .failure(.refused(let message)): cluster.failure = "refused: \(message)"
        }
        // Before its first report, and while Redis is away, the node reports about itself.
        if !cluster.reports.contains(where: { $0.id == node.configuration.nodeId }) {
            cluster.reports.append(NodeReport(node: node, address: address.text(localHost: link.localHost)))
            cluster.reports.sort { $0.id < $1.id }
        }
        let rooms = RoomMembers.merged(cluster.reports.lazy.flatMap(\.topRooms))
            .prefix(Limits.consoleHistoryCount).map(\.room)
        guard cluster.failure == nil, !rooms.isEmpty else { return answer(cluster) }
        // Without the right to see them the page shows rooms without histories.
        historyReader.read(rooms) { [unowned self] in
            cluster.histories = $0.histories
            self.answer(cluster)
        }
    }

    private func answer(_ cluster: Cluster) {
        last = (cluster, .now)
        let waiting = waiting
        self.waiting = []
        for onDone in waiting { onDone(cluster) }
    }
}
