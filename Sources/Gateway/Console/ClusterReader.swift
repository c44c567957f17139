// What the console shows of all nodes, read from Redis at most once a second. Confined to the control loop.

import EventLoop
import RedisSchema
import Redis

/// Reads the reports of all nodes and keeps them for a moment, so that many open pages cost what one does.
final class ClusterReader {
    /// Nodes report every two seconds.
    private static let freshness = Duration.seconds(1)
    /// All reports, or this node's own and why there are no others.
    struct Cluster {
        var reports: [NodeReport]
        var failure: String?
    }

    private let node: NodeContext
    private let keys: Keys
    private let address: ReportedAddress
    private let link: ConsoleLink
    private var last: (cluster: Cluster, readAt: MonotonicInstant)?
    private var waiting: [(Cluster) -> Void] = []

    init(node: NodeContext, address: String, link: ConsoleLink) {
        self.node = node
        self.address = ReportedAddress(bound: address, hostName: Configuration.hostName())
        self.link = link
        keys = Keys(prefix: node.configuration.prefix)
    }

    /// - Parameter onDone: called once, perhaps before this returns.
    func read(onDone: @escaping (Cluster) -> Void) {
        if let last, .now - last.readAt < ClusterReader.freshness { return onDone(last.cluster) }
        waiting.append(onDone)
        guard waiting.count == 1 else { return }
        link.send(RedisCommand([[UInt8]("SMEMBERS"), keys.nodes])) { [unowned self] result in
            switch result {
            case .failure(let failure): self.finish([], failure)
            case .success(let reply): self.readReports(of: ClusterReader.ids(reply))
            }
        }
    }

    private static func ids(_ reply: RedisReply) -> [String] {
        (0..<reply.count).lazy.compactMap { reply[$0].bytes }.filter { NodeReport.isNodeId($0) }
            .prefix(Limits.consoleNodeCount).map { String(decoding: $0, as: UTF8.self) }
    }

    private func readReports(of ids: [String]) {
        guard !ids.isEmpty else { return finish([], nil) }
        var reports: [NodeReport] = []
        var missingCount = ids.count
        var failure: RedisFailure?
        for id in ids {
            link.send(RedisCommand([[UInt8]("HGETALL"), keys.node(id)])) { [unowned self] result in
                switch result {
                case .success(let reply):
                    let hash = (0..<reply.count).compactMap { reply[$0].bytes.map(Array.init) }
                    if let report = NodeReport(id: id, hash: hash) { reports.append(report) }
                // Something else has a key of this name.
                case .failure(.refused(let message)) where message.hasPrefix("WRONGTYPE"): break
                case .failure(let reason): failure = reason
                }
                missingCount -= 1
                if missingCount == 0 { self.finish(reports, failure) }
            }
        }
    }

    private func finish(_ reports: [NodeReport], _ failure: RedisFailure?) {
        var cluster = Cluster(reports: failure == nil ? reports : [], failure: failure.map(ClusterReader.text))
        // Until its first report is there, and while Redis is away, it can tell of itself.
        if !cluster.reports.contains(where: { $0.id == node.configuration.nodeId }) {
            cluster.reports.append(NodeReport(node: node, address: address.text(localHost: link.localHost)))
        }
        cluster.reports.sort { $0.id < $1.id }
        last = (cluster, .now)
        let waiting = waiting
        self.waiting = []
        for onDone in waiting { onDone(cluster) }
    }

    private static func text(_ failure: RedisFailure) -> String {
        switch failure {
        case .unavailable(let reason): reason
        case .refused(let message): "refused: \(message)"
        }
    }
}
