// A run's results for people. Pure.

import Options

/// The table that stands at the end of a run.
enum ReportTable {
    static func text(_ report: RunReport) -> String {
        var lines = [
            "loadtest \(report.version), run \(report.run)\(report.isInterrupted ? ", interrupted" : "")"
        ]
        func row(_ title: String, _ text: String) {
            // What gateways and Redis have answered is in some.
            lines.append(title + String(repeating: " ", count: 14 - title.count) + DisplayText.text(text))
        }
        let handshakes = report.handshakes
        row(
            "clients",
            "\(handshakes.opened) open of \(report.setting.clients) in \(report.setting.rooms) rooms")
        row(
            "handshakes",
            "\(number(handshakes.perSecond))/s   " + percentiles(handshakes.latencyMicroseconds)
        )
        for (what, counts) in [
            ("tokens", report.tokens.postponed), ("handshakes", handshakes.postponed),
            ("returns", report.connections.churnPostponed),
        ] where !counts.isEmpty {
            let times = counts.sorted { $0.key < $1.key }.map { "; \($0.value) times: \($0.key)" }
            row("postponed", what + times.joined())
        }
        if report.messages.published > 0 {
            let messages = report.messages
            row(
                "messages",
                "\(messages.measured) of \(report.setting.payloadBytes) B in "
                    + "\(number(report.measuredSeconds)) s = "
                    + "\(number(messages.perSecond))/s")
            if messages.lagMicroseconds.count > 0 {
                row("  sent late", percentiles(messages.lagMicroseconds))
            }
            row("deliveries", "\(report.deliveries.measured) = \(number(report.deliveries.perSecond))/s")
            row("  latency", percentiles(report.deliveries.latencyMicroseconds))
        }
        let checked = report.deliveries.checked
        row(
            "checked",
            "\(checked.received) of \(checked.expected) arrived; lost \(checked.lost), "
                + "duplicated \(checked.duplicated), out of order \(checked.outOfOrder), "
                + "misrouted \(checked.misrouted), corrupt \(checked.corrupt)")
        if report.heartbeats.sent > 0 {
            row("heartbeats", "\(report.heartbeats.sent) over \(report.heartbeats.connections) connections")
        }
        if report.connections.slow > 0 {
            let closes = report.connections.slowCloses.sorted { $0.key < $1.key }
            let text = closes.map { "; \($0.value) ended: \($0.key)" }.joined()
            row("slow", "\(report.connections.slow)\(text)")
        }
        if report.connections.churned > 0 {
            row("churn", "\(report.connections.churned) left and came back")
        }
        if let failover = report.failover { rows(failover).forEach { row($0, $1) } }
        if let server = report.server {
            row("server CPU", cpu(server.cpu))
            if let cost = server.handshakeCpuMicroseconds {
                row("  handshake", "\(number(cost)) us CPU each")
            }
            row("server memory", memory(server))
        }
        if let tool = report.tool { row("tool CPU", cpu(tool)) }
        for problem in report.problems { row("PROBLEM", problem) }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func rows(_ failover: RunReport.Failover) -> [(String, String)] {
        let lost = failover.lost.sorted { $0.key < $1.key }.map { "; \($0.value) lost: \($0.key)" }.joined()
        let refusals = failover.refusals.sorted { $0.key < $1.key }.map { "; \($0.value) times: \($0.key)" }
            .joined()
        return [
            ("failover", "\(failover.returned) returned in \(number(failover.seconds)) s\(lost)\(refusals)"),
            ("  absence", percentiles(failover.absenceMicroseconds)),
        ]
    }

    private static func percentiles(_ latency: LatencyReport) -> String {
        [
            ("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p99.9", latency.p999),
            ("max", latency.max),
        ].map { "\($0) \(number($1 / 1000)) ms" }.joined(separator: "  ")
    }

    private static func cpu(_ cpu: CpuReport) -> String {
        let text = "user \(number(cpu.userSeconds)) s, system \(number(cpu.systemSeconds)) s"
        guard let user = cpu.userSecondsPerMillionDeliveries,
            let system = cpu.systemSecondsPerMillionDeliveries
        else { return text }
        return text + "; a million deliveries: user \(number(user)) s, system \(number(system)) s"
    }

    private static func memory(_ server: RunReport.Server) -> String {
        func mebibytes(_ bytes: Int) -> String { number(Double(bytes) / Double(1 << 20)) }
        var text =
            "\(mebibytes(server.residentBytesBefore)) MiB before, "
            + "\(mebibytes(server.residentBytesConnected)) MiB connected, "
            + "\(mebibytes(server.residentBytesAtEnd)) MiB at the end"
        if let each = server.residentBytesPerConnection {
            text += "; \(number(each / 1024)) KiB a connection"
        }
        return text
    }

    /// Three significant digits or all whole ones; at most three decimals.
    static func number(_ value: Double) -> String {
        let (decimals, scale) =
            switch abs(value) {
            case 100...: (0, 1)
            case 10...: (1, 10)
            case 1...: (2, 100)
            default: (3, 1000)
            }
        // No measurement is larger, but the table must hold whatever it is given.
        guard abs(value) < 1e15 else { return "\(value)" }
        let scaled = Int64((abs(value) * Double(scale)).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard decimals > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(scaled % Int64(scale))
        return "\(sign)\(scaled / Int64(scale))." + String(repeating: "0", count: decimals - fraction.count)
            + fraction
    }
}
