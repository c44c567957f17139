// Clients that resume, answered at one moment for all their rooms. Pure; lives on the feed's loop.

import EventLoop
import RedisSchema

/// A client that waits for its answer.
///
/// The same request gives a replay in parts. An answer whose rooms are not all complete makes the client no
/// member: when what it got is written, it asks again, with the positions that the answer has reached.
/// Nothing of it is kept here meanwhile. If a room has moved out of reach by then, the answer says that it
/// is lost.
struct PendingResume {
    struct Room {
        let room: RoomId
        /// Nil without a position: the room begins where it is.
        let since: HistoryPosition?
        /// The question for the epoch that was asked behind this client, if one was.
        var epochQuestion: UInt64?
        /// The echo that was asked for behind this client, if one was; in a cluster the comparison of the
        /// room with Redis, by the first ticket that it may have.
        var echo: UInt64?
        /// Whether the position is lost: the room begins where it is once the echo has come, so that
        /// nothing comes again that the client has seen on a node with a faster feed. In a cluster it begins
        /// once it is not behind Redis, and what is still on the bus is old then.
        var isLost = false
    }

    var rooms: [Room]
    /// Whether it stands in `dueResumes`.
    var isDue = false
}

extension DurableRooms {
    /// Answers of one moment: equal ones are made once, and share their frames.
    private struct SharedAnswers {
        struct Key: Hashable {
            let room: RoomId
            let since: HistoryPosition
            let maximumBytes: Int
        }

        var answers: [Key: RoomAnswer<Frame>] = [:]
    }

    /// A client asks for what it has missed. Every room must be tracked.
    ///
    /// - Parameter rooms: each with the position that the client has of it.
    mutating func resume(_ id: ResumeId, _ rooms: [(room: RoomId, since: HistoryPosition?)]) {
        cancel(id)
        resumes[id] = PendingResume(rooms: rooms.map { PendingResume.Room(room: $0.room, since: $0.since) })
        wake([id])
    }

    /// The client is gone, or has given up.
    mutating func cancel(_ id: ResumeId) {
        guard let pending = resumes.removeValue(forKey: id) else { return }
        release(id, pending)
    }

    mutating func wake(_ ids: [ResumeId]) {
        for id in ids where resumes[id]?.isDue == false {
            resumes[id]!.isDue = true
            dueResumes.append(id)
        }
    }

    mutating func wakeAll() { wake(Array(resumes.keys)) }

    /// What was found out for clients of these rooms, on a link that is lost or in another epoch, does not
    /// count. They begin anew when the turn ends.
    mutating func restartResumes(of slot: HistorySlot<Frame>) {
        restartedSlots.insert(slot.number)
        waitingForEcho.removeAll()
        for room in slot.rooms where !rooms[room]!.reads.isEmpty { rooms[room]!.reads = [:] }
    }

    mutating func restartResumes() {
        for id in Array(resumes.keys) {
            for index in resumes[id]!.rooms.indices {
                let slot = rooms[resumes[id]!.rooms[index].room]?.slot
                guard !isCluster || slot.map({ restartedSlots.contains($0.number) }) != false else {
                    continue
                }
                resumes[id]!.rooms[index].epochQuestion = nil
                resumes[id]!.rooms[index].echo = nil
                resumes[id]!.rooms[index].isLost = false
            }
        }
        restartedSlots = []
        wakeAll()
    }

    mutating func answerResumes(_ actions: inout [DurableAction<Frame>]) {
        let due = dueResumes
        dueResumes = []
        var shared = SharedAnswers()
        for id in due {
            // A client that has gone leaves its place in the list.
            guard let pending = resumes[id], pending.isDue else { continue }
            resumes[id]!.isDue = false
            guard let answers = answers(id, &shared) else { continue }
            let answered = resumes.removeValue(forKey: id)!
            release(id, answered)
            actions.append(.resumed(id, answers))
        }
    }

    /// The answers for all rooms at this moment; nil if one of them has to wait, for which it is made sure
    /// that the client is looked at again.
    private mutating func answers(_ id: ResumeId, _ shared: inout SharedAnswers) -> [RoomAnswer<Frame>]? {
        // All are looked at when it is up.
        guard isSubscriberUp else { return nil }
        var answers: [RoomAnswer<Frame>] = []
        var isReady = true
        var remainingBytes = settings.maximumReplayBytes
        for index in resumes[id]!.rooms.indices {
            if let answer = answer(id, index, maximumBytes: remainingBytes, &shared) {
                remainingBytes -= answer.replay.memoryBytes
                answers.append(answer)
            } else {
                isReady = false
            }
        }
        return isReady ? answers : nil
    }

    private mutating func answer(
        _ id: ResumeId, _ index: Int, maximumBytes: Int, _ shared: inout SharedAnswers
    ) -> RoomAnswer<Frame>? {
        let wanted = resumes[id]!.rooms[index]
        guard let entry = rooms[wanted.room] else { return nil }
        guard let epoch = entry.slot.epoch, entry.slot.isEpochSure else {
            entry.slot.waitingForEpoch.append(id)
            return nil
        }
        guard entry.feed.state == .live, let position = entry.feed.position else {
            entry.waiting.append(id)
            return nil
        }
        func here(_ source: RoomAnswer<Frame>.Source) -> RoomAnswer<Frame> {
            var replay = Replay<Frame>(since: position)
            replay.isComplete = true
            return RoomAnswer(
                room: wanted.room, position: HistoryPosition(epoch: epoch, id: position),
                isLost: source == .lost,
                replay: replay, source: source)
        }
        guard let since = wanted.since else { return here(.fresh) }
        let hasEcho =
            wanted.echo.map { $0 <= (isCluster ? entry.check.answeredTicket : answeredEchoCount) } ?? false
        if wanted.isLost {
            if hasEcho { return here(.lost) }
            if isCluster { entry.waiting.append(id) }
            return nil
        }
        guard since.epoch == epoch else {
            return isEpochConfirmed(behind: id, index, entry.slot) ? lost(id, index) : nil
        }
        let key = SharedAnswers.Key(room: wanted.room, since: since, maximumBytes: maximumBytes)
        if let answer = shared.answers[key] { return answer }
        var read: HistoryRead<Frame>?
        if case .answered(let answered) = entry.reads[since.id]?.step { read = answered }
        switch entry.feed.answer(since: since.id, read: read, hasEcho: hasEcho, maximumBytes: maximumBytes) {
        case .replay(let replay):
            let source: RoomAnswer<Frame>.Source =
                replay.reached == since.id ? .current : read == nil ? .ring : .read
            let answer = RoomAnswer(
                room: wanted.room, position: since, isLost: false, replay: replay, source: source)
            shared.answers[key] = answer
            return answer
        case .read: needRead(id, wanted.room, since.id, isAgain: read != nil)
        case .wait:
            entry.waiting.append(id)
            if isCluster { isAhead(id, index, since.id, hasCheck: hasEcho) }
        case .echo: needEcho(id, index)
        case .lost: return lost(id, index)
        }
        return nil
    }

    /// Whether the epoch was read after the client came. One that comes from another node may know of a new epoch
    /// before this node does.
    private mutating func isEpochConfirmed(
        behind id: ResumeId, _ index: Int, _ slot: HistorySlot<Frame>
    ) -> Bool {
        let question = resumes[id]!.rooms[index].epochQuestion ?? epochQuestionCount + 1
        if question <= slot.answeredEpochQuestion { return true }
        if question > slot.askedEpochQuestion { needEpoch(of: slot) }
        resumes[id]!.rooms[index].epochQuestion = question
        slot.waitingForEpoch.append(id)
        return false
    }

    private mutating func lost(_ id: ResumeId, _ index: Int) -> RoomAnswer<Frame>? {
        resumes[id]!.rooms[index].isLost = true
        resumes[id]!.rooms[index].echo = nil
        needEcho(id, index)
        return nil
    }

    /// Asks for an echo at the end of this turn, behind the client's request; in a cluster for the end of
    /// the room's history.
    private mutating func needEcho(_ id: ResumeId, _ index: Int) {
        if isCluster { return needCheck(id, index) }
        guard resumes[id]!.rooms[index].echo == nil else { return }
        resumes[id]!.rooms[index].echo = echoCount + 1
        isEchoNeeded = true
        waitingForEcho.append((echoCount + 1, id))
    }

    private mutating func needCheck(_ id: ResumeId, _ index: Int) {
        let room = resumes[id]!.rooms[index].room
        guard let entry = rooms[room] else { return }
        entry.waiting.append(id)
        guard resumes[id]!.rooms[index].echo == nil else { return }
        resumes[id]!.rooms[index].echo = ticketCount + 1
        entry.check.isForClient = true
        entry.check.isNeeded = true
        queueCheck(room, entry)
    }

    /// The client has seen notices that have not come here. In a cluster nothing says that they will: the
    /// bus may have lost them, and Redis has them.
    private mutating func isAhead(_ id: ResumeId, _ index: Int, _ since: NoticeId, hasCheck: Bool) {
        guard hasCheck else { return needCheck(id, index) }
        // Redis has lost them since the client's read.
        resumes[id]!.rooms[index].echo = nil
        needRead(id, resumes[id]!.rooms[index].room, since, isAgain: true)
    }

    private mutating func needRead(_ id: ResumeId, _ room: RoomId, _ since: NoticeId, isAgain: Bool) {
        if isAgain || rooms[room]!.reads[since] == nil {
            let users = rooms[room]!.reads[since]?.users ?? []
            rooms[room]!.reads[since] = ClientRead(users: users)
            queueRead(of: room, behind: since)
        }
        rooms[room]!.reads[since]!.users.insert(id)
    }

    mutating func decide(_ proof: HistoryProof<Frame>, state: StreamState?, in room: RoomId, ticket: UInt64)
    {
        let since = proof.position
        guard let read = rooms[room]?.reads[since], case .asked(ticket) = read.step else { return }
        let verdict = proof.verdict(state: state, historyAge: historyAge)
        if verdict == .undecided {
            rooms[room]!.reads[since]!.undecided = proof
            rooms[room]!.reads[since]!.step = .wanted
            queueRead(of: room, behind: since)
            return
        }
        rooms[room]!.reads[since]!.step = .answered(
            HistoryRead(isProven: verdict == .proven, entries: proof.missed))
        wake(Array(read.users))
    }

    /// Forgets reads that only this client has needed.
    private mutating func release(_ id: ResumeId, _ pending: PendingResume) {
        for wanted in pending.rooms {
            guard let since = wanted.since?.id, rooms[wanted.room]?.reads[since] != nil else { continue }
            rooms[wanted.room]!.reads[since]!.users.remove(id)
            if rooms[wanted.room]!.reads[since]!.users.isEmpty { rooms[wanted.room]!.reads[since] = nil }
        }
    }
}
