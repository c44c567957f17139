// Numbers for people: short, and the same everywhere. Pure.

/// Texts of quantities.
enum Quantity {
    /// Bytes in the largest binary unit, one decimal below ten: `0 B`, `9.1 MiB`, `27 MiB`.
    static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        var unit = "B"
        for larger in ["KiB", "MiB", "GiB", "TiB"] where value >= 1023.5 {
            value /= 1024
            unit = larger
        }
        return (unit == "B" ? String(count) : number(value)) + " " + unit
    }

    /// A rate: whole from ten on, with one decimal below; `-` when it is unknown.
    static func rate(_ perSecond: Double?) -> String {
        perSecond.map(number) ?? "-"
    }

    /// The two largest units: `42s`, `5m 3s`, `2h 0m`, `3d 4h`.
    static func time(milliseconds: Int64) -> String {
        let seconds = milliseconds / 1000
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400)
        if days > 0 { return "\(days)d \(hours % 24)h" }
        if hours > 0 { return "\(hours)h \(minutes % 60)m" }
        return minutes > 0 ? "\(minutes)m \(seconds % 60)s" : "\(seconds)s"
    }

    /// `1 node`, `2 nodes`.
    static func count(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    /// A number with three decimals, as JSON takes it.
    static func decimal(_ value: Double) -> String {
        let thousandths = (value * 1000).rounded()
        guard thousandths.isFinite, abs(thousandths) < 1e15 else { return "0" }
        let whole = Int64(thousandths)
        let fraction = String(abs(whole) % 1000)
        let sign = whole < 0 ? "-" : ""
        return "\(sign)\(abs(whole) / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    }

    private static func number(_ value: Double) -> String {
        // What would be rounded to 10.0 is whole.
        guard value < 9.95 else { return String(Int64(min(value.rounded(), 1e18))) }
        let tenths = Int64((max(0, value) * 10).rounded())
        return tenths % 10 == 0 ? String(tenths / 10) : "\(tenths / 10).\(tenths % 10)"
    }
}
