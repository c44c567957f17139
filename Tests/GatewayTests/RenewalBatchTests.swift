import Testing

@testable import Gateway

@Suite struct RenewalBatchTests {
    private typealias Action = RenewalBatch.Action

    /// What is to be done with so many renewals that come one after the other.
    private static func actions(_ batch: inout RenewalBatch, count: Int) -> [Action] {
        (0..<count).map { _ in batch.add() }
    }

    /// For each of three pauses, whether any renewals leave at its end.
    private static func pauses(
        _ batch: inout RenewalBatch, behind renewals: (inout RenewalBatch) -> Void
    ) -> [Bool] {
        (0..<3).map { _ in
            renewals(&batch)
            return batch.pauseEnds()
        }
    }

    @Test func renewalOfAQuietTimeLeavesAtOnce() {
        var batch = RenewalBatch(maximumCount: 3)
        let pauses = Self.pauses(&batch) { batch in
            let actions = Self.actions(&batch, count: 1)
            #expect(actions == [.leave])
        }
        #expect(pauses == [false, false, false], "none waits, so no pause follows")
    }

    @Test func furtherOnesWaitForTheEndOfThePause() {
        var batch = RenewalBatch(maximumCount: 3)
        let first = Self.actions(&batch, count: 1)
        #expect(first == [.leave])
        let pauses = Self.pauses(&batch) { batch in
            let actions = Self.actions(&batch, count: 2)
            #expect(actions == [.wait, .wait])
        }
        #expect(pauses == [true, true, true], "they leave, and those behind them wait for each other")
        let isBusy = batch.pauseEnds()
        #expect(!isBusy)
        let actions = Self.actions(&batch, count: 1)
        #expect(actions == [.leave])
    }

    @Test(arguments: [1, 2, 32])
    func lastOfAFullBatchTakesAllAlong(maximumCount: Int) {
        var batch = RenewalBatch(maximumCount: maximumCount)
        let actions = Self.actions(&batch, count: 1 + 3 * maximumCount)
        let full = [Action](repeating: .wait, count: maximumCount - 1) + [.leave]
        #expect(actions == [.leave] + full + full + full)
        let isBusy = batch.pauseEnds()
        #expect(!isBusy, "none is left")
    }
}
