// What is known of client addresses: how many connections each has, and how full its bucket is. Pure: the clock is
// given, addresses are those of subscribers (`IPAddress.subscriber`).

import EventLoop
import Network

/// The open connections of each address. Bounded by the number of connections.
struct AddressCounts: Sendable {
    private var counts: [IPAddress: Int] = [:]

    /// The addresses that have a connection.
    var addressCount: Int { counts.count }

    /// Counts one more connection; false when the address has `maximum` already.
    mutating func admit(_ address: IPAddress, maximum: Int) -> Bool {
        let count = counts[address, default: 0]
        guard count < maximum else { return false }
        counts[address] = count + 1
        return true
    }

    /// Counts a connection off that was admitted.
    mutating func release(_ address: IPAddress) {
        guard let count = counts[address] else { return assertionFailure("\(address) has no connection") }
        counts[address] = count > 1 ? count - 1 : nil
    }
}

/// A bucket for each address, in a bounded table.
///
/// The table has two generations. Every second the older one is dropped and the younger one takes its place; an
/// address that takes something moves to the younger one. Who is dropped has taken nothing for a second, so that the
/// bucket is full, as that of a new address is: nothing is lost. Only when more addresses than a generation holds ask
/// within a second the change comes early, and some get a full bucket too soon.
struct AddressRates: Sendable {
    private var younger: [IPAddress: MonotonicInstant] = [:]
    private var older: [IPAddress: MonotonicInstant] = [:]
    private var nextChange = MonotonicInstant(nanoseconds: 0)

    /// The addresses that are known at the moment.
    var addressCount: Int { younger.count + older.count }

    /// Takes one out of the bucket of the address; false when there is none.
    mutating func take(_ address: IPAddress, _ limit: RateLimit, now: MonotonicInstant) -> Bool {
        if now >= nextChange || younger.count >= Limits.rateAddressCount { changeGeneration(now) }
        let fullAt = younger[address] ?? older[address] ?? now
        guard let next = limit.take(fullAt: fullAt, now: now) else { return false }
        younger[address] = next
        return true
    }

    private mutating func changeGeneration(_ now: MonotonicInstant) {
        // Two seconds without a request: the younger generation is as outdated as the older one.
        older = now >= nextChange + RateLimit.burstTime ? [:] : younger
        younger = [:]
        nextChange = now + RateLimit.burstTime
    }
}
