// How far a file has come, as one line: a bar on a terminal, a plain line now and then elsewhere. Pure.

import Options

/// When to show progress, and its text.
struct Progress {
    let style: ProgressStyle
    /// Bytes of the whole input; nil when it is unknown, as for a pipe.
    let totalBytes: Int?
    private var lastShown: Duration = .zero

    init(style: ProgressStyle, totalBytes: Int?) {
        self.style = style
        self.totalBytes = totalBytes
    }

    /// The line to show now; nil when it is too early.
    ///
    /// - Parameters:
    ///   - elapsed: since the start.
    ///   - readBytes: of the input, so far.
    mutating func line(elapsed: Duration, sentCount: Int, readBytes: Int) -> String? {
        guard isDue(elapsed: elapsed) else { return nil }
        return Self.text(
            elapsed: elapsed, sentCount: sentCount, readBytes: readBytes, totalBytes: totalBytes,
            hasBar: style == .bar)
    }

    /// Whether a line is to be shown now; the next one is due an interval later.
    ///
    /// - Parameter elapsed: since the start.
    mutating func isDue(elapsed: Duration) -> Bool {
        guard style != .none, elapsed - lastShown >= style.interval else { return false }
        lastShown = elapsed
        return true
    }

    /// `[##########----------]  50 %  1234 sent  617/s  2 s left`; without a total only the count and the
    /// rate.
    static func text(
        elapsed: Duration, sentCount: Int, readBytes: Int, totalBytes: Int?, hasBar: Bool
    ) -> String {
        let seconds = elapsed / .seconds(1)
        let rate = seconds > 0 ? Int(Double(sentCount) / seconds) : 0
        var parts = ["\(sentCount) sent", "\(rate)/s"]
        if let totalBytes, totalBytes > 0 {
            let share = min(1, Double(readBytes) / Double(totalBytes))
            parts.insert("\(Int(share * 100)) %", at: 0)
            if hasBar { parts.insert(bar(share), at: 0) }
            if share > 0 { parts.append(left(seconds * (1 - share) / share)) }
        }
        return parts.joined(separator: "  ")
    }

    private static func bar(_ share: Double) -> String {
        let filled = Int(share * 20)
        return "[" + String(repeating: "#", count: filled) + String(repeating: "-", count: 20 - filled) + "]"
    }

    /// Rounded up, so that it never says zero before the end; an estimate of days is no estimate.
    private static func left(_ seconds: Double) -> String {
        let whole = Int(min(seconds, 359_999).rounded(.up))
        if whole < 60 { return "\(whole) s left" }
        let minutes = whole / 60
        return minutes < 60
            ? "\(minutes) min \(whole % 60) s left" : "\(minutes / 60) h \(minutes % 60) min left"
    }
}
