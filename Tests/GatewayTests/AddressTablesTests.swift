import EventLoop
import Network
import TestSupport
import Testing

@testable import Gateway

private func at(_ milliseconds: Int64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: 9_000_000_000 + milliseconds * 1_000_000)
}

private func address(_ number: Int) -> IPAddress { IPAddress(v4: UInt32(number)) }

@Suite struct AddressCountsTests {
    /// How many of `count` are let in.
    private func admitted(_ counts: inout AddressCounts, _ count: Int, of address: IPAddress) -> Int {
        (0..<count).filter { _ in counts.admit(address, maximum: 3) }.count
    }

    @Test func eachAddressHasItsOwnPlaces() {
        var counts = AddressCounts()
        #expect(admitted(&counts, 4, of: address(1)) == 3)
        #expect(admitted(&counts, 1, of: address(2)) == 1)
        counts.release(address(1))
        #expect(admitted(&counts, 2, of: address(1)) == 1)
    }

    @Test func addressWithoutConnectionsIsForgotten() {
        var counts = AddressCounts()
        for number in 0..<1_000 { #expect(admitted(&counts, 1, of: address(number)) == 1) }
        #expect(admitted(&counts, 1, of: address(7)) == 1)
        for number in 0..<1_000 { counts.release(address(number)) }
        #expect(counts.addressCount == 1)
        counts.release(address(7))
        #expect(counts.addressCount == 0)
    }
}

@Suite struct AddressRatesTests {
    private let limit = RateLimit(perSecond: 4)

    private func taken(
        _ rates: inout AddressRates, _ count: Int, of address: IPAddress, at milliseconds: Int64
    ) -> Int {
        (0..<count).filter { _ in rates.take(address, limit, now: at(milliseconds)) }.count
    }

    @Test func eachAddressHasItsOwnBucket() {
        var rates = AddressRates()
        #expect(taken(&rates, 9, of: address(1), at: 0) == 4)
        #expect(taken(&rates, 9, of: address(2), at: 0) == 4)
        #expect(taken(&rates, 9, of: address(1), at: 250) == 1)
        #expect(taken(&rates, 9, of: address(2), at: 500) == 2)
    }

    /// Against a table that never forgets: the generations give nobody more.
    @Test(arguments: SeededRandom.seeds)
    func forgettingGivesNobodyMore(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var rates = AddressRates()
        var model: [IPAddress: MonotonicInstant] = [:]
        var time: Int64 = 0
        for step in 0..<5_000 {
            // Each asks for more than its rate, and some pauses are longer than a generation.
            time += Int64.random(in: 0...(step % 500 == 499 ? 3_000 : 50), using: &random)
            let address = address(Int.random(in: 0..<6, using: &random))
            let next = limit.take(fullAt: model[address] ?? at(0), now: at(time))
            if let next { model[address] = next }
            let isTaken = rates.take(address, limit, now: at(time))
            #expect(isTaken == (next != nil), "seed \(seed), step \(step)")
            if isTaken != (next != nil) { return }
        }
    }

    @Test func addressesOfTheLastTwoSecondsAreKnown() {
        var rates = AddressRates()
        for number in 0..<100 { #expect(taken(&rates, 1, of: address(number), at: 0) == 1) }
        #expect(rates.addressCount == 100)
        #expect(taken(&rates, 1, of: address(0), at: 1_100) == 1)
        #expect(rates.addressCount == 101)
        #expect(taken(&rates, 1, of: address(0), at: 2_200) == 1)
        #expect(rates.addressCount == 2)
        #expect(taken(&rates, 1, of: address(0), at: 9_000) == 1)
        #expect(rates.addressCount == 1)
    }

    @Test func floodOfAddressesIsBounded() {
        var rates = AddressRates()
        for number in 0..<200_000 { _ = rates.take(address(number), limit, now: at(0)) }
        #expect(rates.addressCount <= 2 * Limits.rateAddressCount)
        #expect(rates.addressCount > Limits.rateAddressCount)
        // Who asked last is still known.
        #expect(taken(&rates, 9, of: address(199_999), at: 0) == 3)
    }
}
