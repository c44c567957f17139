// How nodes are shown: as a table, as JSON, in sum. Pure.

import JSON
import Options
import RedisSchema

/// The nodes of a cluster at one time.
struct NodeListing {
    /// What stands where there is none.
    static let none = "no node has reported itself"

    /// By id.
    let reports: [NodeReport]
    let rates: NodeRates

    private static let columns = [
        TextTable.Column("NODE"), .init("ADDRESS", rank: 6), .init("VERSION", rank: 7),
        .init("UPTIME", isRight: true, rank: 3), .init("STATE"), .init("CONNECTIONS", isRight: true),
        .init("ROOMS", isRight: true, rank: 2), .init("DELIVERIES/S", isRight: true, rank: 1),
        .init("QUEUE", isRight: true, rank: 4), .init("MEMORY", isRight: true, rank: 5),
    ]

    /// A row for each node.
    var table: TextTable {
        var table = TextTable(columns: Self.columns)
        table.rows = reports.map { report in
            [
                DisplayText.text(report.id), DisplayText.text(report.address),
                DisplayText.text(report.version),
                Quantity.time(milliseconds: report.uptimeMilliseconds), Self.state(of: report),
                "\(report.connections)/\(report.connectionsLimit)", "\(report.rooms)",
                Quantity.rate(rates.deliveriesPerSecond(of: report.id)), Quantity.bytes(report.queueBytes),
                Quantity.bytes(report.memoryBytes),
            ]
        }
        return table
    }

    /// The table and a line with the sums.
    func lines(columnCount: Int = .max) -> [String] {
        guard !reports.isEmpty else { return [DisplayText.text(Self.none, columnCount: columnCount)] }
        return table.lines(columnCount: columnCount)
            + [DisplayText.text(totals.joined(separator: ", "), columnCount: columnCount)]
    }

    /// Everything in sum, in words.
    var totals: [String] {
        let ready = reports.count { Self.state(of: $0) == "ready" }
        return [
            "\(Quantity.count(reports.count, "node")), \(ready) ready",
            "\(connections) of \(reports.map(\.connectionsLimit).clampedSum) connections",
            "\(Quantity.rate(rates.totalPerSecond)) deliveries/s",
            "queue \(Quantity.bytes(reports.map(\.queueBytes).clampedSum))",
            "memory \(Quantity.bytes(reports.map(\.memoryBytes).clampedSum))",
        ]
    }

    var connections: UInt64 { reports.map(\.connections).clampedSum }

    /// The nodes as one object.
    var json: String {
        JsonLine.object { json in
            json.member("nodes", array: reports) { json, report in
                json.object {
                    report.writeMembers(to: &$0)
                    $0.member("uptime", report.uptimeMilliseconds)
                    $0.member("deliveredPerSecond", decimal: rates.deliveriesPerSecond(of: report.id))
                    $0.member("memory", report.memoryBytes)
                }
            }
        }
    }

    /// What a node does at present, in a word or two.
    static func state(of report: NodeReport) -> String {
        report.isDraining ? "draining" : report.isReady ? "ready" : "not ready"
    }
}
