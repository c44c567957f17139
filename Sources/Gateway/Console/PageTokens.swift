// The tokens with which pages of the console watch rooms. Confined to the control loop.

import EventLoop
import RedisSchema

/// Tokens that this node's console has issued, as long as they live in Redis.
struct PageTokens {
    private let life: Duration
    private var ends: [Token: MonotonicInstant] = [:]

    /// - Parameter life: of a token without a heartbeat.
    init(life: Duration) {
        self.life = life
    }

    /// - Complexity: O(tokens).
    mutating func keep(_ token: Token, now: MonotonicInstant) {
        ends = ends.filter { $0.value > now }
        if ends.count >= Limits.pageTokenCount, let first = ends.min(by: { $0.value < $1.value }) {
            ends[first.key] = nil
        }
        ends[token] = now + life
    }

    /// A token had a heartbeat; an unknown one is ignored.
    mutating func renew(_ token: Token, now: MonotonicInstant) {
        if contains(token, now: now) { ends[token] = now + life }
    }

    func contains(_ token: Token, now: MonotonicInstant) -> Bool {
        ends[token].map { $0 > now } ?? false
    }
}
