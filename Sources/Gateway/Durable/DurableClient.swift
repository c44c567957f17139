// A WebSocket client that wants to miss nothing. Loop-confined: belongs to its worker's loop.

import EventLoop
import Network
import RedisSchema

/// An opted-in connection: it is told where its rooms' histories go on, and gets what it has missed before it
/// becomes a member like any other.
///
///     resuming ──answer: part of it──▶ catching up ──written, asked, answer: the rest──▶ member
///     resuming ──answer: all of it──▶ member
///
/// What it has missed is given in parts, the next one when the last is written, so that a slow client is paced
/// by its own reading. While it is catching up it is in no audience: durable notices come with the history,
/// and plain ones wait behind it by reference.
final class DurableClient: WebSocketClient {
    /// What it still has to get; nil once it is a member.
    private var catchUp: CatchUp?
    /// Where its history goes on, from the first part to `enter`; nil if that was all.
    private var rest: [(room: RoomId, since: HistoryPosition?)]?

    override var wantsGapNotices: Bool { false }

    /// Begins with the 101 and what has been missed, in one write.
    ///
    /// - Parameters:
    ///   - response: the 101.
    ///   - answers: for each of the rooms, in the order of the handshake.
    func begin(_ response: [UInt8], _ answers: [RoomAnswer<Message>]) {
        if !answers.allSatisfy(\.replay.isComplete) { rest = answers.map(\.next) }
        send([.copying(response), notice(answers.map(\.told))] + frames(answers))
    }

    override func enter(_ pending: PendingJoin) {
        guard let rest else { return super.enter(pending) }
        self.rest = nil
        let catchUp = CatchUp(pending, rest)
        self.catchUp = catchUp
        for room in pending.rooms { room.catchingUp.append(self) }
        worker.connections.catchingUp[connectionID] = self
        if queue == nil { askOn(catchUp) }
    }

    /// The next part of what it has missed has come.
    func resumed(_ answers: [RoomAnswer<Message>]) {
        guard isOpen, let catchUp else { return }
        catchUp.isAsking = false
        // What is no longer kept is told, and the room begins where it is.
        let lost = answers.filter(\.isLost)
        let parts = (lost.isEmpty ? [] : [notice(lost.map(\.told))]) + frames(answers)
        guard answers.allSatisfy(\.replay.isComplete) else {
            catchUp.rooms = answers.map(\.next)
            send(parts)
            if isOpen, queue == nil { askOn(catchUp) }
            return
        }
        end(catchUp)
        super.enter(catchUp.join)
        send(parts + catchUp.waiting(as: encoding))
    }

    private func end(_ catchUp: CatchUp) {
        self.catchUp = nil
        for room in catchUp.join.rooms { room.catchingUp.removeAll { $0 === self } }
        worker.connections.catchingUp[connectionID] = nil
    }

    override func backlogIsWritten() {
        super.backlogIsWritten()
        if isOpen, let catchUp, !catchUp.isAsking { askOn(catchUp) }
    }

    private func askOn(_ catchUp: CatchUp) {
        catchUp.isAsking = true
        worker.tellFeed(.resume(ResumeRequest(id: resumeId, rooms: catchUp.rooms)))
    }

    private var resumeId: ResumeId { ResumeId(worker: worker.index, connection: connectionID) }

    /// A turn has brought messages to a room in which the client is catching up.
    func wait(for messages: ContiguousArray<Message>) {
        guard isOpen, let catchUp else { return }
        for message in messages where !message.isDurable { catchUp.append(message) }
        if catchUp.memoryBytes > worker.maximumQueueBytes { isTooSlow() }
    }

    /// Tells that notices may be missing in some of its rooms. One that is catching up hears it with the
    /// next part.
    func tellLost(_ lost: [RoomId: ResumedRoom]) -> SharedBytes? {
        guard isOpen, catchUp == nil else { return nil }
        let concerned = rooms.compactMap { lost[$0] }
        return concerned.isEmpty ? nil : notice(concerned)
    }

    override func leaveRooms(_ table: RoomTable) {
        super.leaveRooms(table)
        guard let catchUp else { return }
        end(catchUp)
        table.cancel(catchUp.join)
        if catchUp.isAsking { worker.tellFeed(.cancelResume(resumeId)) }
    }

    private func notice(_ rooms: [ResumedRoom]) -> SharedBytes {
        ResumeNotice.bytes(rooms).withUnsafeBytes { encoding.encode($0) }
    }

    private func frames(_ answers: [RoomAnswer<Message>]) -> [SharedBytes] {
        answers.flatMap { $0.replay.frames.map { $0.encoded(as: encoding) } }
    }
}

/// What a client that is catching up still has to get.
private final class CatchUp {
    let join: PendingJoin
    /// Where the next part begins.
    var rooms: [(room: RoomId, since: HistoryPosition?)]
    /// Whether the next part is on its way.
    var isAsking = false
    /// Plain notices that came meanwhile, room by room.
    private var messages: [Message] = []
    private(set) var memoryBytes = 0

    init(_ join: PendingJoin, _ rooms: [(room: RoomId, since: HistoryPosition?)]) {
        self.join = join
        self.rooms = rooms
    }

    func append(_ message: Message) {
        messages.append(message)
        memoryBytes += message.memoryBytes
    }

    /// In the order in which they came.
    func waiting(as encoding: Encoding) -> [SharedBytes] {
        messages.sorted { $0.order < $1.order }.map { $0.encoded(as: encoding) }
    }
}

extension RoomAnswer {
    /// What the client is told of the room.
    fileprivate var told: ResumedRoom { ResumedRoom(room: room, since: position, isLost: isLost) }

    /// Where the next part begins.
    fileprivate var next: (room: RoomId, since: HistoryPosition?) {
        (room, HistoryPosition(epoch: position.epoch, id: replay.reached))
    }
}

extension Worker {
    /// Tells opted-in members of some rooms, each once, that notices may be missing.
    func tellHistoryLost(_ lost: [ResumedRoom]) {
        let byRoom = Dictionary(lost.map { ($0.room, $0) }) { first, _ in first }
        turn.write(to: connections.members) { ($0 as? DurableClient)?.tellLost(byRoom) }
    }

    /// Messages of some rooms were dropped on their way to this worker: opted-in members resume, which brings
    /// them what was durable of it.
    func sendAway(optedInMembersOf rooms: Set<RoomId>) {
        turn.flush()
        for member in Array(connections.members) where member is DurableClient {
            if member.rooms.contains(where: rooms.contains) { member.close(.slowConsumer) }
        }
    }
}
