// A wait for a server that ends fairly: not before what has come was read. Loop-confined.

import EventLoop

/// Reports that the server has had its time. A process that was stopped during the wait (SIGSTOP, a machine
/// that moves, a loop that was busy) finds its timer expired and the answer unread: then the wait is
/// prolonged, a few times at most.
final class PatienceTimer {
    /// How often one wait is prolonged: a server that dribbles must not hold it for ever.
    static let maximumProlongationCount = 4

    private let patience: Duration
    private let hasNews: () -> Bool
    private let onExpiry: () -> Void
    private var timer: Timer?
    private var dueAt = MonotonicInstant.now
    private var prolongationCount = 0

    /// - Parameters:
    ///   - patience: how long the server has for one answer.
    ///   - hasNews: whether something has come that the loop has not read yet.
    init(
        _ patience: Duration, loop: EventLoop, hasNews: @escaping () -> Bool, onExpiry: @escaping () -> Void
    ) {
        self.patience = patience
        self.hasNews = hasNews
        self.onExpiry = onExpiry
        timer = Timer(on: loop) { [unowned self] in self.fire() }
    }

    /// Starts the wait, or starts it anew.
    ///
    /// - Parameter delay: how much of the patience is left; nil is all of it.
    func start(after delay: Duration? = nil) {
        prolongationCount = 0
        arm(delay ?? patience)
    }

    func cancel() { timer?.cancel() }

    private func arm(_ delay: Duration) {
        dueAt = .now + delay
        timer?.start(after: delay)
    }

    private func fire() {
        let isLate = MonotonicInstant.now - dueAt > patience / 4
        guard prolongationCount < PatienceTimer.maximumProlongationCount, isLate || hasNews() else {
            return onExpiry()
        }
        prolongationCount += 1
        // Late, the question itself may only be about to leave; otherwise the next turn reads.
        arm(isLate ? patience : patience / 4)
    }
}
