// A socket on a loop. Loop-confined.

/// Base class of what lives on a non-blocking socket: calls `socketIsReadable` whenever there is something
/// to read (or the connection has ended), and `socketIsWritable` while it is asked for.
///
/// A subclass instead of a closure or delegate: no further allocation for a connection, one virtual call for
/// an event.
open class SocketWatcher {
    // In this order small members fill a word with those of subclasses: a node holds watchers by the ten
    // thousand.
    package final let loop: EventLoop
    package let socket: Socket
    private var interest = SocketInterest.read
    package private(set) final var isWatching = true

    /// Starts to watch `socket`, which stays the subclass's to close after `stopWatching()`.
    public init(socket: Socket, loop: EventLoop) {
        loop.assertOnThread()
        self.socket = socket
        self.loop = loop
        loop.sockets.change(self, from: [], to: interest)
    }

    /// Takes over the socket of another watcher, which stops watching.
    public init(takingOver other: SocketWatcher) {
        other.loop.assertOnThread()
        precondition(other.isWatching, "only a watched socket can be taken over")
        socket = other.socket
        loop = other.loop
        if other.interest.isEmpty {
            loop.sockets.change(self, from: [], to: interest)
        } else {
            loop.sockets.transfer(from: other, to: self, interest)
        }
        other.interest = []
        other.isWatching = false
    }

    /// There is something to read, or the end of the connection to be found by reading.
    open func socketIsReadable() {}

    /// The socket takes bytes again. Called again and again until `watchWritability(false)`.
    open func socketIsWritable() {}

    /// The turn in which `callAtTurnEnd` was called is over: what it gathered can be written at once.
    open func turnEnds() {}

    package final func callAtTurnEnd() { loop.atTurnEnd(self) }

    /// Stops (or resumes) reading, so that a peer that sends faster than it is served waits in the kernel.
    package final func watchReadability(_ isWatched: Bool) { watch(.read, isWatched) }

    package final func watchWritability(_ isWatched: Bool) { watch(.write, isWatched) }

    /// Forgets the socket: no callback comes after this. Call before closing the descriptor.
    package final func stopWatching() {
        loop.assertOnThread()
        guard isWatching else { return }
        isWatching = false
        loop.sockets.change(self, from: interest, to: [])
        interest = []
    }

    private func watch(_ part: SocketInterest, _ isWatched: Bool) {
        loop.assertOnThread()
        guard isWatching, interest.contains(part) != isWatched else { return }
        let changed = isWatched ? interest.union(part) : interest.subtracting(part)
        loop.sockets.change(self, from: interest, to: changed)
        interest = changed
    }

    /// Called by the set. An error or the end of both directions is found by reading, whether reading is
    /// watched or not: a socket without any interest is not in the set.
    final func socketIsReady(_ ready: SocketInterest) {
        if !ready.isDisjoint(with: [.read, .ended]) { socketIsReadable() }
        if ready.contains(.write), interest.contains(.write) { socketIsWritable() }
    }
}
