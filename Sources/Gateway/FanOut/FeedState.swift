// What a feed knows of its rooms and of its gap, and what follows from what it hears. Pure: the connection,
// the mailboxes and the clock are the feed's.

import EventLoop
import RedisSchema

/// Which rooms are subscribed and since when messages are missing. Each method says what the feed has to do,
/// in the order in which it has to do it.
struct FeedState {
    enum Action {
        case subscribe(RoomId)
        case unsubscribe(RoomId)
        case tell(worker: Int, WorkerNews)
        case tellAll(WorkerNews)
        case deliver(Message, to: RoomSubscriptions.Workers)
        /// Count and log a time whose messages Redis did not deliver.
        case gapEnded(milliseconds: Int64)
        /// Count and log a time whose messages the feed has dropped, because too many waited.
        case messagesLost(milliseconds: Int64, roomCount: Int)
    }

    /// What becomes of a message.
    enum Reception { case deliver, hold, drop }

    private var rooms: RoomSubscriptions
    private var gap: Gap
    private let tellsGaps: Bool
    /// How many leaves of each worker have been handled: goes along with news of its rooms.
    private var leaveCounts: [UInt64]
    /// How often the connection was lost; wraps.
    private(set) var lossCount: UInt32 = 0
    /// Whether every room is subscribed.
    private(set) var isComplete = false
    /// Whether the present connection may have confirmed rooms.
    private(set) var isLinkUp = false

    init(workerCount: Int, grace: Duration, tellsGaps: Bool) {
        rooms = RoomSubscriptions(grace: grace)
        gap = Gap(isTold: tellsGaps)
        self.tellsGaps = tellsGaps
        leaveCounts = Array(repeating: 0, count: workerCount)
    }

    var roomCount: Int { rooms.count }

    // MARK: The road

    /// The workers that have members in a room.
    func workers(of room: RoomId) -> RoomSubscriptions.Workers { rooms.workers(of: room) }

    /// Whether Redis has confirmed a room on the present connection.
    func isSubscribed(_ room: RoomId) -> Bool { rooms.isSubscribed(room) }

    /// A message has come; if it is held, the gap's end delivers it.
    mutating func received(_ message: Message, for workers: RoomSubscriptions.Workers) -> Reception {
        guard gap.holdsMessages else { return .deliver }
        return gap.hold(message, for: workers) ? .hold : .drop
    }

    // MARK: Rooms

    /// A worker has its first member in a room.
    mutating func joined(_ room: RoomId, worker: Int) -> [Action] {
        switch rooms.join(room, worker: worker) {
        case .subscribe: [.subscribe(room)]
        case .confirm: subscribed(room, 1 << worker)
        case .wait: []
        case .refuse: refused(room, 1 << worker)
        }
    }

    /// A worker's last member has left a room.
    mutating func left(_ room: RoomId, worker: Int, now: MonotonicInstant) {
        leaveCounts[worker] += 1
        rooms.leave(room, worker: worker, now: now)
    }

    /// Redis has confirmed a subscription.
    mutating func confirmed(_ room: RoomId) -> [Action] {
        // A line of its own: as an argument it would change `rooms` while `self` is held for the call, and so
        // copy all of them, for each room.
        let workers = rooms.confirmed(room)
        return subscribed(room, workers)
    }

    /// Redis has confirmed the end of a subscription.
    mutating func unsubscribed(_ room: RoomId) -> [Action] { rooms.left(room) ? [.subscribe(room)] : [] }

    /// Redis' access rules refuse a room. Nothing is to be done if no worker waits for it.
    mutating func refused(_ room: RoomId) -> [Action] {
        let workers = rooms.refused(room)
        return refused(room, workers)
    }

    /// Leaves the rooms that have had no members for the grace time.
    mutating func sweep(now: MonotonicInstant) -> [Action] {
        rooms.takeExpired(now: now).map { .unsubscribe($0) }
    }

    private func subscribed(_ room: RoomId, _ workers: RoomSubscriptions.Workers) -> [Action] {
        news(to: workers) { .subscribed(room: room, leaveCount: $0) }
    }

    private func refused(_ room: RoomId, _ workers: RoomSubscriptions.Workers) -> [Action] {
        news(to: workers) { .refused(room: room, leaveCount: $0) }
    }

    /// - Parameter news: is given how many leaves of the worker have been handled.
    private func news(to workers: RoomSubscriptions.Workers, _ news: (UInt64) -> WorkerNews) -> [Action] {
        var actions: [Action] = []
        RoomSubscriptions.forEach(workers) { actions.append(.tell(worker: $0, news(leaveCounts[$0]))) }
        return actions
    }

    // MARK: The link

    mutating func linkIsUp() { isLinkUp = true }

    /// The connection, or an attempt at one, is lost. A failed attempt loses nothing; a connection does, even
    /// one that is lost before every room was back.
    ///
    /// - Parameter completeUntil: until when nothing is missing.
    mutating func linkLost(completeUntil: MonotonicInstant) -> [Action] {
        guard isLinkUp else { return [] }
        isLinkUp = false
        isComplete = false
        lossCount &+= 1
        gap.begin(completeUntil: completeUntil)
        let (forgotten, rejoined) = rooms.linkLost()
        return forgotten.map { .unsubscribe($0) } + rejoined.map { .subscribe($0) }
            + [.tellAll(.subscriptionsLost(count: lossCount))]
    }

    /// Every room is subscribed (again): a gap, if there was one, is over. What was held back goes behind the
    /// news of the gap, and what is lost behind it is a gap of its own.
    mutating func allSubscribed(now: MonotonicInstant) -> [Action] {
        isComplete = true
        guard let ended = gap.end(now: now) else { return [.tellAll(.subscriptionsRestored)] }
        let milliseconds = ended.duration.gapMilliseconds
        var actions: [Action] = [.gapEnded(milliseconds: milliseconds)]
        if tellsGaps { actions.append(.tellAll(.gapEnded(milliseconds: milliseconds))) }
        for (message, workers) in ended.held { actions.append(.deliver(message, to: workers)) }
        if !ended.dropped.isEmpty {
            let (rooms, milliseconds) = (
                ended.dropped.rooms, ended.dropped.duration(now: now).gapMilliseconds
            )
            actions.append(.messagesLost(milliseconds: milliseconds, roomCount: rooms.count))
            if tellsGaps {
                actions.append(.tellAll(.messagesLost(rooms: rooms, milliseconds: milliseconds)))
            }
        }
        return actions + [.tellAll(.subscriptionsRestored)]
    }
}
