// Clients that go to another gateway, all at once, because theirs is gone. Loop-confined.

import EventLoop

/// What has become of the clients that lost their connection.
struct FailoverReport: Codable, Sendable {
    /// Connections that were lost, by close code or error.
    var lost: [String: Int] = [:]
    var returnedCount = 0
    /// Attempts to return that failed, by status code or error; each was followed by another.
    var refusals: [String: Int] = [:]
    /// CLOCK_MONOTONIC nanoseconds; 0 if no connection was lost, or no client has returned.
    var firstLossAt: Int64 = 0
    var lastReturnAt: Int64 = 0
    /// From the loss of a connection to the 101 of the next one, in nanoseconds.
    var absence = Histogram()

    static func += (left: inout FailoverReport, right: FailoverReport) {
        left.lost += right.lost
        left.returnedCount += right.returnedCount
        left.refusals += right.refusals
        let losses = [left.firstLossAt, right.firstLossAt].filter { $0 > 0 }
        left.firstLossAt = losses.min() ?? 0
        left.lastReturnAt = max(left.lastReturnAt, right.lastReturnAt)
        left.absence.merge(right.absence)
    }
}

/// Dials for each lost connection in the turn in which the loss is found, and again after every failure.
final class Failover {
    private static let tick = Duration.milliseconds(20)
    /// As the API asks of clients: a short random wait, so that the refused do not all come back together.
    private static let retryMilliseconds: ClosedRange<Int64> = 200...1000

    private struct Absence {
        let lostAt: MonotonicInstant
        /// When to dial again; nil while an attempt is under way.
        var retryAt: MonotonicInstant?
    }

    private unowned let holder: Holder
    private let destinations: [Destination]
    /// By seat.
    private var absences: [Int: Absence] = [:]
    private var timer: Timer?
    private(set) var report = FailoverReport()

    /// - Parameter destinations: where clients go, one or more.
    init(_ holder: Holder, to destinations: [Destination]) {
        self.holder = holder
        self.destinations = destinations
        timer = Timer(on: holder.loop, repeating: true) { [unowned self] in self.look() }
        timer?.start(after: Failover.tick)
    }

    /// Whether a client is still on the way.
    var isBusy: Bool { !absences.isEmpty }

    /// Whether the seat's client is on the way back.
    func expects(_ seat: Int) -> Bool { absences[seat] != nil }

    /// The gateway has ended this connection. What it should have received in its last moment is unknown,
    /// so only gaps within what it did receive count. A client that resumes gets it on its next one.
    func lost(_ client: LoadClient, reason: String) {
        let now = MonotonicInstant.now
        report.lost[reason, default: 0] += 1
        if report.firstLossAt == 0 { report.firstLossAt = now.nanoseconds }
        if let continuation = client.continuation {
            holder.seats[client.seat].continuation = continuation
        } else {
            holder.endedDeliveries += client.counts(ofMessages: 0)
        }
        holder.seats[client.seat].client = nil
        absences[client.seat] = Absence(lostAt: now, retryAt: nil)
        dial(client.seat)
    }

    func returned(_ client: LoadClient) {
        guard let absence = absences.removeValue(forKey: client.seat) else { return }
        let now = MonotonicInstant.now
        report.returnedCount += 1
        report.lastReturnAt = now.nanoseconds
        report.absence.record((now - absence.lostAt).wholeNanoseconds)
    }

    /// - Parameter wait: how long the gateway asks not to be asked again; nil when it does not.
    func refused(_ seat: Int, reason: String, wait: Duration? = nil) {
        report.refusals[reason, default: 0] += 1
        let delay = Duration.milliseconds(Int64.random(in: Failover.retryMilliseconds))
        absences[seat]?.retryAt = .now + delay + (wait ?? .zero)
    }

    private func dial(_ seat: Int) {
        absences[seat]?.retryAt = nil
        let number = holder.seats[seat].number
        do throws(SystemError) {
            try holder.dial(
                seat, destinations[number % destinations.count], number: number / destinations.count)
        } catch {
            refused(seat, reason: error.description)
        }
    }

    private func look() {
        let now = MonotonicInstant.now
        for (seat, absence) in absences {
            if let retryAt = absence.retryAt {
                if now >= retryAt { dial(seat) }
            } else if let client = holder.seats[seat].client, client.isPending,
                now - client.startedAt > ConnectPhase.handshakeTimeout
            {
                client.drop()
                holder.seats[seat].client = nil
                refused(seat, reason: "timeout")
            }
        }
    }
}
