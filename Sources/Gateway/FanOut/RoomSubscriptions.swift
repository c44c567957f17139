// Which rooms the node subscribes, and for which of its workers. Pure; lives on the subscriber's loop.

import EventLoop
import RedisSchema

/// Counts the workers that want each room and says when to subscribe and when to leave.
///
///     (none) ──join──▶ subscribing ──confirmed──▶ subscribed ──last worker left, grace over──▶ unsubscribing
///                          ▲                                                                        │
///                          └───────────── confirmed left, but wanted again ◀────────────────────────┘
///     subscribing ──refused by Redis──▶ refused ──confirmed after all──▶ subscribed
///
/// A room that loses its last client is kept for a grace time: clients that reconnect, or move from page to
/// page, would otherwise cost two commands each time.
struct RoomSubscriptions {
    /// A set of workers; a node has at most 64.
    typealias Workers = UInt64
    /// Calls `body` for each worker of a set.
    static func forEach(_ workers: Workers, _ body: (Int) -> Void) {
        var remaining = workers
        while remaining != 0 {
            body(remaining.trailingZeroBitCount)
            remaining &= remaining - 1
        }
    }

    private enum State { case subscribing, subscribed, unsubscribing, refused }

    private struct Entry {
        var workers: Workers
        /// When the last worker left; nil while one wants the room.
        var idleSince: MonotonicInstant?
        var state: State
    }

    /// What the caller has to do about a worker that joins.
    enum JoinAction: Equatable {
        /// Subscribe the room; all workers that wait hear of its confirmation.
        case subscribe
        /// It is subscribed: tell the worker at once.
        case confirm
        /// A confirmation is on its way.
        case wait
        /// Redis refuses it: tell the worker at once.
        case refuse
    }

    private var rooms: [RoomId: Entry] = [:]
    /// Rooms that no worker wants, in the order in which they were left; some may be wanted again.
    private var idle: [(room: RoomId, since: MonotonicInstant)] = []
    private let grace: Duration

    init(grace: Duration) {
        self.grace = grace
    }

    var count: Int { rooms.count }

    /// How many rooms wait for Redis' confirmation.
    ///
    /// - Complexity: O(rooms).
    var unconfirmedCount: Int { rooms.values.count { $0.state == .subscribing } }

    /// The workers that have clients in a room: none if it is not subscribed.
    /// - Complexity: one look-up.
    func workers(of room: RoomId) -> Workers {
        rooms[room]?.workers ?? 0
    }

    /// Whether Redis has confirmed a room.
    func isSubscribed(_ room: RoomId) -> Bool { rooms[room]?.state == .subscribed }

    mutating func join(_ room: RoomId, worker: Int) -> JoinAction {
        guard var entry = rooms[room] else {
            rooms[room] = Entry(workers: 1 << worker, state: .subscribing)
            return .subscribe
        }
        entry.workers |= 1 << worker
        entry.idleSince = nil
        rooms[room] = entry
        switch entry.state {
        case .subscribed: return .confirm
        case .subscribing, .unsubscribing: return .wait
        case .refused: return .refuse
        }
    }

    mutating func leave(_ room: RoomId, worker: Int, now: MonotonicInstant) {
        guard var entry = rooms[room] else { return }
        entry.workers &= ~(1 << worker)
        if entry.workers == 0, entry.idleSince == nil {
            entry.idleSince = now
            idle.append((room, now))
        }
        rooms[room] = entry
    }

    /// Redis has confirmed a room: the workers to tell.
    mutating func confirmed(_ room: RoomId) -> Workers {
        guard var entry = rooms[room] else { return 0 }
        switch entry.state {
        case .subscribing, .refused: break
        case .subscribed, .unsubscribing: return 0
        }
        entry.state = .subscribed
        rooms[room] = entry
        return entry.workers
    }

    /// Redis has refused a room: the workers to tell.
    mutating func refused(_ room: RoomId) -> Workers {
        guard var entry = rooms[room], entry.state == .subscribing else { return 0 }
        entry.state = .refused
        rooms[room] = entry
        return entry.workers
    }

    /// Redis has confirmed that a room is left: whether it must be subscribed again, because a worker wants
    /// it meanwhile.
    mutating func left(_ room: RoomId) -> Bool {
        guard var entry = rooms[room], entry.state == .unsubscribing else { return false }
        guard entry.workers != 0 else {
            rooms[room] = nil
            return false
        }
        entry.state = .subscribing
        rooms[room] = entry
        return true
    }

    /// The rooms whose grace is over: to be unsubscribed now.
    mutating func takeExpired(now: MonotonicInstant) -> [RoomId] {
        var expired: [RoomId] = []
        var seen = 0
        // What is appended below is for a later look, even without any grace.
        let end = idle.count
        while seen < end, now - idle[seen].since >= grace {
            let (room, since) = idle[seen]
            seen += 1
            // Joined again, or left again later: another entry of the list speaks for it.
            guard var entry = rooms[room], entry.idleSince == since else { continue }
            switch entry.state {
            case .subscribed:
                entry.state = .unsubscribing
                rooms[room] = entry
                expired.append(room)
            case .refused:
                // There is nothing that Redis would confirm.
                rooms[room] = nil
                expired.append(room)
            case .subscribing, .unsubscribing:
                // Not confirmed yet: look again after another grace.
                entry.idleSince = now
                rooms[room] = entry
                idle.append((room, now))
            }
        }
        idle.removeFirst(seen)
        return expired
    }

    /// The connection is gone, and every subscription with it. Rooms that no worker wants are forgotten;
    /// those that are refused stay so.
    ///
    /// - Returns: `forgotten`, which the caller must not subscribe again, and `rejoined`, which were about
    ///   to be left and are wanted after all.
    mutating func linkLost() -> (forgotten: [RoomId], rejoined: [RoomId]) {
        var forgotten: [RoomId] = []
        var rejoined: [RoomId] = []
        for (room, entry) in rooms {
            if entry.workers == 0 {
                if entry.state != .unsubscribing { forgotten.append(room) }
                rooms[room] = nil
            } else if entry.state != .refused {
                if entry.state == .unsubscribing { rejoined.append(room) }
                rooms[room]!.state = .subscribing
            }
        }
        idle = []
        return (forgotten, rejoined)
    }
}
