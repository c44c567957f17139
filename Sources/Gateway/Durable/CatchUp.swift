// What an opted-in member has still to get of its rooms' histories. Loop-confined: belongs to its worker's
// loop.

import EventLoop
import RedisSchema

/// A member that wants to miss nothing is told where its rooms' histories go on, and gets what it has missed
/// before it becomes a member like any other.
///
///     resuming ──answer: part of it──▶ catching up ──written, asked, answer: the rest──▶ member
///     resuming ──answer: all of it──▶ member
///
/// What it has missed is given in parts, the next one when the last is written, so that a slow client is paced
/// by its own reading. While it is catching up it is in no audience: durable notices come with the history,
/// and plain ones wait behind it by reference.
final class CatchUp {
    private unowned(unsafe) let member: Member
    private let worker: Worker
    private let join: PendingJoin
    /// Where the next part begins.
    private var rooms: [(room: RoomId, since: HistoryPosition?)]
    /// Whether the next part is on its way.
    private var isAsking = false
    /// Plain notices that came meanwhile, room by room.
    private var messages: [Message] = []
    private var memoryBytes = 0

    /// Begins: the member, which has got the first part, stays until `end`.
    ///
    /// - Parameter answers: the first part, for each of the rooms.
    init(_ member: Member, _ join: PendingJoin, behind answers: [RoomAnswer<Message>]) {
        self.member = member
        worker = member.worker
        self.join = join
        rooms = answers.map(\.next)
        for room in join.rooms { room.catchingUp.append(self) }
        if member.hasNoBacklog { askOn() }
    }

    /// The next part of what the member has missed has come.
    func resumed(_ answers: [RoomAnswer<Message>]) {
        guard member.isOpen else { return }
        isAsking = false
        // What is no longer kept is told, and the room begins where it is.
        let lost = answers.filter(\.isLost)
        let parts = (lost.isEmpty ? [] : [member.notice(of: lost, among: answers)]) + member.frames(answers)
        guard answers.allSatisfy(\.replay.isComplete) else {
            rooms = answers.map(\.next)
            member.send(parts)
            if member.isOpen, member.hasNoBacklog { askOn() }
            return
        }
        end()
        member.takeSeats(join, answers)
        // In the order in which they came.
        let waiting = messages.sorted { $0.order < $1.order }.map { $0.encoded(as: member.encoding) }
        member.send(parts + waiting)
    }

    private func end() {
        member.catchUpEnded()
        for room in join.rooms { room.catchingUp.removeAll { $0 === self } }
    }

    /// The member's socket has taken everything.
    func backlogIsWritten() {
        if member.isOpen, !isAsking { askOn() }
    }

    private func askOn() {
        isAsking = true
        worker.tellFeed(.resume(ResumeRequest(id: resumeId, rooms: rooms)))
    }

    private var resumeId: ResumeId { ResumeId(worker: worker.index, connection: member.connectionID) }

    /// A turn has brought messages to a room in which the member is catching up.
    func wait(for messages: ContiguousArray<Message>) {
        guard member.isOpen else { return }
        for message in messages where !message.isDurable {
            self.messages.append(message)
            memoryBytes += message.memoryBytes
        }
        if memoryBytes > worker.maximumQueueBytes { member.isTooSlow() }
    }

    /// The member leaves its rooms before it has all.
    func cancel(_ table: RoomTable) {
        end()
        table.cancel(join)
        if isAsking { worker.tellFeed(.cancelResume(resumeId)) }
    }
}

extension RoomAnswer {
    /// Where the next part begins.
    fileprivate var next: (room: RoomId, since: HistoryPosition?) { (room, reached) }
}
