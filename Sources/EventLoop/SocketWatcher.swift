// A socket on a loop. Loop-confined.

import CLibevent

/// Base class of what lives on a non-blocking socket: calls `socketIsReadable` whenever there is something to read
/// (or the connection has ended), and `socketIsWritable` while it is asked for.
///
/// The read event is persistent and always armed (an ended connection is only reported reliably to a reader); the
/// write event exists only while a backlog waits, so an idle socket costs one `struct event`. A subclass instead of a
/// closure or delegate: no further allocation for a connection, one virtual call for an event.
open class SocketWatcher: EventHandler {
    package let socket: Socket
    private var writeWatcher: WriteWatcher?
    private var isReadabilityWatched = true

    /// Starts to watch `socket`, which stays the subclass's to close after `stopWatching()`.
    public init(socket: Socket, loop: EventLoop) {
        self.socket = socket
        super.init(on: loop)
        makeEvent(
            descriptor: socket.descriptor, flags: EV_READ | EV_PERSIST,
            priority: EventLoop.socketPriority)
        addEvent()
    }

    /// There is something to read, or the end of the connection to be found by reading.
    open func socketIsReadable() {}

    /// The socket takes bytes again. Called again and again until `watchWritability(false)`.
    open func socketIsWritable() {}

    /// Stops (or resumes) reading, so that a peer that sends faster than it is served waits in the kernel.
    package final func watchReadability(_ isWatched: Bool) {
        guard let event, isWatched != isReadabilityWatched else { return }
        isReadabilityWatched = isWatched
        if isWatched { event_add(event, nil) } else { event_del(event) }
    }

    package final func watchWritability(_ isWatched: Bool) {
        if isWatched, writeWatcher == nil, event != nil {
            writeWatcher = WriteWatcher(owner: self)
        } else if !isWatched {
            dropWriteWatcher()
        }
    }

    /// Forgets the socket: no callback comes after this. Call before closing the descriptor.
    package final func stopWatching() {
        dropWriteWatcher()
        freeEvent()
    }

    /// Frees the event at once: in its own callback the watcher outlives this call, and perhaps the descriptor.
    private func dropWriteWatcher() {
        writeWatcher?.freeEvent()
        writeWatcher = nil
    }

    package final var isWatching: Bool { event != nil }

    public final override func handleEvent(_ flags: Int32) {
        loop.countSocketCallback()
        socketIsReadable()
    }

    private final class WriteWatcher: EventHandler {
        /// The owner holds this watcher, so it is there whenever the event fires.
        private unowned(unsafe) let owner: SocketWatcher

        init(owner: SocketWatcher) {
            self.owner = owner
            super.init(on: owner.loop)
            makeEvent(
                descriptor: owner.socket.descriptor, flags: EV_WRITE | EV_PERSIST,
                priority: EventLoop.socketPriority)
            addEvent()
        }

        override func handleEvent(_ flags: Int32) {
            loop.countSocketCallback()
            owner.socketIsWritable()
        }
    }
}
