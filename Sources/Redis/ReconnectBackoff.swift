// How long to wait before the next attempt to connect. Pure.

import System

/// Exponential backoff with full jitter: each wait is uniform between a small floor and a ceiling that
/// doubles, so that the nodes of a cluster do not come back in step.
package struct ReconnectBackoff {
    /// No wait is shorter: a server that closes at once must not be called in a loop.
    static let floor = Duration.milliseconds(20)

    /// The usual bound of all waits.
    package static let longestWait = Duration.seconds(2)

    private let initialCeiling: Duration
    private let maximumCeiling: Duration
    private var ceiling: Duration

    /// - Parameters:
    ///   - initialCeiling: the longest first wait.
    ///   - maximumCeiling: the longest wait ever.
    package init(
        initialCeiling: Duration = .milliseconds(100), maximumCeiling: Duration = longestWait
    ) {
        self.initialCeiling = initialCeiling
        self.maximumCeiling = maximumCeiling
        self.ceiling = initialCeiling
    }

    /// The next wait; the one after it may be up to twice as long.
    package mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let span = (ceiling - ReconnectBackoff.floor).wholeNanoseconds
        ceiling = min(ceiling * 2, maximumCeiling)
        return ReconnectBackoff.floor + .nanoseconds(Int64.random(in: 0...max(0, span), using: &generator))
    }

    /// Starts over: the connection has worked.
    package mutating func reset() {
        ceiling = initialCeiling
    }
}
