// The members of a room that are served alike. Loop-confined.

/// The members of a room that take one encoding. They share the run of bytes that a turn has brought to the
/// room.
struct Audience {
    let encoding: Encoding
    /// Unretained: a member leaves its rooms before its host lets go of it, and to iterate over thousands of
    /// members must not touch their reference counts.
    private(set) var members: ContiguousArray<Unmanaged<Member>> = []

    init(_ encoding: Encoding) {
        self.encoding = encoding
    }

    /// Adds a member; its seat is what `remove` needs.
    mutating func add(_ member: Member) -> Int32 {
        members.append(.passUnretained(member))
        return Int32(members.count - 1)
    }

    /// Removes the member of a seat; the last member takes the seat over, and is returned.
    mutating func remove(seat: Int32) -> Member? {
        let last = members.removeLast()
        guard Int(seat) < members.count else { return nil }
        members[Int(seat)] = last
        return last.takeUnretainedValue()
    }
}
