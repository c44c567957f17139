// The reads of a node's durable rooms: what is asked on the reader's link, and what replies lead to. Pure;
// lives on the feed's loop.

import EventLoop
import RedisSchema

extension DurableRooms {
    // MARK: The link

    /// The reader is connected, to one Redis.
    ///
    /// - Parameter run: the server's `run_id`.
    mutating func readerUp(run: String) -> [DurableAction<Frame>] {
        readerRun = run
        guard let slot = slots[0] else { return [] }
        slot.forgetsEpoch(behind: epochQuestionCount)
        return [askEpoch(of: slot)]
    }

    /// The reader's link to one Redis is lost: no reply of it counts any more.
    mutating func readerLost() {
        readerRun = nil
        if let slot = slots[0] { loseReads(of: slot) }
    }

    /// Replies for the slot do not count any more.
    mutating func loseReads(of slot: HistorySlot<Frame>) {
        slot.forgetsEpoch(behind: epochQuestionCount)
        if isCluster {
            for (ticket, read) in reads where rooms[read.user.room]?.slot === slot {
                if case .check(let room, _) = read.user { rooms[room]?.check.isNeeded = true }
                _ = take(ticket)
            }
        } else {
            reads.removeAll()
            readEntryCount = 0
        }
        for room in slot.rooms { update(room) { $0.feed.readerLost() } }
        restartResumes(of: slot)
    }

    /// Reads the epoch of one Redis again, and what that has refused: with each report of the node.
    mutating func checkEpoch() -> [DurableAction<Frame>] {
        guard readerRun != nil, let slot = slots[0] else { return [] }
        retryRefused()
        return [askEpoch(of: slot)]
    }

    mutating func retryRefused() {
        let refused = refusedRooms
        refusedRooms = []
        for room in refused { update(room) { $0.isRefused = false } }
    }

    /// The epoch is asked for when the turn ends.
    mutating func needEpoch(of slot: HistorySlot<Frame>) {
        guard !slot.isEpochNeeded else { return }
        slot.isEpochNeeded = true
        slotsWithoutEpoch.append(slot)
    }

    /// A slot without a link is asked when it has one.
    mutating func askEpochs(_ actions: inout [DurableAction<Frame>]) {
        for slot in slotsWithoutEpoch where slot.isEpochNeeded {
            slot.isEpochNeeded = false
            if isCluster ? slot.server != nil : readerRun != nil { actions.append(askEpoch(of: slot)) }
        }
        slotsWithoutEpoch = []
    }

    mutating func askEpoch(of slot: HistorySlot<Frame>) -> DurableAction<Frame> {
        slot.isEpochNeeded = false
        epochQuestionCount += 1
        slot.askedEpochQuestion = epochQuestionCount
        return .askEpoch(
            slot: slot.number, epochQuestionCount, inDoubt: slot.isEpochInDoubt ? slot.epoch : nil)
    }

    /// - Parameters:
    ///   - slot: whose epoch it is; 0 with one Redis.
    ///   - number: of the question.
    mutating func epochAnswered(
        slot number: Int, _ question: UInt64, _ answered: HistoryEpoch
    ) -> [DurableAction<Frame>] {
        guard let slot = slots[number], question >= slot.firstValidQuestion,
            question >= slot.answeredEpochQuestion
        else {
            return []
        }
        slot.answeredEpochQuestion = question
        slot.isEpochRead = true
        let before = slot.epoch
        slot.epoch = answered
        let waiting = slot.waitingForEpoch
        slot.waitingForEpoch = []
        wake(waiting)
        unpark(slot)
        setCutOff(slot, false)
        guard let before, before != answered else { return [] }
        let cause: LossCause = slot.isEpochInDoubt ? .rollback : .epoch
        slot.isEpochInDoubt = false
        if cause == .epoch { witnessed(slot) }
        var lost: [ResumedRoom] = []
        for room in slot.rooms {
            update(room) {
                $0.feed.epochChanged()
                $0.lossCause = cause
            }
            guard let entry = rooms[room], entry.feed.state == .live, let position = entry.feed.position
            else {
                continue
            }
            lost.append(told(room, position, answered))
        }
        restartResumes(of: slot)
        forgetIfUnused(slot)
        return lost.isEmpty ? [] : [.tellLost(lost, cause)]
    }

    private func told(_ room: RoomId, _ id: NoticeId, _ epoch: HistoryEpoch) -> ResumedRoom {
        ResumedRoom(room: room, since: HistoryPosition(epoch: epoch, id: id), isLost: true)
    }

    // MARK: Replies

    /// - Parameters:
    ///   - time: Redis' clock, Unix time in milliseconds.
    ///   - newest: the stream's last entry.
    mutating func tailAnswered(
        _ ticket: UInt64, time: Int64, newest: HistoryEntry<Frame>?
    ) {
        switch take(ticket) {
        case .room(let room):
            update(room) { $0.feed.tailAnswered(ticket: ticket, time: time, newest: newest) }
            if rooms[room]?.feed.canTellLoss == true { lostRooms.append(room) }
        case .check(let room, let question):
            checked(room, question, ticket: ticket, time: time, newest: newest)
        case .client, nil: break
        }
    }

    /// - Parameter now: the node's clock.
    mutating func rangeAnswered(
        _ ticket: UInt64, entries: [HistoryEntry<Frame>], now: MonotonicInstant
    ) -> [DurableAction<Frame>] {
        switch take(ticket) {
        case .room(let room):
            let age = historyAge
            let outcome = update(room) {
                $0.feed.rangeAnswered(ticket: ticket, entries: entries, now: now, historyAge: age)
            }
            return actions(of: outcome ?? nil, in: room)
        case .client(let room, let since):
            decide(HistoryProof(position: since, entries: entries), state: nil, in: room, ticket: ticket)
            return []
        case .check, nil: return []
        }
    }

    /// - Parameter now: the node's clock.
    mutating func stateAnswered(
        _ ticket: UInt64, state: StreamState, now: MonotonicInstant
    ) -> [DurableAction<Frame>] {
        switch take(ticket) {
        case .room(let room):
            let age = historyAge
            let outcome = update(room) {
                $0.feed.stateAnswered(ticket: ticket, state: state, now: now, historyAge: age)
            }
            return actions(of: outcome ?? nil, in: room)
        case .client(let room, let since):
            guard let proof = rooms[room]?.reads[since]?.undecided else { return [] }
            decide(proof, state: state, in: room, ticket: ticket)
            return []
        case .check, nil: return []
        }
    }

    /// Redis refuses a read: it is asked again with the next report, and clients that need it wait.
    mutating func refused(_ ticket: UInt64) {
        switch take(ticket) {
        case .room(let room):
            update(room) {
                $0.feed.refused(ticket: ticket)
                $0.isRefused = true
            }
            refusedRooms.append(room)
        case .client(let room, let since):
            // The room's own reads are refused, too, and hold its clients back; whoever still waits gives
            // up.
            rooms[room]?.reads[since] = nil
        case .check(let room, _):
            rooms[room]?.check.isNeeded = true
            refusedRooms.append(room)
        case nil: break
        }
    }

    mutating func take(_ ticket: UInt64) -> ReadUser? {
        guard let read = reads.removeValue(forKey: ticket) else { return nil }
        readEntryCount -= read.entryCount
        return read.user
    }

    private mutating func actions(
        of outcome: RoomFeed<Frame>.Outcome?, in room: RoomId
    ) -> [DurableAction<Frame>] {
        guard let outcome else { return [] }
        var actions: [DurableAction<Frame>] = []
        if let cause = outcome.lossFound {
            rooms[room]?.lossCause = cause
            if cause == .rollback, let slot = rooms[room]?.slot, !slot.isEpochInDoubt {
                slot.isEpochInDoubt = true
                actions.append(askEpoch(of: slot))
            }
        }
        for entry in outcome.deliveries {
            if let frame = entry.frame { actions.append(.deliver(room, frame)) }
        }
        evict()
        return actions
    }

    /// One notice for each cause names all rooms that a client has lost; what was held follows.
    mutating func tellLosses(_ actions: inout [DurableAction<Frame>]) {
        var lost: [LossCause: [ResumedRoom]] = [:]
        var deliveries: [DurableAction<Frame>] = []
        for room in lostRooms {
            guard let epoch = epoch(of: room), let outcome = update(room, { $0.feed.tellLoss() }) ?? nil,
                let position = outcome.lostTo
            else {
                continue
            }
            lost[rooms[room]!.lossCause, default: []].append(told(room, position, epoch))
            deliveries += self.actions(of: outcome, in: room)
        }
        lostRooms = []
        for (cause, rooms) in lost { actions.append(.tellLost(rooms, cause)) }
        actions += deliveries
    }

    // MARK: Questions

    mutating func askReads(_ actions: inout [DurableAction<Frame>], _ now: MonotonicInstant) {
        while readEntryCount + settings.longReadCount <= settings.maximumReadEntryCount,
            let queued = readQueue.takeFirst()
        {
            guard let entry = rooms[queued.room] else { continue }
            guard canRead(entry.slot) else {
                entry.slot.parkedReads.append(queued)
                continue
            }
            switch queued {
            case .room(let room): askRead(of: room, &actions, now)
            case .client(let room, let since): askRead(of: room, behind: since, &actions)
            case .check(let room): askCheck(of: room, entry, &actions, now)
            }
        }
    }

    /// The slot may be read again.
    mutating func unpark(_ slot: HistorySlot<Frame>) {
        for queued in slot.parkedReads { readQueue.append(queued) }
        slot.parkedReads = []
    }

    private mutating func askRead(
        of room: RoomId, _ actions: inout [DurableAction<Frame>], _ now: MonotonicInstant
    ) {
        guard let entry = rooms[room] else { return }
        entry.isQueued = false
        guard let need = entry.feed.need else { return }
        let question: HistoryCommand.Question
        var count = 1
        switch need {
        case .tail: question = .tail
        case .range(let from, let isLong):
            count = isLong ? settings.longReadCount : settings.shortReadCount
            question = .range(from: from, count: count)
        case .state: question = .state
        case .echo:
            isEchoNeeded = true
            echoSlots.insert(entry.slot.number)
            entry.slot.startingRooms.append((echoCount + 1, room))
            entry.feed.asked(need, ticket: echoCount + 1, now: now)
            return
        }
        let ticket = ticket(for: .room(room), entryCount: count)
        entry.feed.asked(need, ticket: ticket, count: count, now: now)
        actions.append(.ask(HistoryCommand(ticket: ticket, room: room, question: question)))
    }

    private mutating func askRead(
        of room: RoomId, behind since: NoticeId, _ actions: inout [DurableAction<Frame>]
    ) {
        guard let read = rooms[room]?.reads[since], case .wanted = read.step else { return }
        let count = read.undecided == nil ? readCount(of: room, behind: since) : 1
        let ticket = ticket(for: .client(room, since), entryCount: count)
        rooms[room]!.reads[since]!.step = .asked(ticket)
        let question: HistoryCommand.Question =
            read.undecided == nil ? .range(from: since, count: count) : .state
        actions.append(.ask(HistoryCommand(ticket: ticket, room: room, question: question)))
    }

    /// The entry of the position, and as many behind it as the numbers say there are up to the room's
    /// position.
    private func readCount(of room: RoomId, behind since: NoticeId) -> Int {
        let missed = (rooms[room]?.feed.position?.number ?? 0) - since.number
        return missed >= 0
            ? Int(min(missed + 1, Int64(settings.longReadCount))) : settings.shortReadCount
    }

    mutating func ticket(for user: ReadUser, entryCount: Int) -> UInt64 {
        ticketCount += 1
        reads[ticketCount] = (user, entryCount)
        readEntryCount += entryCount
        return ticketCount
    }

    mutating func queueRead(of room: RoomId, behind since: NoticeId) {
        readQueue.append(.client(room, since))
    }
}
