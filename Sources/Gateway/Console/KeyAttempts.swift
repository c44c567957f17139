// How often an address may send a wrong key. Pure: the clock is given.

import EventLoop
import Network

/// A bucket for each address: a few wrong keys at once, as people mistype them, and then one a second.
///
/// While a bucket is empty, the keys of its address are not even compared: a refusal must not reveal whether
/// the key was right. Guessing from many addresses at that rate still takes longer than keys live.
struct KeyAttempts {
    /// When the bucket of an address is full again; that of any other one is full.
    private var fullAt: [IPAddress: MonotonicInstant] = [:]

    var addressCount: Int { fullAt.count }

    /// Whether the address may send a key now.
    func mayTry(_ address: IPAddress, now: MonotonicInstant) -> Bool {
        guard let fullAt = fullAt[address.subscriber] else { return true }
        return max(fullAt, now) + Limits.keyAttemptStep - now <= Limits.keyBurstTime
    }

    /// The address has sent a wrong key.
    mutating func failed(_ address: IPAddress, now: MonotonicInstant) {
        if fullAt.count >= Limits.keyAttemptAddressCount { forgetFull(now) }
        fullAt[address.subscriber] = max(fullAt[address.subscriber] ?? now, now) + Limits.keyAttemptStep
    }

    private mutating func forgetFull(_ now: MonotonicInstant) {
        fullAt = fullAt.filter { $0.value > now }
        if fullAt.count >= Limits.keyAttemptAddressCount { fullAt = [:] }
    }
}
