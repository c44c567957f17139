// Opening a process's connections at a steady pace. Loop-confined.

import EventLoop

/// Dials seat after seat, and again those whom a gateway asks to come later; done when every seat has its
/// outcome.
final class ConnectPhase {
    /// As long as gateways wait for a request.
    static let handshakeTimeout = Duration.seconds(10)
    private static let tick = Duration.milliseconds(5)
    /// Handshakes on their way: keeps a slow server's backlog (4096) from overflowing.
    private static let maximumPendingCount = 512

    private unowned let holder: Holder
    private let onDone: (ConnectReport) -> Void
    private var report = ConnectReport()
    private var pacer: Pacer
    private var timer: Timer?
    private var nextSeat = 0
    private var pendingCount = 0
    private var postponed = Postponed(now: .now)
    private var nextTimeoutCheck = MonotonicInstant.now + ConnectPhase.handshakeTimeout

    init(_ holder: Holder, onDone: @escaping (ConnectReport) -> Void) {
        self.holder = holder
        self.onDone = onDone
        report.receiverCounts = Array(repeating: 0, count: holder.assignment.roomCount)
        let rate = Double(holder.plan.load.connectRate) / Double(holder.plan.processCount)
        pacer = Pacer(start: MonotonicInstant.now.nanoseconds, ratePerSecond: rate)
    }

    func start() {
        timer = Timer(on: holder.loop, repeating: true) { [unowned self] in self.advance() }
        timer?.start(after: ConnectPhase.tick)
    }

    func opened(_ client: LoadClient) {
        pendingCount -= 1
        postponed.succeeded(at: .now)
        report.openedCount += 1
        report.latency.record((MonotonicInstant.now - client.startedAt).wholeNanoseconds)
        guard !client.isSlow else { return }
        for room in holder.seats[client.seat].rooms { report.receiverCounts[room] += 1 }
    }

    /// - Parameter wait: how long the gateway asks not to be asked again; nil when it does not.
    func refused(_ seat: Int, reason: String, wait: Duration?) {
        pendingCount -= 1
        guard !postponed.add(seat, reason: reason, wait: wait, at: .now) else { return }
        report.failures[reason, default: 0] += 1
    }

    private func advance() {
        let now = MonotonicInstant.now
        let leftCount = holder.seats.count - nextSeat + postponed.count
        if postponed.isSilent(at: now) {
            // Not made up for afterwards: that would be a rush of its own.
            _ = pacer.take(at: now.nanoseconds, limit: .max)
        } else {
            let limit = min(ConnectPhase.maximumPendingCount - pendingCount, leftCount)
            for _ in pacer.take(at: now.nanoseconds, limit: max(0, limit)) { dialNext() }
        }
        dropOverdue()
        guard nextSeat == holder.seats.count, postponed.count == 0, pendingCount == 0 else { return }
        timer = nil
        report.postponed = postponed.counts
        onDone(report)
    }

    private func dialNext() {
        var seat = nextSeat
        if let postponed = postponed.next() { seat = postponed } else { nextSeat += 1 }
        guard holder.seats[seat].target != nil else {
            report.failures["no token", default: 0] += 1
            return
        }
        do throws(SystemError) {
            try holder.dial(seat)
            pendingCount += 1
        } catch {
            report.failures[error.description, default: 0] += 1
        }
    }

    private func dropOverdue() {
        let now = MonotonicInstant.now
        guard now >= nextTimeoutCheck else { return }
        nextTimeoutCheck = now + .milliseconds(500)
        for client in holder.seats.compactMap(\.client)
        where client.isPending && now - client.startedAt > ConnectPhase.handshakeTimeout {
            client.drop()
            holder.seats[client.seat].client = nil
            refused(client.seat, reason: "timeout", wait: nil)
        }
    }
}

extension LoadClient {
    /// Whether it is still on its way to be open.
    var isPending: Bool { phase == .connecting || phase == .handshaking }
}
