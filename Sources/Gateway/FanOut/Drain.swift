// The end of a worker's service: its clients are sent away in even slices. Loop-confined.

import EventLoop

/// Closes a worker's clients with 1001, spread over a time, so that they do not all reconnect elsewhere at
/// once.
final class Drain {
    private let startedAt = MonotonicInstant.now
    private unowned(unsafe) let connections: Connections
    private unowned(unsafe) let turn: Turn
    private let time: Duration
    private let onDrained: () -> Void
    private var timer: Timer?
    private var isDone = false
    private var startCount = 0
    private var closedCount = 0

    /// - Parameter onDrained: called once, when no connection is left.
    init(
        _ connections: Connections, _ turn: Turn, over time: Duration, loop: EventLoop,
        onDrained: @escaping () -> Void
    ) {
        self.connections = connections
        self.turn = turn
        self.time = time
        self.onDrained = onDrained
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.closeSlice() }
    }

    func start() {
        startCount = connections.members.count
        timer?.start(after: Limits.drainSliceInterval)
        closeSlice()
    }

    /// A connection is over: reports once that nothing is left.
    func check() {
        guard !isDone, connections.openCount == 0 else { return }
        isDone = true
        timer?.cancel()
        onDrained()
    }

    private func closeSlice() {
        let elapsed = MonotonicInstant.now - startedAt
        let due = Drain.dueCount(clients: startCount, elapsed: elapsed, of: time)
        // At the end go also those whose handshakes were on their way when the drain began.
        let count = elapsed >= time ? connections.members.count : max(0, due - closedCount)
        closedCount += count
        // What the turn has brought so far comes before the goodbye.
        if count > 0 { turn.flush() }
        for member in Array(connections.members.prefix(count)) { member.close(.goingAway) }
        check()
    }

    /// How many of the clients are to be closed by now: one each `time / clients`, the first half a step
    /// after the start and the last half a step before the end.
    static func dueCount(clients: Int, elapsed: Duration, of time: Duration) -> Int {
        guard elapsed < time else { return clients }
        let share = Double(elapsed.wholeNanoseconds) / Double(time.wholeNanoseconds)
        return min(clients, Int(Double(clients) * share + 0.5))
    }
}
