// The places of one loop for its HTTP connections, and which one leaves when another needs a place.
// Loop-confined.

import EventLoop

/// A place for each HTTP connection. When all are taken, the connection that has waited longest for its peer
/// makes room.
///
///     silent ──first bytes──▶ unsettled ──request complete──▶ (the gateway's turn) ──answered──▶ resting
///                                 ▲  ▲──────────── answer or end not taken yet ◀──────┘            │
///                                 └──────────────────────────first bytes───────────────────────────┘
///
/// Browsers keep a connection for their next heartbeat, or make one ahead of their first request: these are
/// idle, and go when another connection needs their place. If all are busy, one goes whose peer has not
/// brought its request to an end, does not read, or was sent away: under pressure such a peer has a moment,
/// and no more. Lists are in the order in which their connections came to wait, so that every step is O(1).
final class HttpPlaces {
    /// What a connection waits for, and so where it is found when a place is needed.
    enum Waiting { case silent, resting, unsettled }

    let maximumCount: Int
    /// A connection that is silent or unsettled has so long before it may be closed for another one.
    private let grace: Duration
    /// Whether a connection whose request waits for the gateway is closed, too, if there is no other.
    private let givesUpRequests: Bool
    private(set) var count = 0
    private var silent = HttpConnectionList()
    private var resting = HttpConnectionList()
    private var unsettled = HttpConnectionList()
    private var answering = HttpConnectionList()
    /// Called when a place may be free again.
    var onRoom: (() -> Void)?

    /// - Parameters:
    ///   - maximumCount: at least 1.
    ///   - grace: time for a new connection to bring its request, when places are needed.
    init(maximumCount: Int, grace: Duration, givesUpRequests: Bool = false) {
        self.maximumCount = max(1, maximumCount)
        self.grace = grace
        self.givesUpRequests = givesUpRequests
    }

    /// Fewer than a quarter of the places are free: answers say that their connection ends.
    var isShort: Bool { (maximumCount - count) * 4 < maximumCount }

    /// Takes a place, for which another connection may have to go; false if all are taken.
    func take(now: MonotonicInstant = .now) -> Bool {
        guard count < maximumCount || makeRoom(now) else { return false }
        count += 1
        return true
    }

    /// How many connections can be taken in now, at least one of which waits to be: another one may have to
    /// go for it.
    func room(now: MonotonicInstant = .now) -> Int {
        if count >= maximumCount { makeRoom(now) }
        return maximumCount - count
    }

    /// Gives a place back.
    func release(_ connection: HttpConnection) {
        remove(connection)
        count -= 1
        onRoom?()
    }

    /// Files a connection by what it waits for; nil is the gateway's own answer.
    func file(_ connection: HttpConnection, _ waiting: Waiting?) {
        guard connection.place.waiting != waiting || !connection.place.isListed else { return }
        remove(connection)
        connection.place.waiting = waiting
        append(connection, .now)
        if waiting == .resting { onRoom?() }
    }

    private func append(_ connection: HttpConnection, _ now: MonotonicInstant) {
        connection.place.since = now
        switch connection.place.waiting {
        case .silent: silent.append(connection)
        case .resting: resting.append(connection)
        case .unsettled: unsettled.append(connection)
        case nil: if givesUpRequests { answering.append(connection) }
        }
    }

    private func remove(_ connection: HttpConnection) {
        guard connection.place.isListed else { return }
        switch connection.place.waiting {
        case .silent: silent.remove(connection)
        case .resting: resting.remove(connection)
        case .unsettled: unsettled.remove(connection)
        case nil: answering.remove(connection)
        }
    }

    /// Closes a connection that waits for its peer, for want of a place or of a descriptor; false if no
    /// connection can go.
    @discardableResult
    func makeRoom(_ now: MonotonicInstant = .now) -> Bool {
        for _ in 0..<Limits.placeAttemptCount {
            guard let connection = longestWaiting(now) else { return false }
            guard connection.hasRequestArrived else {
                connection.makeWay()
                return true
            }
            // It is not idle, only not served yet.
            remove(connection)
            connection.place.waiting = .unsettled
            append(connection, now)
        }
        return false
    }

    private func longestWaiting(_ now: MonotonicInstant) -> HttpConnection? {
        let isLate = { (connection: HttpConnection) in now - connection.place.since >= self.grace }
        let silent = silent.first.flatMap { isLate($0) ? $0 : nil }
        if let rested = resting.first {
            guard let silent, silent.place.since < rested.place.since else { return rested }
            return silent
        }
        return silent ?? unsettled.first.flatMap { isLate($0) ? $0 : nil } ?? answering.first
    }
}

/// A connection's place in one of the lists of its `HttpPlaces`, whose business it is.
struct HttpPlace {
    fileprivate unowned(unsafe) var previous: HttpConnection?
    fileprivate unowned(unsafe) var next: HttpConnection?
    fileprivate var isListed = false
    fileprivate(set) var waiting: HttpPlaces.Waiting?
    fileprivate(set) var since = MonotonicInstant(nanoseconds: 0)
}

/// Connections in the order in which they were appended, linked through themselves. It retains none: each is
/// removed before it goes.
private struct HttpConnectionList {
    unowned(unsafe) private(set) var first: HttpConnection?
    unowned(unsafe) private var last: HttpConnection?

    mutating func append(_ connection: HttpConnection) {
        connection.place.previous = last
        connection.place.next = nil
        connection.place.isListed = true
        if let last { last.place.next = connection } else { first = connection }
        last = connection
    }

    mutating func remove(_ connection: HttpConnection) {
        let (previous, next) = (connection.place.previous, connection.place.next)
        if let previous { previous.place.next = next } else { first = next }
        if let next { next.place.previous = previous } else { last = previous }
        connection.place.previous = nil
        connection.place.next = nil
        connection.place.isListed = false
    }
}
