// Channels that Redis' access rules keep from the node. Pure value.

import EventLoop

/// Sets refused channels aside, and says when one of them may be tried again.
///
/// They come back one at a time, after a pause that doubles with each further refusal; where one is taken,
/// the others follow at once. All of them are held channels, so their number is bounded by what the node's
/// clients may ask for.
struct RefusedChannels {
    static let maximumPause = Duration.seconds(300)
    /// Below this many turns it does not pay to look for channels that are no longer refused.
    private static let minimumTurnCount = 64

    private var members: Set<RedisArgument> = []
    /// The channels to try next, the first at the end; some may no longer be refused.
    private var turns: [RedisArgument] = []
    /// Behind `turns`, in the order in which they came.
    private var laterTurns: [RedisArgument] = []
    private var candidate: RedisArgument?
    private let firstPause: Duration
    private var pause: Duration
    private var retryAt = MonotonicInstant(nanoseconds: 0)

    /// - Parameter firstPause: between a refusal and the next attempt.
    init(firstPause: Duration) {
        self.firstPause = firstPause
        pause = firstPause
    }

    /// Whether a text is what Redis says of a channel that its rules refuse.
    static func isRefusal(_ reason: String) -> Bool { reason.hasPrefix("NOPERM") }

    var count: Int { members.count }

    /// How many turns are in memory: never more than twice `count`, and a few.
    var turnCount: Int { turns.count + laterTurns.count }

    func contains(_ channel: RedisArgument) -> Bool { members.contains(channel) }

    mutating func insert(_ channel: RedisArgument, now: MonotonicInstant) {
        if candidate == channel {
            pause = min(pause * 2, RefusedChannels.maximumPause)
            retryAt = now + pause
            candidate = nil
        } else if members.isEmpty {
            pause = firstPause
            retryAt = now + pause
        } else if members.contains(channel) {
            return
        }
        members.insert(channel)
        laterTurns.append(channel)
        closeUp()
    }

    /// A channel to try now; nil while no channel is due. It counts as refused until Redis has confirmed it.
    mutating func takeCandidate(now: MonotonicInstant) -> RedisArgument? {
        guard candidate == nil, now >= retryAt else { return nil }
        while turnCount > 0 {
            if turns.isEmpty {
                turns = laterTurns.reversed()
                laterTurns = []
            }
            let channel = turns.removeLast()
            guard members.contains(channel) else { continue }
            candidate = channel
            return channel
        }
        return nil
    }

    /// Redis has confirmed a channel.
    mutating func confirmed(_ channel: RedisArgument) {
        guard members.remove(channel) != nil, candidate == channel else { return }
        candidate = nil
        pause = firstPause
        retryAt = MonotonicInstant(nanoseconds: 0)
    }

    /// A channel is no longer wanted.
    mutating func remove(_ channel: RedisArgument) {
        members.remove(channel)
        if candidate == channel { candidate = nil }
        closeUp()
    }

    /// The connection was lost before the candidate was answered: it is the next one.
    mutating func linkLost() {
        guard let candidate else { return }
        turns.append(candidate)
        self.candidate = nil
    }

    /// - Complexity: O(1) amortised: at least half of what is looked through goes.
    private mutating func closeUp() {
        guard turnCount > max(RefusedChannels.minimumTurnCount, 2 * members.count) else { return }
        var seen: Set<RedisArgument> = []
        let waiting = turns.reversed() + laterTurns
        laterTurns = waiting.filter { $0 != candidate && members.contains($0) && seen.insert($0).inserted }
        turns = []
    }
}
