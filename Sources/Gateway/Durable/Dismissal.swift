// Opted-in members that have to resume. Loop-confined: belongs to its worker's loop.

import EventLoop

/// Closes members with 1013 in slices, so that they do not all come back at once.
///
/// They leave their rooms at once: what follows there stands behind a hole that they do not know of. So each
/// of them resumes behind the last notice that it has got, however long it has waited for its slice.
final class Dismissal {
    private let rooms: RoomTable
    private var waiting = Fifo<Member>()
    private var timer: Timer?

    init(from rooms: RoomTable) {
        self.rooms = rooms
        timer = Timer(on: rooms.loop) { [unowned self] in self.closeSlice() }
    }

    func begin(_ members: [Member]) {
        let isRunning = !waiting.isEmpty
        for member in members {
            member.leaveRooms(rooms)
            waiting.append(member)
        }
        if !isRunning { closeSlice() }
    }

    /// One that has ended meanwhile counts, and is not closed again.
    private func closeSlice() {
        for _ in 0..<Limits.dismissalSliceCount { waiting.takeFirst()?.close(.slowConsumer) }
        if !waiting.isEmpty { timer?.start(after: Limits.drainSliceInterval) }
    }
}
