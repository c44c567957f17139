import Testing

@testable import LoadTest

struct RoomLedgerTests {
    private func ledger(_ sequences: [Int], firstRequired: Int = 0) -> RoomLedger {
        var ledger = RoomLedger(room: 3, firstRequired: firstRequired)
        for sequence in sequences { _ = ledger.receive(sequence) }
        return ledger
    }

    private func arrivals(_ sequences: [Int], at ledger: inout RoomLedger) -> [RoomLedger.Arrival] {
        sequences.map { ledger.receive($0) }
    }

    @Test func allInOrderIsPerfect() {
        let counts = ledger([0, 1, 2, 3]).counts(requiredBefore: 4)
        #expect(counts.isPerfect)
        #expect(counts.expected == 4 && counts.received == 4)
    }

    @Test func aGapIsLost() {
        let counts = ledger([0, 3]).counts(requiredBefore: 4)
        #expect(counts.lost == 2)
        #expect(counts.expected == 4 && counts.received == 2)
        #expect(counts.outOfOrder == 0 && counts.duplicated == 0)
    }

    @Test func aMissingTailIsLost() {
        #expect(ledger([0, 1]).counts(requiredBefore: 5).lost == 3)
    }

    @Test func aMissingStartIsLost() {
        #expect(ledger([2, 3]).counts(requiredBefore: 4).lost == 2)
    }

    @Test func nothingAtAllIsLost() {
        let counts = ledger([], firstRequired: 10).counts(requiredBefore: 12)
        #expect(counts.lost == 2 && counts.expected == 2)
    }

    @Test func nothingRequiredAndNothingReceivedIsPerfect() {
        #expect(ledger([], firstRequired: 10).counts(requiredBefore: 10) == DeliveryCounts())
    }

    @Test func twiceIsDuplicated() {
        var ledger = ledger([0, 1, 2])
        #expect(arrivals([1, 2], at: &ledger) == [.duplicate, .duplicate])
        let counts = ledger.counts(requiredBefore: 3)
        #expect(counts.duplicated == 2 && counts.lost == 0 && counts.received == 3)
    }

    @Test func behindItsPlaceIsOutOfOrderAndNotLost() {
        var ledger = ledger([0, 2])
        #expect(arrivals([1, 3], at: &ledger) == [.late, .new])
        let counts = ledger.counts(requiredBefore: 4)
        #expect(counts.outOfOrder == 1 && counts.lost == 0 && counts.duplicated == 0)
        #expect(arrivals([1], at: &ledger) == [.duplicate])
    }

    @Test func whatWasSentBeforeTheConnectionStoodMayCome() {
        let counts = ledger([8, 9, 10], firstRequired: 10).counts(requiredBefore: 11)
        #expect(counts.isPerfect)
        #expect(counts.received == 3)
    }

    @Test func oneThatMayComeMustNotLeaveAGapBehindIt() {
        #expect(ledger([8, 10], firstRequired: 10).counts(requiredBefore: 11).lost == 1)
    }

    @Test func missingCountFollowsTheArrivals() {
        var ledger = ledger([])
        #expect(ledger.missingCount(before: 2) == 2)
        _ = ledger.receive(1)
        #expect(ledger.missingCount(before: 2) == 1)
        _ = ledger.receive(0)
        #expect(ledger.missingCount(before: 2) == 0)
    }

    @Test func aHugeGapIsCountedInFull() {
        let counts = ledger([0, 1_000_000]).counts(requiredBefore: 1_000_001)
        #expect(counts.lost == 999_999)
        #expect(counts.received == 2)
    }
}

struct DeliveryCountsTests {
    @Test func eachFaultAloneIsNotPerfect() {
        #expect(DeliveryCounts(expected: 5, received: 5).isPerfect)
        #expect(!DeliveryCounts(lost: 1).isPerfect)
        #expect(!DeliveryCounts(duplicated: 1).isPerfect)
        #expect(!DeliveryCounts(outOfOrder: 1).isPerfect)
        #expect(!DeliveryCounts(misrouted: 1).isPerfect)
        #expect(!DeliveryCounts(corrupt: 1).isPerfect)
    }

    @Test func sumsAreFieldByField() {
        var sum = DeliveryCounts(
            expected: 1, received: 2, lost: 3, duplicated: 4, outOfOrder: 5, misrouted: 6, corrupt: 7)
        sum += sum
        #expect(
            sum
                == DeliveryCounts(
                    expected: 2, received: 4, lost: 6, duplicated: 8, outOfOrder: 10, misrouted: 12,
                    corrupt: 14))
    }
}
