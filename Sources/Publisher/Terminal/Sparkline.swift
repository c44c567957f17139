// A series of numbers as a row of bars. Pure.

/// A value over the last time, in one line of text.
struct Sparkline {
    /// The time that is shown.
    static let span = Duration.seconds(60)

    private var samples: [(at: Duration, value: Double)] = []

    /// The last value; nil before the first.
    var last: Double? { samples.last?.value }

    /// Takes a value; those that are no longer shown are forgotten.
    ///
    /// - Parameter time: by any clock that does not go back, the same for all.
    mutating func add(_ value: Double, at time: Duration) {
        samples.append((time, value))
        // One that is older is kept: it holds until the next one.
        while samples.count > 1, samples[1].at <= time - Self.span { samples.removeFirst() }
    }

    /// The bars from `span` ago to now: blanks before the first value, each bar the highest value of its
    /// time, the highest of all in full height.
    ///
    /// - Parameters:
    ///   - columnCount: how many bars; not more than seconds are told apart.
    ///   - isAscii: where the terminal has no block elements.
    func text(columnCount: Int, now: Duration, isAscii: Bool = false) -> String {
        let count = max(0, min(columnCount, Int(Self.span.components.seconds)))
        let levels: [Character] = Array(isAscii ? ".:-=+*%#" : "▁▂▃▄▅▆▇█")
        let values = (0..<count).map { column -> Double? in
            let step = Self.span / Double(count)
            let start = now - Self.span + step * Double(column)
            return highest(from: start, to: start + step)
        }
        let top = values.compactMap { $0 }.max() ?? 0
        let bars = values.map { value -> Character in
            guard let value else { return " " }
            guard top > 0, value > 0 else { return levels[0] }
            return levels[min(levels.count - 1, Int(value / top * Double(levels.count)))]
        }
        return String(bars)
    }

    /// The highest value that held in a time; nil when it was before the first.
    private func highest(from start: Duration, to end: Duration) -> Double? {
        let held = samples.last { $0.at <= start }.map { [$0.value] } ?? []
        return (held + samples.filter { $0.at > start && $0.at <= end }.map(\.value)).max()
    }
}
