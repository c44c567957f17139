// The members of a worker by their tokens. Loop-confined.

import RedisSchema

/// What stands in a table under its token.
protocol TokenHolder: AnyObject {
    var token: Token { get }
}

/// Finds holders by their tokens, one of each.
///
/// An open hash table of references, as each holder has its token itself: a place takes 8 bytes, where a
/// dictionary, with a copy of the token, takes 32. A holder stands at its token's first place, or at the next
/// one behind it that was free (linear probing).
struct TokenTable<Holder: TokenHolder> {
    /// As many as a power of two, and a quarter of them free at least.
    private var places = ContiguousArray<Holder?>(repeating: nil, count: 16)
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// The holder of a token; nil if no one holds it.
    subscript(token: Token) -> Holder? { places[place(of: token)] }

    /// Adds a holder; one of the same token gives its place up.
    ///
    /// - Complexity: O(1) amortised.
    mutating func insert(_ holder: Holder) {
        let place = place(of: holder.token)
        if places[place] == nil { count += 1 }
        places[place] = holder
        if count > places.count / 4 * 3 { grow() }
    }

    /// Removes a holder, unless another one has its place; returns whether it had one.
    @discardableResult
    mutating func remove(_ holder: Holder) -> Bool {
        var free = place(of: holder.token)
        guard places[free] === holder else { return false }
        places[free] = nil
        count -= 1
        // A search ends at a free place. So those that it keeps from their first place move up.
        var next = following(free)
        while let other = places[next] {
            if distance(from: firstPlace(of: other.token), to: next) >= distance(from: free, to: next) {
                places[free] = other
                places[next] = nil
                free = next
            }
            next = following(next)
        }
        return true
    }

    /// Where a token's holder stands, or would.
    private func place(of token: Token) -> Int {
        var place = firstPlace(of: token)
        while let holder = places[place], holder.token != token { place = following(place) }
        return place
    }

    private func firstPlace(of token: Token) -> Int { token.hashValue & (places.count - 1) }

    private func following(_ place: Int) -> Int { (place + 1) & (places.count - 1) }

    private func distance(from place: Int, to other: Int) -> Int { (other - place) & (places.count - 1) }

    private mutating func grow() {
        let holders = places
        places = ContiguousArray(repeating: nil, count: 2 * holders.count)
        for case let holder? in holders { places[place(of: holder.token)] = holder }
    }
}

/// Every holder, in any order.
extension TokenTable: Sequence {
    func makeIterator() -> some IteratorProtocol<Holder> { places.lazy.compactMap { $0 }.makeIterator() }
}
