// Spreads notices evenly over time. Pure: the clock is handed in, the pause is handed out.

/// Says when the next notice may go.
struct RatePacer {
    /// How much lost time is made up for: less than people notice as a burst, more than a scheduler's
    /// hiccup.
    static let maximumCatchUp = Duration.milliseconds(100)

    private let interval: Duration
    private var nextDue: Duration?

    /// - Parameter ratePerSecond: notices a second, 1...1000000.
    init(ratePerSecond: Int) {
        interval = .nanoseconds(1_000_000_000 / Int64(ratePerSecond))
    }

    /// Books the next notice and returns how long to wait before it is sent; zero when it is due.
    ///
    /// - Parameter now: a monotonic clock's reading.
    mutating func pause(at now: Duration) -> Duration {
        let due = max(nextDue ?? now, now - Self.maximumCatchUp)
        nextDue = due + interval
        return max(due - now, .zero)
    }
}
