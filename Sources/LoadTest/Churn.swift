// Clients that leave and come back while messages flow. Loop-confined.

import EventLoop

/// Takes the clients in turn. Each one, before it goes, waits for what was published when its turn came:
/// that is what its connection has to receive; whatever else reaches it is booked and not required.
final class Churn {
    private static let tick = Duration.milliseconds(20)
    /// For the messages before leaving, for the server's Close, and for the new handshake.
    private static let patience = Duration.seconds(10)

    private struct Departure {
        let client: LoadClient
        let publishedCount: Int
        let deadline: MonotonicInstant
    }

    private unowned let holder: Holder
    private var pacer: Pacer
    private var timer: Timer?
    private var nextSeat = 0
    private var departures: [Departure] = []
    private var arrivals: [LoadClient] = []
    /// Seats whose clients a gateway has asked to come later.
    private var postponed: [(seat: Int, dialAt: MonotonicInstant)] = []
    /// When a seat's client has to be back.
    private var deadlines: [Int: MonotonicInstant] = [:]

    init(_ holder: Holder, ratePerSecond: Double) {
        self.holder = holder
        pacer = Pacer(start: MonotonicInstant.now.nanoseconds, ratePerSecond: ratePerSecond)
        timer = Timer(on: holder.loop, repeating: true) { [unowned self] in self.advance() }
        timer?.start(after: Churn.tick)
    }

    /// Whether a client is on its way out or in.
    var isBusy: Bool {
        departures.contains { $0.client.phase == .leaving } || arrivals.contains(where: \.isPending)
            || !postponed.isEmpty
    }

    /// No further client leaves; a departure that has not begun is dropped.
    func stop() {
        timer = nil
        departures.removeAll { $0.client.phase == .open }
    }

    /// A client's connection has ended after its Close frame.
    func left(_ client: LoadClient) {
        guard let index = departures.firstIndex(where: { $0.client === client }) else { return }
        let departure = departures.remove(at: index)
        holder.endedDeliveries += client.counts(ofMessages: departure.publishedCount)
        holder.seats[client.seat].client = nil
        deadlines[client.seat] = .now + Churn.patience
        dial(client.seat)
    }

    private func dial(_ seat: Int) {
        do throws(SystemError) {
            try holder.dial(seat)
            if let client = holder.seats[seat].client { arrivals.append(client) }
        } catch {
            refused(seat, reason: error.description, wait: nil)
        }
    }

    func returned(_ client: LoadClient) {
        arrivals.removeAll { $0 === client }
        deadlines[client.seat] = nil
        holder.report.churnedCount += 1
    }

    /// - Parameter wait: how long the gateway asks not to be asked again; nil when it does not.
    func refused(_ seat: Int, reason: String, wait: Duration?) {
        arrivals.removeAll { $0.phase == .ended }
        if let wait, let deadline = deadlines[seat], .now + wait < deadline {
            holder.report.churnPostponed[reason, default: 0] += 1
            postponed.append((seat, .now + wait))
            return
        }
        deadlines[seat] = nil
        holder.report.churnFailures[reason, default: 0] += 1
    }

    /// Dials for whom it is time, and ends what has taken too long.
    func dropOverdue() {
        let now = MonotonicInstant.now
        let due = postponed.filter { $0.dialAt <= now }
        postponed.removeAll { $0.dialAt <= now }
        for (seat, _) in due { dial(seat) }
        for departure in departures where departure.client.phase == .leaving && now > departure.deadline {
            departure.client.drop()
            holder.report.churnFailures["no Close from the server", default: 0] += 1
            holder.ended(departure.client, in: .leaving, reason: "timeout")
        }
        for client in arrivals
        where client.isPending && now - client.startedAt > ConnectPhase.handshakeTimeout {
            client.drop()
            holder.seats[client.seat].client = nil
            refused(client.seat, reason: "timeout", wait: nil)
        }
    }

    private func advance() {
        let now = MonotonicInstant.now
        for _ in pacer.take(at: now.nanoseconds, limit: holder.seats.count) { choose(now) }
        for (index, departure) in departures.enumerated() where departure.client.phase == .open {
            let isComplete = departure.client.missingCount(ofMessages: departure.publishedCount) == 0
            guard isComplete || now > departure.deadline else { continue }
            departures[index] = Departure(
                client: departure.client, publishedCount: departure.publishedCount,
                deadline: now + Churn.patience)
            departure.client.leave()
        }
        // A client that the server has ended keeps its seat and its losses.
        departures.removeAll { $0.client.phase == .ended }
        dropOverdue()
    }

    private func choose(_ now: MonotonicInstant) {
        for _ in holder.seats.indices {
            let index = nextSeat
            nextSeat = (nextSeat + 1) % holder.seats.count
            guard let client = holder.seats[index].client, client.phase == .open, !client.isSlow,
                !departures.contains(where: { $0.client === client })
            else { continue }
            departures.append(
                Departure(
                    client: client, publishedCount: holder.board.publishedCount,
                    deadline: now + Churn.patience))
            return
        }
    }
}
