// The end of a worker's service: its clients are sent away in even slices. Loop-confined.

import EventLoop

/// Closes a worker's clients with 1001, spread over a time, so that they do not all reconnect elsewhere at once.
final class Drain {
    private static let interval = Duration.milliseconds(50)

    private let startedAt = MonotonicInstant.now
    private let time: Duration
    private let loop: EventLoop
    private var timer: Timer?
    private var isReported = false
    private var startCount = 0
    private var closedCount = 0

    init(over time: Duration, loop: EventLoop) {
        self.loop = loop
        self.time = time
    }

    func start(_ worker: Worker) {
        startCount = worker.clients.count
        let timer = Timer(on: loop, repeating: true) { [unowned self, unowned worker] in self.closeSlice(of: worker) }
        timer.start(after: Drain.interval)
        self.timer = timer
        closeSlice(of: worker)
    }

    /// Reports once that nothing is left.
    func check(_ worker: Worker) {
        guard !isReported, worker.openConnectionCount == 0 else { return }
        isReported = true
        timer?.cancel()
        worker.drained()
    }

    private func closeSlice(of worker: Worker) {
        let elapsed = MonotonicInstant.now - startedAt
        let due = Drain.dueCount(clients: startCount, elapsed: elapsed, of: time)
        // At the end go also those whose handshakes were on their way when the drain began.
        let count = elapsed >= time ? worker.clients.count : max(0, due - closedCount)
        closedCount += count
        if count > 0 { worker.flushRooms() }
        for client in Array(worker.clients.values.prefix(count)) { client.close(.goingAway) }
        check(worker)
    }

    /// How many of the clients are to be closed by now: one each `time / clients`, the first half a step after the
    /// start and the last half a step before the end.
    static func dueCount(clients: Int, elapsed: Duration, of time: Duration) -> Int {
        guard elapsed < time else { return clients }
        let share = Double(elapsed.wholeNanoseconds) / Double(time.wholeNanoseconds)
        return min(clients, Int(Double(clients) * share + 0.5))
    }
}
