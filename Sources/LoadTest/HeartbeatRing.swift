// Every client's heartbeat, spread evenly. Loop-confined.

import EventLoop

/// Beats once for each token and turn of the ring, in the order of the clients. Over a few connections, or,
/// as many as there are tokens, each over its own.
final class HeartbeatRing {
    /// The API asks for one every 20 to 29 s.
    private static let seconds = 25.0
    /// Far below the spread's own unevenness.
    private static let tick = Duration.milliseconds(50)

    private let tokens: [String]
    private let clients: [HttpClient]
    private var pacer: Pacer
    private var timer: Timer?
    private var pendingCount = 0
    private(set) var count = 0
    private(set) var failures: [String: Int] = [:]

    /// Begins at once.
    ///
    /// - Parameter tokens: one or more.
    init(tokens: [String], clients: [HttpClient], loop: EventLoop) {
        self.tokens = tokens
        self.clients = clients
        pacer = Pacer(
            start: MonotonicInstant.now.nanoseconds,
            ratePerSecond: Double(tokens.count) / HeartbeatRing.seconds)
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.beat() }
        timer?.start(after: HeartbeatRing.tick)
    }

    private func beat() {
        for number in pacer.take(at: MonotonicInstant.now.nanoseconds, limit: tokens.count) {
            // A whole turn of the ring is unanswered. The limit keeps a dead server from filling memory; a
            // lower one would be reached by a server that is only slow.
            guard pendingCount < tokens.count else {
                failures["not sent: too many unanswered", default: 0] += 1
                continue
            }
            pendingCount += 1
            count += 1
            let token = tokens[number % tokens.count]
            clients[number % clients.count].get("/heartbeat?token=\(token)") { [weak self] answer in
                guard let self else { return }
                self.pendingCount -= 1
                if case .answer(statusCode: 200, _, _) = answer { return }
                self.failures[answer.name, default: 0] += 1
            }
        }
    }
}
