// Whether Redis takes what keeps records alive. A Redis that answers and refuses writes (no disk for its
// snapshot, no memory, no replicas, a right that was withdrawn) is to clients as one that is away.

import EventLoop
import Redis

/// What the last attempts to write have come to. Pure: the clock is given.
///
///     taken ──an attempt is refused──▶ refused ──every attempt is taken, for a while──▶ taken
struct WriteHealth {
    /// What is tried: a renewal that renews nothing, and the node's report.
    enum Attempt: Int, CaseIterable {
        case renewal, report
    }

    private var refusals = [String?](repeating: nil, count: Attempt.allCases.count)
    private var lastRefusalAt = MonotonicInstant(nanoseconds: 0)

    /// Redis' word for refusing; nil while it takes what is written.
    private(set) var refusal: String?

    /// The outcome of an attempt: nil when it was taken, else what Redis said.
    ///
    /// - Returns: whether `refusal` has come or gone.
    mutating func note(_ attempt: Attempt, _ message: String?, now: MonotonicInstant) -> Bool {
        refusals[attempt.rawValue] = message
        let present = refusals.lazy.compactMap { $0 }.first
        if present != nil { lastRefusalAt = now }
        if present != nil, refusal == nil {
            refusal = present
            return true
        }
        guard present == nil, refusal != nil, now - lastRefusalAt >= Limits.steadyWritesTime else {
            return false
        }
        refusal = nil
        return true
    }

    /// Whether a report that is refused with these words says anything of other writes. The rules for
    /// reports and the kind of their keys do not.
    static func concernsAll(_ message: String) -> Bool {
        !["NOPERM", "WRONGTYPE", "ERR"].contains(RedisRefusal.code(of: message))
    }
}

/// What Redis says when it refuses something.
enum RedisRefusal {
    /// The first word. Redis 6 puts words of its own before that of a command within a script.
    static func code(of message: String) -> String {
        var rest = message[...]
        if rest.hasPrefix("ERR "), let mark = rest.firstRange(of: ": -") { rest = rest[mark.upperBound...] }
        return String(rest.prefix { $0 != " " })
    }

    /// The message as it may be shown anywhere: visible ASCII, not long, and without the place in a script.
    static func text(_ message: String) -> String {
        let end = message.firstRange(of: " script: ")?.lowerBound ?? message.endIndex
        let visible = message[..<end].unicodeScalars.map {
            (0x20..<0x7F).contains($0.value) ? Character($0) : "?"
        }
        return String(visible.prefix(Limits.refusalTextBytes))
    }
}

/// Finds out on one worker's connection. Loop-confined.
final class WriteCheck {
    private let probe: (@escaping (Result<RedisReply, RedisFailure>) -> Void) -> Void
    private var health = WriteHealth()
    private let interval: Duration
    private var timer: Timer?
    private var waiting: [(Bool) -> Void] = []
    /// Counts connections, as an answer to a probe over the one before says nothing.
    private var connectionCount = 0

    /// Redis' word for refusing, as it may be shown; nil while it takes what is written.
    var refusal: String? { health.refusal.map(RedisRefusal.text) }

    /// Redis begins to refuse writes, or takes them again.
    var onChange: (() -> Void)?

    /// - Parameters:
    ///   - interval: between two attempts that are made while nothing else is written.
    ///   - probe: tries what a renewal needs. It has one outcome.
    init(
        interval: Duration, loop: EventLoop,
        probe: @escaping (@escaping (Result<RedisReply, RedisFailure>) -> Void) -> Void
    ) {
        self.interval = interval
        self.probe = probe
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.check { _ in } }
    }

    /// The connection stands.
    func start() {
        connectionCount += 1
        timer?.start(after: interval)
        check { _ in }
    }

    /// The connection is lost: what is known of its writes is past.
    func stop() {
        connectionCount += 1
        timer?.cancel()
        health = WriteHealth()
    }

    /// Finds out whether a renewal would be taken now. A question during a probe gets that probe's answer.
    func check(onDone: @escaping (Bool) -> Void) {
        waiting.append(onDone)
        guard waiting.count == 1 else { return }
        let connection = connectionCount
        probe { [weak self] result in
            guard let self else { return }
            let waiting = self.waiting
            self.waiting = []
            var isTaken = false
            switch result {
            case .success:
                isTaken = true
                if connection == self.connectionCount { self.note(.renewal, nil) }
            case .failure(.refused(let message)):
                if connection == self.connectionCount { self.note(.renewal, message) }
            case .failure(.unavailable): break
            }
            for onDone in waiting { onDone(isTaken && self.health.refusal == nil) }
        }
    }

    /// The node's report was taken (nil) or refused.
    func reported(_ message: String?) {
        note(.report, message.flatMap { WriteHealth.concernsAll($0) ? $0 : nil })
    }

    private func note(_ attempt: WriteHealth.Attempt, _ message: String?) {
        if health.note(attempt, message, now: .now) { onChange?() }
    }
}
