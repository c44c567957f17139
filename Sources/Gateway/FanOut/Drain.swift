// The end of a worker's service: its clients are sent away in even slices. Loop-confined.

import EventLoop

/// Closes a worker's clients with 1001, spread over a time, so that they do not all reconnect elsewhere at once.
final class Drain {
    private static let interval = Duration.milliseconds(50)

    private let deadline: MonotonicInstant
    private let loop: EventLoop
    private var timer: Timer?
    private var isReported = false

    init(over time: Duration, loop: EventLoop) {
        self.loop = loop
        deadline = .now + time
    }

    func start(_ worker: Worker) {
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
        let count = Drain.sliceCount(
            clients: worker.clients.count, timeLeft: deadline - .now, interval: Drain.interval)
        for client in Array(worker.clients.values.prefix(count)) { client.close(.goingAway) }
        check(worker)
    }

    /// How many clients to close now, so that an even slice goes at each interval and none is left at the end.
    static func sliceCount(clients: Int, timeLeft: Duration, interval: Duration) -> Int {
        guard timeLeft > .zero else { return clients }
        let slices = timeLeft.wholeNanoseconds / interval.wholeNanoseconds + 1
        return (clients + Int(slices) - 1) / Int(slices)
    }
}
