// Which renewals wait for others, so that they leave in one write. Pure.

/// Heartbeats are most of what Redis does for a gateway, and most of what one costs there is the read that
/// brings it and the write of its answer. So those that come close together share these. One that comes alone
/// does not wait:
///
///     quiet ── a renewal: leaves at once ──▶ busy ── the pause is over, none waits ──▶ quiet
///     busy ── a renewal: waits ── the pause is over, or enough wait: all leave ──▶ busy, for another pause
struct RenewalBatch {
    enum Action: Equatable {
        case wait
        /// This one leaves at the end of the turn with all that wait, and a pause begins.
        case leave
    }

    private let maximumCount: Int
    private var isBusy = false
    /// Some of these may have left with another command: then the batch is smaller.
    private var waitingCount = 0

    /// - Parameter maximumCount: with the last of so many a batch leaves before the pause is over.
    init(maximumCount: Int) {
        self.maximumCount = maximumCount
    }

    /// A renewal comes.
    mutating func add() -> Action {
        guard isBusy else {
            isBusy = true
            return .leave
        }
        waitingCount += 1
        guard waitingCount == maximumCount else { return .wait }
        waitingCount = 0
        return .leave
    }

    /// The pause is over.
    ///
    /// - Returns: whether those that wait leave now, and another pause begins.
    mutating func pauseEnds() -> Bool {
        isBusy = waitingCount > 0
        waitingCount = 0
        return isBusy
    }
}
