// Finds out when all receivers of this process have a message, for publishing in step with the slowest. Pure.

/// Counts the arrivals of the messages that are in flight.
///
/// At most `window` messages are in flight over all rooms, so those of one room are distinguished by their
/// sequence number modulo the window.
struct WindowCounter: Sendable {
    private let window: Int
    private let receiverCounts: [Int]
    private var arrivals: [UInt32]

    /// - Parameters:
    ///   - window: 1 or more.
    ///   - receiverCounts: for each room, how many connections here take part.
    init(window: Int, receiverCounts: [Int]) {
        self.window = window
        self.receiverCounts = receiverCounts
        arrivals = Array(repeating: 0, count: window * receiverCounts.count)
    }

    /// Counts one arrival; true when it was the last that this process waited for.
    mutating func complete(room: Int, sequence: Int) -> Bool {
        let slot = room * window + sequence % window
        arrivals[slot] += 1
        guard Int(arrivals[slot]) == receiverCounts[room] else { return false }
        arrivals[slot] = 0
        return true
    }
}
