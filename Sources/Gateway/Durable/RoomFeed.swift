// One durable room as the node has it: what of its history is proven to have come. Pure; lives on the
// feed's loop.

import EventLoop
import RedisSchema

/// The history of a room on its way through the node: each notice once and in order, what came while the
/// node was away included.
///
///     unsubscribed ──confirmed, no position──▶ starting ──tail read, echo──▶ live
///     unsubscribed ──confirmed──▶ proving ──everything behind the position has come──▶ live
///     live ──a message that does not follow──▶ proving
///     proving ──the position cannot be proven──▶ proving without position ──tail read, told lost──▶ live
///     any ──link lost──▶ unsubscribed, the position stays
///
/// While a room is starting no client counts on its history, so messages go through. While it is proving
/// they are held: what was missed goes before them.
///
/// A read counts only if it was asked after the confirmation, on the present links: its ticket is forgotten
/// with either of them.
struct RoomFeed<Frame: Equatable> {
    enum State: Equatable { case unsubscribed, starting, proving, live }

    /// What becomes of a message.
    enum Acceptance: Equatable { case deliver, hold, drop }

    /// What the room needs from Redis next.
    enum Need: Equatable {
        /// `TIME`, then `XREVRANGE + - COUNT 1`.
        case tail
        /// `XRANGE <position> + COUNT k`.
        case range(NoticeId, isLong: Bool)
        /// `TIME`, then `XINFO STREAM`: the range did not prove the position.
        case state
        /// Something that comes behind all that was published before it: an echo on the subscriber's link.
        case echo
    }

    /// What a reply has led to; in this order it is to be acted on.
    struct Outcome {
        /// The position cannot be proven: the room has none until the tail is read, and the cause.
        var lossFound: LossCause?
        /// Opted-in members miss notices: from this position on everything comes.
        var lostTo: NoticeId?
        /// What was missed, and what has waited for it.
        var deliveries: [HistoryEntry<Frame>] = []
    }

    private enum Asked: Equatable {
        case nothing
        case tail(ticket: UInt64)
        case range(ticket: UInt64, count: Int)
        case state(ticket: UInt64)
        case echo(number: UInt64)
    }

    /// Whether messages come from masters that take over from each other while the subscriber's link stands.
    let isCluster: Bool
    private(set) var state = State.unsubscribed
    /// Everything durable up to here has been handed on, or was never promised. Nil while starting, and
    /// while a loss is found and not told.
    private(set) var position: NoticeId?
    private(set) var ring = HistoryRing<Frame>()
    private var last = LastFrame<Frame>.unknown
    private(set) var held: [HistoryEntry<Frame>] = []
    private(set) var heldBytes = 0
    /// Whether opted-in members still have to be told of a loss.
    private(set) var isLost = false

    private var asked = Asked.nothing
    /// When the present question was sent, and how many messages were held by then.
    private var askedAt = MonotonicInstant(nanoseconds: .min)
    private var heldCountWhenAsked = 0
    /// The reply that did not prove the position by itself, and whether it reached the stream's end.
    private var undecided: (proof: HistoryProof<Frame>, isWhole: Bool)?
    /// Whether more was missed than one short read brings.
    private var isLong = false
    /// Whether a message has come that Redis did not have when it was read: the master that was asked may be one no
    /// more. Until a read has what has come, numbers that follow prove nothing.
    private var isInDoubt = false
    /// Something that was handed on, and of which another version has come: only one of them is in Redis. If the other
    /// one is, what came behind this one followed by chance.
    private var anchor: NoticeId?
    /// Where the room starts if nothing has come until the echo; set once the tail is read.
    private var tail: (id: NoticeId, last: LastFrame<Frame>)?
    /// When the last proof was asked for, or until when the last link was complete: the beginning of an
    /// outage. Never the time at which anything was received.
    private var completeUntil = MonotonicInstant(nanoseconds: .min)

    init(isCluster: Bool = false) { self.isCluster = isCluster }

    /// What is to be asked now; nil while a reply is awaited.
    var need: Need? {
        guard asked == .nothing else { return nil }
        switch state {
        case .unsubscribed, .live: return nil
        case .starting: return tail == nil ? .tail : .echo
        case .proving:
            guard let position else { return .tail }
            if isLost { return nil }
            return undecided == nil ? .range(anchor ?? position, isLong: isLong) : .state
        }
    }

    /// Whether the room has lost its position, and its tail is not read yet.
    var awaitsTail: Bool { state == .proving && position == nil }
    /// Whether members can be told of the loss now.
    var canTellLoss: Bool { state == .proving && isLost && position != nil }

    // MARK: Links

    /// Redis has confirmed the subscription on the present link.
    mutating func subscribed() {
        guard state == .unsubscribed else { return }
        state = position == nil && !isLost ? .starting : .proving
    }

    /// The subscriber's link is lost.
    ///
    /// - Parameter completeUntil: when the last question that was answered on it was sent.
    mutating func linkLost(completeUntil: MonotonicInstant) {
        if state == .live { self.completeUntil = max(self.completeUntil, completeUntil) }
        state = .unsubscribed
        dropHeld()
        anchor = nil
        tail = nil
        // What has come so far is no run that begins at a known position.
        if position == nil { ring.removeAll() }
    }

    /// The reader's link is lost, and every reply with it.
    mutating func readerLost() {
        if case .echo = asked { return }
        forgetQuestion()
    }

    /// Redis has another epoch. A live room goes on, and its position belongs to the new epoch. Any other
    /// one would pair the new epoch with a position that was proven under the old one: it loses it.
    mutating func epochChanged() {
        switch state {
        case .live: return
        case .starting:
            tail = nil
            forgetQuestion()
        case .unsubscribed, .proving: if position != nil { losePosition() }
        }
    }

    // MARK: Messages

    /// A message from the room's channel.
    ///
    /// - Complexity: O(1).
    mutating func accept(_ entry: HistoryEntry<Frame>) -> Acceptance {
        switch state {
        case .live:
            let acceptance = judge(entry, wasHeld: false)
            switch acceptance {
            case .deliver: take(entry)
            case .hold:
                state = .proving
                isLong = false
                hold(entry)
            case .drop: break
            }
            return acceptance
        case .proving:
            hold(entry)
            return .hold
        case .starting:
            if let newest = ring.entries.last {
                // On its way through another master of a cluster until the slot was moved.
                let isLate = entry.id < newest.id && entry.id.number < newest.id.number
                if isLate, entry.id.number > 1 { return .deliver }
                if isLate || entry.id.number != newest.id.number + 1 || entry.id < newest.id {
                    ring.removeAll()
                }
            }
            ring.append(entry, behind: nil)
            last = .known(entry.frame)
            return .deliver
        case .unsubscribed: return .drop
        }
    }

    /// Lets go of what is held, because there is too much: everything is read from Redis instead, by a
    /// question that comes after it.
    mutating func dropHeld() {
        held = []
        heldBytes = 0
        // The tail is older than what is dropped.
        if isLost { position = nil }
        forgetQuestion()
    }

    mutating func evictOldest() { ring.evictOldest() }

    /// - Parameter wasHeld: whether the message was there before the last proof was asked for, which has
    ///   seen its entry.
    private func judge(_ entry: HistoryEntry<Frame>, wasHeld: Bool) -> Acceptance {
        guard let position else { return .hold }
        // A read has brought it; or it is newer than all that Redis has, and so was taken out, or was never
        // kept, even if it follows.
        if wasHeld { return .drop }
        let id = entry.id
        // A stream that begins anew. In a cluster another one may have come and gone, and the bus has lost it.
        if isCluster, id.number == 1 || isInDoubt { return .hold }
        if id.number == position.number + 1, id.milliseconds >= position.milliseconds {
            return .deliver
        }
        // The stream has run out and begun anew.
        if id > position, id.number == 1 { return .deliver }
        // It does not follow: either something is missing, or Redis counts from 1 again.
        if id > position || id.number == 1 { return .hold }
        // A read has brought it. In a cluster it may also be of a replica whose clock is behind, and which
        // counts on from where its data ends.
        return !isCluster || isKnown(entry) ? .drop : .hold
    }

    private func isKnown(_ entry: HistoryEntry<Frame>) -> Bool {
        guard entry.id == position, case .known(let frame) = last else { return ring.contains(entry) }
        return frame == entry.frame
    }

    private mutating func hold(_ entry: HistoryEntry<Frame>) {
        if isCluster, let other = ring.entry(numbered: entry.id.number), !isKnown(entry) {
            anchor = anchor.map { min($0, other.id) } ?? other.id
        }
        held.append(entry)
        heldBytes += entry.memoryBytes
    }

    /// Moves the position to an entry that comes next.
    private mutating func take(_ entry: HistoryEntry<Frame>) {
        let beginsAnew = entry.id.number == 1 && position?.number != 0
        if beginsAnew { ring.removeAll() }
        ring.append(entry, behind: beginsAnew ? nil : position)
        position = entry.id
        last = .known(entry.frame)
    }

    // MARK: Questions and replies

    /// Everything behind the position is read: it may not come by itself.
    mutating func prove() {
        guard state == .live else { return }
        state = .proving
        isLong = false
    }

    /// A live room is compared with the end of its history.
    ///
    /// - Parameters:
    ///   - newest: the stream's last entry.
    ///   - time: Redis' clock before it was asked, Unix time in milliseconds.
    ///   - before: the position when it was asked.
    ///   - now: the node's clock when it was asked.
    ///   - movesUp: whether an old message that is still on its way must not count as one of a new stream.
    ///   - historyAge: in milliseconds.
    mutating func compared(
        with newest: HistoryEntry<Frame>?, time: Int64, before: NoticeId, now: MonotonicInstant,
        movesUp: Bool, historyAge: Int64
    ) {
        guard state == .live, let position else { return }
        if position != before {
            // The next notice has come late, and Redis has none any more.
            guard let newest else { return }
            // It has come meanwhile.
            if newest.id <= position {
                completeUntil = max(completeUntil, now)
                return
            }
        }
        // Where there is no stream, one may have come and gone.
        guard isAt(newest), newest != nil || outage(now) < historyAge else { return prove() }
        completeUntil = max(completeUntil, now)
        if movesUp, position.number == 0, time > position.milliseconds {
            self.position = NoticeId(milliseconds: time, number: 0)
        }
    }

    private func isAt(_ newest: HistoryEntry<Frame>?) -> Bool {
        guard let newest else { return position?.number == 0 }
        guard newest.id == position else { return false }
        if case .known(let frame) = last { return frame == newest.frame }
        return true
    }

    /// The need has been asked for.
    ///
    /// - Parameters:
    ///   - ticket: comes back with the reply; of an echo its number.
    ///   - count: of a range.
    ///   - now: not later than the question is sent.
    mutating func asked(_ need: Need, ticket: UInt64, count: Int = 0, now: MonotonicInstant) {
        switch need {
        case .tail: asked = .tail(ticket: ticket)
        case .range: asked = .range(ticket: ticket, count: count)
        case .state:
            // The verdict is on the range: its time counts.
            asked = .state(ticket: ticket)
            return
        case .echo:
            asked = .echo(number: ticket)
            return
        }
        askedAt = now
        heldCountWhenAsked = held.count
    }

    /// Redis' refusal: the question is asked again some time.
    mutating func refused(ticket: UInt64) {
        switch asked {
        case .tail(ticket), .range(ticket, _), .state(ticket): forgetQuestion()
        default: break
        }
    }

    /// - Parameters:
    ///   - time: Redis' clock before it was asked for the tail, Unix time in milliseconds.
    ///   - newest: the stream's last entry.
    mutating func tailAnswered(
        ticket: UInt64, time: Int64, newest: HistoryEntry<Frame>?
    ) -> Outcome? {
        guard asked == .tail(ticket: ticket) else { return nil }
        asked = .nothing
        let id = newest?.id ?? NoticeId(milliseconds: time, number: 0)
        let frame = newest.map { LastFrame.known($0.frame) } ?? .unknown
        if state == .starting {
            tail = (id, frame)
            return Outcome()
        }
        ring.removeAll()
        position = id
        last = frame
        return Outcome()
    }

    /// The members are told of the loss: from here on the room is live again.
    mutating func tellLoss() -> Outcome? {
        guard canTellLoss else { return nil }
        isLost = false
        var outcome = Outcome(lostTo: position)
        settle(&outcome)
        return outcome
    }

    /// Everything published before the echo was asked for has come.
    ///
    /// What has come since the subscription is the room's position. Before the echo it could not be: a
    /// message that the tail has, too, may still have been on its way, and would have been dropped as one
    /// that is not new.
    mutating func echoAnswered(number: UInt64) {
        guard asked == .echo(number: number), state == .starting, let tail else { return }
        asked = .nothing
        self.tail = nil
        if let newest = ring.entries.last, newest.id >= tail.id {
            position = newest.id
        } else {
            // Or the bus of a cluster has lost what came between.
            ring.removeAll()
            position = tail.id
            last = tail.last
        }
        state = .live
        completeUntil = max(completeUntil, askedAt)
    }

    /// - Parameter historyAge: in milliseconds.
    mutating func rangeAnswered(
        ticket: UInt64, entries: [HistoryEntry<Frame>], now: MonotonicInstant, historyAge: Int64
    ) -> Outcome? {
        guard case .range(ticket, let count) = asked, let position else { return nil }
        asked = .nothing
        if let anchor {
            self.anchor = nil
            // Where everything is newer than what was handed on, the stream has begun anew, and numbers come again.
            guard let first = entries.first, first.id <= position else { return Outcome() }
            if first.id == anchor, isKnown(first) { return Outcome() }
            losePosition()
            return Outcome(lossFound: .rollback)
        }
        let proof = HistoryProof(position: position, entries: entries)
        return decide(
            proof, state: nil, isWhole: entries.count < count, now: now, historyAge: historyAge)
    }

    /// - Parameter historyAge: in milliseconds.
    mutating func stateAnswered(
        ticket: UInt64, state: StreamState, now: MonotonicInstant, historyAge: Int64
    ) -> Outcome? {
        guard asked == .state(ticket: ticket), let (proof, isWhole) = undecided else { return nil }
        forgetQuestion()
        return decide(proof, state: state, isWhole: isWhole, now: now, historyAge: historyAge)
    }

    private mutating func decide(
        _ proof: HistoryProof<Frame>, state: StreamState?, isWhole: Bool, now: MonotonicInstant,
        historyAge: Int64
    ) -> Outcome {
        var outcome = Outcome()
        switch proof.verdict(last: last, state: state, outage: outage(now), historyAge: historyAge) {
        case .undecided:
            undecided = (proof, isWhole)
        case .lost(let cause):
            losePosition()
            outcome.lossFound = cause
        case .proven:
            if proof.missed.isEmpty, !proof.isPresent, let state, state.first == nil {
                // Still none, or none any more.
                ring.removeAll()
                position = NoticeId(milliseconds: state.time, number: 0)
                last = .unknown
            }
            for entry in proof.missed { take(entry) }
            outcome.deliveries.append(contentsOf: proof.missed)
            // The next read proves what this one has brought.
            isLong = !isWhole
            if isWhole { settle(&outcome) }
        }
        return outcome
    }

    /// How long it is that the room was known to be complete.
    private func outage(_ now: MonotonicInstant) -> Int64 {
        completeUntil.nanoseconds == .min ? Int64.max : (now - completeUntil).wholeMilliseconds
    }

    /// The position is proven: what was held follows, as far as it does.
    private mutating func settle(_ outcome: inout Outcome) {
        state = .live
        isLong = false
        let waiting = held
        held = []
        heldBytes = 0
        if isCluster { doubt(waiting.prefix(heldCountWhenAsked)) }
        for (index, entry) in waiting.enumerated() {
            if state == .proving {
                hold(entry)
                continue
            }
            switch judge(entry, wasHeld: index < heldCountWhenAsked) {
            case .deliver:
                take(entry)
                outcome.deliveries.append(entry)
            case .hold:
                state = .proving
                hold(entry)
            case .drop: break
            }
        }
        if state == .live { completeUntil = max(completeUntil, askedAt) }
    }

    /// - Parameter waiting: what had come when the question was asked that is answered now.
    private mutating func doubt(_ waiting: ArraySlice<HistoryEntry<Frame>>) {
        let known = waiting.count { isKnown($0) }
        if known < waiting.count { isInDoubt = true } else if known > 0 { isInDoubt = false }
    }

    private mutating func losePosition() {
        position = nil
        anchor = nil
        last = .unknown
        isLost = true
        ring.removeAll()
        isLong = false
        forgetQuestion()
    }

    private mutating func forgetQuestion() {
        asked = .nothing
        undecided = nil
    }
}
