// What a subscribed connection has been asked for and has not answered. Pure value.

import EventLoop

/// Subscription commands on their way, oldest first. Redis answers them in their order, which shows two
/// things that no answer says: which channel an error is about, as it is the oldest one without an answer;
/// and until when nothing is missing, as all that was published before an answered command was sent has come
/// before the answer.
struct SubscriptionQueue {
    enum Purpose {
        case subscribe, unsubscribe
        /// To hear from the server.
        case echo
        /// The same, asked for by the owner.
        case question
        /// Behind all channels that are subscribed again after a loss.
        case end
    }

    struct Entry {
        let channel: RedisArgument
        let purpose: Purpose
        let sentAt: MonotonicInstant
    }

    private var entries = Fifo<Entry>()

    var count: Int { entries.count }

    /// The oldest command without an answer.
    var first: Entry? { entries.first }

    mutating func append(_ channel: RedisArgument, _ purpose: Purpose, at now: MonotonicInstant = .now) {
        entries.append(Entry(channel: channel, purpose: purpose, sentAt: now))
    }

    /// Redis has answered for a channel; returns the command, or nil if there is none that the answer fits.
    ///
    /// - Complexity: O(1) amortised where answers come in the order of the commands.
    mutating func answered(_ channel: RedisArgument, isSubscribed: Bool) -> Entry? {
        let index = entries.firstIndex {
            ($0.purpose != .unsubscribe) == isSubscribed && $0.channel == channel
        }
        guard let index else { return nil }
        // Those before it will have no answer any more.
        for _ in 0..<index { entries.takeFirst() }
        return entries.takeFirst()
    }

    /// Redis has answered the oldest command with an error, which says no channel; returns the command, if
    /// there is one.
    mutating func refused() -> Entry? { entries.takeFirst() }

    mutating func removeAll() { entries.removeAll() }
}
