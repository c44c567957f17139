// Deliveries a second, from what nodes count. Pure.

import RedisSchema

/// The rates of nodes, each between the last two of its reports that differ.
struct NodeRates {
    private struct Seen {
        let startedAt: Int64
        let uptimeMilliseconds: Int64
        let delivered: UInt64
        var perSecond: Double?
    }

    private var seen: [String: Seen] = [:]

    /// Takes the present reports; what is known of nodes that are not among them is forgotten.
    mutating func take(_ reports: [NodeReport]) {
        var present: [String: Seen] = [:]
        for report in reports { present[report.id] = Self.next(report, after: seen[report.id]) }
        seen = present
    }

    /// nil as long as there are not two reports of the same start of the node.
    func deliveriesPerSecond(of id: String) -> Double? { seen[id]?.perSecond }

    /// Whether all nodes have a rate.
    var isComplete: Bool { seen.values.allSatisfy { $0.perSecond != nil } }

    /// The sum over the nodes that have a rate.
    var totalPerSecond: Double { seen.values.reduce(0) { $0 + ($1.perSecond ?? 0) } }

    private static func next(_ report: NodeReport, after last: Seen?) -> Seen {
        var next = Seen(
            startedAt: report.startedAt, uptimeMilliseconds: report.uptimeMilliseconds,
            delivered: report.delivered)
        guard let last, last.startedAt == next.startedAt, last.delivered <= next.delivered,
            last.uptimeMilliseconds <= next.uptimeMilliseconds
        else { return next }
        let milliseconds = next.uptimeMilliseconds - last.uptimeMilliseconds
        next.perSecond =
            milliseconds == 0
            ? last.perSecond : Double(next.delivered - last.delivered) * 1000 / Double(milliseconds)
        return next
    }
}
