// Durable rooms in a cluster: which server has a slot, and whether what was published has come. Pure; lives
// on the feed's loop.

import EventLoop
import RedisSchema

/// The comparisons of a room with the end of its history.
///
/// A message comes from its master to the subscriber's server over the cluster's bus, in the order of its
/// master, but without a word if it is lost. The next message shows the hole. If there is no next one, only
/// Redis knows: so each room is compared with it from time to time, and whenever the slot has another
/// server, whose data may end earlier. That takes one read of one entry, and the room stays live meanwhile;
/// only if they differ everything behind its position is read.
///
/// The same comparison takes the place of the echo before a client starts that has lost its position, or is
/// ahead: what was published before it is not behind the room's position then, and is dropped if the bus
/// brings it later. An echo would prove that for one master only, and slots move.
struct RoomCheck {
    struct Question {
        /// Of the room when it was asked.
        let position: NoticeId
        let askedAt: MonotonicInstant
        let isForClient: Bool
    }

    /// The room's place among all that were ever tracked.
    var number: UInt64 = 0
    var isNeeded = false
    var isQueued = false
    /// Whether a client waits for it.
    var isForClient = false
    /// The last one whose reply has come.
    var answeredTicket: UInt64 = 0
}

extension DurableRooms {
    // MARK: Slots

    mutating func slot(of room: RoomId) -> HistorySlot<Frame> {
        let number = settings.slotOf?(room) ?? 0
        if let slot = slots[number] { return slot }
        let slot = HistorySlot<Frame>(number: number, questionCount: epochQuestionCount)
        slots[number] = slot
        slot.server = serverOf(number)
        slot.isCutOff = true
        if let server = slot.server {
            if witnesses[server] == nil { witnesses[server] = slot }
            begin(slot)
        }
        return slot
    }

    /// A slot whose epoch is in doubt stays until another one is found.
    mutating func forgetIfUnused(_ slot: HistorySlot<Frame>) {
        guard isCluster, slot.rooms.isEmpty, !slot.isEpochInDoubt else { return }
        slots[slot.number] = nil
        guard let server = slot.server, witnesses[server] === slot else { return }
        witnesses[server] = slots.values.first { $0.server == server }
    }

    mutating func setCutOff(_ slot: HistorySlot<Frame>, _ isCutOff: Bool) {
        guard isCluster, slot.isCutOff != isCutOff else { return }
        slot.isCutOff = isCutOff
        for room in slot.rooms { rooms[room].map { countAwaitedTail($0) } }
    }

    // MARK: Servers

    /// Slots have moved, a replica has become a master, or a connection came or went.
    ///
    /// - Parameter serverOf: where a slot is read; nil if no connection leads there.
    /// - Complexity: O(slots with tracked rooms), and O(rooms) of slots that are read elsewhere.
    mutating func serversChanged(_ serverOf: @escaping (Int) -> HistoryServer?) {
        self.serverOf = serverOf
        witnesses = [:]
        for slot in slots.values {
            let server = serverOf(slot.number)
            if server != slot.server {
                if slot.server != nil { lose(slot) }
                slot.server = server
                if server != nil { begin(slot) }
            }
            if let server, witnesses[server] == nil { witnesses[server] = slot }
        }
    }

    /// The epoch is read, and every room is compared with what this server has.
    private mutating func begin(_ slot: HistorySlot<Frame>) {
        failedSlots.remove(slot.number)
        slot.forgetsEpoch(behind: epochQuestionCount)
        needEpoch(of: slot)
        for room in slot.rooms {
            update(room) { $0.check.isNeeded = true }
        }
    }

    private mutating func lose(_ slot: HistorySlot<Frame>) {
        setCutOff(slot, true)
        loseReads(of: slot)
    }

    /// The witness of a server has another epoch: the server has lost its data, perhaps that of all slots.
    mutating func witnessed(_ slot: HistorySlot<Frame>) {
        guard let server = slot.server, witnesses[server] === slot else { return }
        for other in slots.values where other !== slot && other.server == server { begin(other) }
    }

    /// A read of a cluster was not answered. It is asked again with the next `check`.
    mutating func failed(_ ticket: UInt64) {
        guard let user = take(ticket), let slot = rooms[user.room]?.slot else { return }
        if case .check(let room, _) = user { rooms[room]?.check.isNeeded = true }
        fail(slot)
    }

    /// A question for an epoch was not answered.
    mutating func epochFailed(slot number: Int, _ question: UInt64) {
        guard let slot = slots[number], question >= slot.firstValidQuestion else { return }
        fail(slot)
    }

    private mutating func fail(_ slot: HistorySlot<Frame>) {
        failedSlots.insert(slot.number)
        lose(slot)
    }

    // MARK: Checks

    /// From time to time: what has failed or was refused is asked again, one slot of each server is asked for
    /// its epoch, and some rooms are compared with Redis. It is asked when the turn ends.
    mutating func check() {
        for number in failedSlots {
            if let slot = slots[number], slot.server != nil { begin(slot) }
        }
        failedSlots = []
        retryRefused()
        for slot in witnesses.values { needEpoch(of: slot) }
        let count = min(
            (rooms.count + settings.checkRoundCount - 1) / settings.checkRoundCount,
            settings.maximumCheckCount)
        for _ in 0..<count {
            guard let next = checkedRooms.takeFirst() else { break }
            // Forgotten since; perhaps it is tracked again, and has another place.
            guard let entry = rooms[next.room], entry.check.number == next.number else { continue }
            checkedRooms.append(next)
            update(next.room) { $0.check.isNeeded = true }
        }
    }

    /// A tracked room gets its place.
    mutating func willCheck(_ room: RoomId, _ entry: Room) {
        trackedCount += 1
        entry.check.number = trackedCount
        checkedRooms.append((room, trackedCount))
    }

    /// A room that is not live is proven by other reads first.
    mutating func queueCheck(_ room: RoomId, _ entry: Room) {
        guard !entry.check.isQueued, entry.feed.state == .live else { return }
        entry.check.isQueued = true
        readQueue.append(.check(room))
    }

    mutating func askCheck(
        of room: RoomId, _ entry: Room, _ actions: inout [DurableAction<Frame>], _ now: MonotonicInstant
    ) {
        entry.check.isQueued = false
        guard entry.check.isNeeded, entry.feed.state == .live, let position = entry.feed.position else {
            return
        }
        let question = RoomCheck.Question(
            position: position, askedAt: now, isForClient: entry.check.isForClient)
        entry.check.isNeeded = false
        entry.check.isForClient = false
        let ticket = ticket(for: .check(room, question), entryCount: 1)
        actions.append(.ask(HistoryCommand(ticket: ticket, room: room, question: .tail)))
    }

    mutating func checked(
        _ room: RoomId, _ question: RoomCheck.Question, ticket: UInt64, time: Int64,
        newest: HistoryEntry<Frame>?
    ) {
        let age = historyAge
        update(room) {
            $0.check.answeredTicket = max($0.check.answeredTicket, ticket)
            $0.feed.compared(
                with: newest, time: time, before: question.position, now: question.askedAt,
                movesUp: question.isForClient, historyAge: age)
        }
    }
}
