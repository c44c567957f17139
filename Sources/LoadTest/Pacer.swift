// Spreads a number of things evenly over time. Pure: the clock is handed in.

/// Says how many things are due. What is late is made up for at once, because a test that skips what it
/// could not send in time would hide the very trouble it looks for.
struct Pacer: Sendable {
    private let start: Int64
    private let ratePerSecond: Double
    private var takenCount = 0

    /// - Parameters:
    ///   - start: when the first is due, in nanoseconds.
    ///   - ratePerSecond: above 0.
    init(start: Int64, ratePerSecond: Double) {
        precondition(ratePerSecond > 0, "a pace is above zero")
        self.start = start
        self.ratePerSecond = ratePerSecond
    }

    /// When the next one is due, in nanoseconds.
    var nextDue: Int64 { dueTime(of: takenCount) }

    /// When the thing of a number, from 0, is due.
    func dueTime(of number: Int) -> Int64 {
        start + Int64((Double(number) * 1e9 / ratePerSecond).rounded())
    }

    /// Takes what is due, `limit` at most.
    ///
    /// - Returns: the numbers taken, maybe none.
    mutating func take(at now: Int64, limit: Int) -> Range<Int> {
        let first = takenCount
        while takenCount - first < limit, nextDue <= now { takenCount += 1 }
        return first..<takenCount
    }
}
