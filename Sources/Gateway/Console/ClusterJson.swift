// The answer of GET /console/api/cluster. Pure.

import RedisSchema

/// Writes reports as JSON:
///
///     {"node":"n1","redis":null | "why it is away","actions":true,"boundsMs":[0.1,…],
///      "nodes":[{"id":"n1",…,"closes":{"1001":3},"publishToFlush":[…],"topRooms":[{"room":"a","members":2}]}]}
struct ClusterJson {
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - nodeID: of the node that answers.
    ///   - hasActions: whether notices and revocations are taken.
    init(_ cluster: ClusterView.Cluster, nodeID: String, hasActions: Bool) {
        bytes.reserveCapacity(1024 + 4096 * cluster.reports.count)
        text(#"{"node":"#)
        string(nodeID)
        text(#","redis":"#)
        if let failure = cluster.failure { string(failure) } else { text("null") }
        text(#","actions":\#(hasActions),"boundsMs":"#)
        list(NodeReport.publishToFlushBounds.map { $0 * 1_000 }) { $0.text("\($1)") }
        text(#","nodes":"#)
        list(cluster.reports) { $0.report($1) }
        text("}")
    }

    private mutating func report(_ report: NodeReport) {
        text(#"{"id":"#)
        string(report.id)
        text(#","address":"#)
        string(report.address)
        text(#","version":"#)
        string(report.version)
        text(#","ready":\#(report.isReady),"draining":\#(report.isDraining),"startedAt":\#(report.startedAt)"#)
        text(#","uptimeMs":\#(report.uptimeMilliseconds),"workers":\#(report.workers)"#)
        let numbers: [(String, UInt64)] = [
            ("connections", report.connections), ("connectionsLimit", report.connectionsLimit),
            ("rooms", report.rooms), ("received", report.received), ("delivered", report.delivered),
            ("writtenBytes", report.writtenBytes), ("queueBytes", report.queueBytes),
            ("tokensIssued", report.tokensIssued), ("handshakes", report.handshakes), ("rejected", report.rejected),
            ("redisReconnects", report.redisReconnects), ("memoryBytes", report.memoryBytes),
        ]
        for (name, value) in numbers { text(",\"\(name)\":\(value)") }
        text(#","closes":{"#)
        for (index, closes) in report.closes.enumerated() {
            if index > 0 { text(",") }
            string(closes.reason)
            text(":\(closes.count)")
        }
        text(#"},"publishToFlush":"#)
        list(report.publishToFlush) { $0.text("\($1)") }
        text(#","topRooms":"#)
        list(report.topRooms.prefix(NodeReport.topRoomCount)) { json, entry in
            json.text(#"{"room":"#)
            json.string("\(entry.room)")
            json.text(#","members":\#(entry.count)}"#)
        }
        text("}")
    }

    private mutating func list<Items: Sequence>(_ items: Items, _ write: (inout ClusterJson, Items.Element) -> Void) {
        text("[")
        var isFirst = true
        for item in items {
            if !isFirst { text(",") }
            isFirst = false
            write(&self, item)
        }
        text("]")
    }

    private mutating func string(_ value: String) { NoticeEnvelope.appendString(value, to: &bytes) }

    private mutating func text(_ value: String) { bytes.append(contentsOf: value.utf8) }
}
