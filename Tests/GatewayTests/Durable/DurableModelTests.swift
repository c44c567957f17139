import EventLoop
import Foundation
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

private let wantedSeed = ProcessInfo.processInfo.environment["ROOMCAST_MODEL_SEED"].flatMap { UInt64($0) }

/// One Redis that is played, a few nodes with the real `DurableRooms`, and clients that resume; every queue
/// between two parties moves in any order, and everything fails that can. The ledger has each publish and
/// all that each client got.
///
/// What holds: nothing comes twice or out of order, nothing that Redis has kept is missing unless the
/// client was told, and in the end each client stands at the end of its rooms' histories.
@Suite struct DurableModelTests {
    /// A run is as long as a few outages.
    private static let stepCount = 2_500

    /// Fixed seeds, in slices that run side by side. The order of hash tables is part of a run: to have the
    /// same one again, set SWIFT_DETERMINISTIC_HASHING.
    @Test(arguments: [0, 500, 1_000, 1_500]) func ledgerIsBalanced(first: UInt64) async {
        let total = await Self.check(seeds: first..<first + 450)
        // A node that keeps an epoch in which Redis has lost data has twice as many.
        #expect(total.silentThoughSeen < 80, "losses that a node had seen were not told")
    }

    /// The same with two masters that share the slots, and a third one. Messages come over the bus, which is slow or
    /// loses them; slots move key by key; a replica without the last writes takes over, and its master lives on.
    ///
    /// With one epoch for the whole cluster 1 of 6,000 runs loses silently: a client had come when its room had
    /// no history, and the room's master lost everything but the epoch, which another one had.
    @Test(arguments: [0, 10_000]) func ledgerOfAClusterIsBalanced(first: UInt64) async {
        let total = await Self.check(seeds: first..<first + 150, masterCount: 3)
        #expect(total.busLosses > 0 && total.slotMoves > 150, "too little happened")
        #expect(total.wronglyLost + total.toldLate + total.duplicates < 10)
        // Rooms start for plain clients before everything older has come only if the bus is slower than a slot's move.
        #expect(total.lateAtStart + total.twiceAtStart < 10)
    }

    /// Only if asked for: a fault that one of ten thousand seeds finds is not that of the change whose tests happen
    /// to play it.
    @Test(.enabled(if: wantedSeed != nil, "ROOMCAST_MODEL_SEED names no first seed"))
    func ledgerIsBalancedForOtherSeeds() async throws {
        let first = try #require(wantedSeed)
        await Self.check(seeds: first..<first + 2_000)
        await Self.check(seeds: first..<first + 2_000, masterCount: 3)
    }

    /// On a thread of its own: the few threads on which tests share their time have clients to keep alive.
    private static func play(
        _ seeds: Range<UInt64>, masterCount: Int
    ) async -> (total: ModelCounts, faulty: [String]) {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var total = ModelCounts()
                var faulty: [String] = []
                for seed in seeds {
                    var world = ModelWorld(
                        seed: seed, stepCount: stepCount, masterCount: masterCount)
                    world.run()
                    let faults = world.faults()
                    if !faults.isEmpty { faulty.append("seed \(seed): \(faults.prefix(3))") }
                    total.add(world.counts)
                }
                continuation.resume(returning: (total, faulty))
            }
        }
    }

    @discardableResult
    private static func check(seeds: Range<UInt64>, masterCount: Int = 1) async -> ModelCounts {
        let (total, faulty) = await play(seeds, masterCount: masterCount)
        print("durable model: seeds \(seeds): \(total), faulty runs \(faulty.count)")
        #expect(faulty.isEmpty, "\(faulty.count) runs: \(faulty.prefix(5).joined(separator: "\n"))")
        let runs = seeds.count
        #expect(total.delivered > 30 * runs && total.toldLost > runs / 4, "too little happened")
        #expect(total.parts > 0 && total.filled > 0, "too little happened")
        // What remains: Redis has lost notices, and the only nodes that had seen them died before they were
        // back.
        #expect(total.silentThoughSeen < runs / 4, "losses that a node had seen were not told")
        return total
    }
}
