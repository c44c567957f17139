// The connections of each client address, and its token bucket. Pure: the clock is given, and addresses are
// those of subscribers (`IPAddress.subscriber`).

import EventLoop
import Network

/// The open connections of each address. Bounded by the number of connections.
struct AddressCounts: Sendable {
    private var counts: [IPAddress: Int] = [:]

    /// The addresses that have a connection.
    var addressCount: Int { counts.count }

    /// Counts one more connection; false if the address already has `maximum`.
    mutating func admit(_ address: IPAddress, maximum: Int) -> Bool {
        let count = counts[address, default: 0]
        guard count < maximum else { return false }
        counts[address] = count + 1
        return true
    }

    /// Counts off an admitted connection.
    mutating func release(_ address: IPAddress) {
        guard let count = counts[address] else { return assertionFailure("\(address) has no connection") }
        counts[address] = count > 1 ? count - 1 : nil
    }
}

/// A bucket for each address, in a bounded table.
///
/// The table has two generations. Every second it drops the older one, and the younger one takes its place;
/// an address that takes something moves to the younger one. A dropped address has taken nothing for a
/// second, so its bucket is full, like that of a new address: nothing is lost. Only if more addresses than a
/// generation holds ask within a second, the change comes early, and some addresses get a full bucket too
/// soon.
struct AddressRates: Sendable {
    private var younger: [IPAddress: MonotonicInstant] = [:]
    private var older: [IPAddress: MonotonicInstant] = [:]
    private var nextChange = MonotonicInstant(nanoseconds: 0)

    /// The addresses in the table.
    var addressCount: Int { younger.count + older.count }

    /// Takes one out of the bucket of the address; false if it is empty.
    mutating func take(_ address: IPAddress, _ limit: RateLimit, now: MonotonicInstant) -> Bool {
        if now >= nextChange || younger.count >= Limits.rateAddressCount { changeGeneration(now) }
        let fullAt = younger[address] ?? older[address] ?? now
        guard let next = limit.take(fullAt: fullAt, now: now) else { return false }
        younger[address] = next
        return true
    }

    private mutating func changeGeneration(_ now: MonotonicInstant) {
        // Two seconds without a request: the younger generation is as outdated as the older one.
        older = now >= nextChange + Limits.rateBurstTime ? [:] : younger
        younger = [:]
        nextChange = now + Limits.rateBurstTime
    }
}
