import AllocationCounter
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

private final class Holder: TokenHolder {
    let token: Token

    init(_ token: Token) { self.token = token }
}

@Suite struct TokenTableTests {
    private func tokens(_ count: Int, _ random: inout SeededRandom) -> [Token] {
        (0..<count).map { _ in Token.mint(using: &random) }
    }

    @Test func holderIsFoundByItsTokenUntilItIsRemoved() {
        var random = SeededRandom(seed: 1)
        let tokens = tokens(2, &random)
        let holder = Holder(tokens[0])
        var table = TokenTable<Holder>()
        #expect(table.isEmpty && table[tokens[0]] == nil)
        table.insert(holder)
        #expect(table[tokens[0]] === holder && table[tokens[1]] == nil)
        table.remove(holder)
        table.remove(holder)
        #expect(table.isEmpty && table[tokens[0]] == nil)
    }

    @Test func laterHolderOfATokenTakesThePlace() {
        var random = SeededRandom(seed: 1)
        let token = tokens(1, &random)[0]
        let (older, newer) = (Holder(token), Holder(token))
        var table = TokenTable<Holder>()
        table.insert(older)
        table.insert(newer)
        #expect(table.count == 1)
        // It has no place any more, so there is nothing of it to remove.
        table.remove(older)
        #expect(table[token] === newer && table.count == 1)
    }

    /// Thousands of insertions and removals, through several growths, against a dictionary.
    @Test(arguments: SeededRandom.seeds) func randomUseAgreesWithADictionary(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let tokens = tokens(3_000, &random)
        var table = TokenTable<Holder>()
        var holders: [Token: Holder] = [:]
        for step in 0..<12_000 {
            // The table fills in the first half of the time, and empties in the second.
            let token = tokens[Int.random(in: 0..<tokens.count, using: &random)]
            if Int.random(in: 0..<4, using: &random) > (step < 6_000 ? 0 : 2) {
                let holder = Holder(token)
                table.insert(holder)
                holders[token] = holder
            } else if let holder = holders.removeValue(forKey: token) {
                table.remove(holder)
            }
            #expect(table.count == holders.count, "seed \(seed), step \(step)")
            guard step % 500 == 0 else { continue }
            let areFound = tokens.allSatisfy { table[$0] === holders[$0] }
            #expect(areFound, "seed \(seed), step \(step)")
            let all = Set(table.map { ObjectIdentifier($0) })
            #expect(all == Set(holders.values.map { ObjectIdentifier($0) }), "seed \(seed), step \(step)")
        }
    }

    /// A node holds members by the ten thousand: another word in each of them is to be a decision.
    @Test func memberFitsItsAllocation() throws {
        let rig = try WorkerRig()
        let client = try rig.connect("a").client
        #expect(allocation_size(Unmanaged.passUnretained(client).toOpaque()) <= 216)
    }
}
