// A connected socket with a deadline. Loop-confined.

import EventLoop

/// Base class of what clients connect to: an HTTP connection, a WebSocket. Its host keeps it alive until it
/// ends.
class Connection: SocketWatcher, DeadlineEntry {
    final var deadlineTick: UInt32 = 0
    final var deadlineIndex: Int32 = -1
    unowned(unsafe) let host: ConnectionHost

    /// The host outlives its connections.
    init(socket: Socket, host: ConnectionHost) {
        self.host = host
        super.init(socket: socket, loop: host.loop)
        host.adopt(self)
    }

    /// The deadline set with `setDeadline` has come.
    func deadlinePassed() {}

    /// Goes on with another connection's socket; the other one ends without closing it.
    init(takingOver other: Connection) {
        host = other.host
        super.init(takingOver: other)
        host.adopt(self)
        other.didEnd()
        host.forget(other)
    }

    /// The connection has let go of its socket; nothing comes after this.
    func didEnd() {}

    final func setDeadline(after delay: Duration) {
        host.setDeadline(self, after: delay)
    }

    /// Closes the socket.
    final func disconnect() {
        guard isWatching else { return }
        stopWatching()
        socket.close()
        didEnd()
        host.forget(self)
    }
}
