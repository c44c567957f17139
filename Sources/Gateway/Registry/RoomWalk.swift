// A walk through all rooms of a worker that holds up nothing else. Loop-confined.

import EventLoop
import RedisSchema

/// Visits rooms in slices, one a turn, so that messages go on being written between them.
final class RoomWalk {
    private var remaining: ArraySlice<Room> = []
    private var timer: Timer?
    private var onRooms: ((ArraySlice<Room>) -> Void)?
    private var onEnd: (() -> Void)?

    init(loop: EventLoop) {
        timer = Timer(on: loop) { [unowned self] in self.visitSlice() }
    }

    var isRunning: Bool { onEnd != nil }

    /// Starts a walk; the first slice is visited before this returns, the last one too if it is the first.
    ///
    /// - Parameters:
    ///   - onRooms: is given those that still have a member.
    ///   - onEnd: runs once, unless the walk is cancelled.
    func start(_ rooms: [Room], onRooms: @escaping (ArraySlice<Room>) -> Void, onEnd: @escaping () -> Void) {
        precondition(!isRunning, "one walk at a time")
        remaining = rooms[...]
        self.onRooms = onRooms
        self.onEnd = onEnd
        visitSlice()
    }

    /// Ends a walk without a word.
    func cancel() {
        timer?.cancel()
        remaining = []
        onRooms = nil
        onEnd = nil
    }

    private func visitSlice() {
        onRooms?(remaining.prefix(Limits.roomSliceCount))
        remaining = remaining.dropFirst(Limits.roomSliceCount)
        // A visitor may have cancelled the walk.
        guard let onEnd else { return }
        guard remaining.isEmpty else {
            timer?.start(after: Limits.slicePause)
            return
        }
        cancel()
        onEnd()
    }
}

/// The largest of the rooms that it is shown.
struct TopRooms {
    private let maximumCount: Int
    /// Largest first.
    private(set) var list: [RoomMembers] = []

    init(maximumCount: Int) {
        self.maximumCount = maximumCount
    }

    /// - Complexity: O(1) for a room that is not among the largest, else O(maximumCount).
    mutating func add(_ room: Room) {
        let count = room.memberCount
        guard count > 0 else { return }
        let entry = RoomMembers(room: room.id, count: count)
        if list.count == maximumCount, let last = list.last, !RoomMembers.isBefore(entry, last) { return }
        list.insert(entry, at: list.firstIndex { RoomMembers.isBefore(entry, $0) } ?? list.count)
        if list.count > maximumCount { list.removeLast() }
    }
}
