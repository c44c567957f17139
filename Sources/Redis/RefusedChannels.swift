// Channels that Redis' access rules keep from the node. Pure value.

import EventLoop

/// Sets refused channels aside, and says when one of them may be tried again.
///
/// A refusal ends the connection (hiredis 0.14 takes every error on a subscribed one for its end), and with it the
/// subscription of every other channel for a moment. So they come back one at a time, after a pause that doubles
/// with each further refusal; where one is taken, the others follow at once.
struct RefusedChannels {
    static let maximumPause = Duration.seconds(300)
    /// Clients choose the names of rooms: beyond this many the oldest is forgotten, and found again if it is wanted.
    static let maximumCount = 1_000

    private var channels: [RedisArgument] = []
    private var members: Set<RedisArgument> = []
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

    var count: Int { channels.count }

    func contains(_ channel: RedisArgument) -> Bool { members.contains(channel) }

    mutating func insert(_ channel: RedisArgument, now: MonotonicInstant) {
        if channels.isEmpty {
            pause = firstPause
        } else if candidate != nil {
            pause = min(pause * 2, RefusedChannels.maximumPause)
        }
        candidate = nil
        retryAt = now + pause
        // Behind the others: each has its turn.
        if !members.insert(channel).inserted { channels.removeAll { $0 == channel } }
        channels.append(channel)
        if channels.count > RefusedChannels.maximumCount { members.remove(channels.removeFirst()) }
    }

    /// A channel to be tried now; nil while none is due. It counts as refused until Redis has confirmed it.
    mutating func takeCandidate(now: MonotonicInstant) -> RedisArgument? {
        guard candidate == nil, now >= retryAt, let first = channels.first else { return nil }
        candidate = first
        return first
    }

    /// Redis has confirmed a channel, or nobody wants it any more.
    mutating func remove(_ channel: RedisArgument) {
        guard members.remove(channel) != nil else { return }
        channels.removeAll { $0 == channel }
        guard candidate == channel else { return }
        candidate = nil
        pause = firstPause
        retryAt = MonotonicInstant(nanoseconds: 0)
    }

    /// The connection was lost before the candidate was answered.
    mutating func linkLost() {
        candidate = nil
    }
}
