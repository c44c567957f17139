// Which client sits in which room, and which message goes to which room: pure arithmetic that publisher and
// receivers share, so that neither has to ask the other.

/// Clients and messages go round the rooms in turn.
///
///     client  i: rooms i mod R and, with two rooms a client, (i + 1) mod R
///     message g: room g mod R, where it has the sequence number g / R
struct RoomAssignment: Codable, Equatable, Sendable {
    /// 1 or more.
    let roomCount: Int
    /// 1 or 2.
    let roomsPerClient: Int

    /// The rooms of a client, without repeats.
    func rooms(ofClient index: Int) -> [Int] {
        let first = index % roomCount
        guard roomsPerClient == 2, roomCount > 1 else { return [first] }
        return [first, (index + 1) % roomCount]
    }

    func room(ofMessage number: Int) -> Int { number % roomCount }

    func sequence(ofMessage number: Int) -> Int { number / roomCount }

    /// How many of the messages 0..<`count` go to a room: its sequence numbers are 0..<this.
    func messageCount(before count: Int, in room: Int) -> Int {
        count > room ? (count - room - 1) / roomCount + 1 : 0
    }
}
