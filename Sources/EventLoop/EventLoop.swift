// One libevent base and the thread that turns it. Everything created on a loop belongs to that loop's thread;
// only `Mailbox` crosses threads.

import CLibevent
import Glibc

/// A loop over sockets, timers and mailboxes.
///
/// A *turn* is: wait until something is ready, run the callbacks of what is ready (mailboxes and timers before
/// sockets), then `onTurnEnd`. Work that came in many small pieces during the turn is finished there at once.
public final class EventLoop {
    static let urgentPriority: Int32 = 0
    static let socketPriority: Int32 = 1

    let base: OpaquePointer
    let sockets: SocketSet
    private var isStopping = false
    let wakeup: LoopWakeup
    private var wakeupEvent: OpaquePointer?
    private var mailboxes: [MailboxEnd] = []
    private var finishing: ContiguousArray<SocketWatcher> = []

    /// Runs at the end of each turn; returns whether work is left, in which case the next turn does not wait.
    package var onTurnEnd: (() -> Bool)?

    /// Libevent's locking must be switched on before the first base exists.
    private static let threadsEnabled: Bool = evthread_use_pthreads() == 0

    /// - Throws: when libevent cannot create a base (no epoll descriptor left).
    package init() throws(SystemError) {
        precondition(EventLoop.threadsEnabled, "libevent was built without pthread support")
        guard let base = event_base_new() else { throw SystemError(errno, "event_base_new") }
        self.base = base
        event_base_priority_init(base, 2)
        do throws(SystemError) {
            sockets = try SocketSet(base: base, priority: EventLoop.socketPriority)
        } catch {
            event_base_free(base)
            throw error
        }
        do throws(SystemError) {
            wakeup = try LoopWakeup()
        } catch {
            sockets.close()
            event_base_free(base)
            throw error
        }
        watchWakeup()
    }

    deinit {
        event_free(wakeupEvent)
        sockets.close()
        event_base_free(base)
    }

    /// Turns until `stop()` is called on this thread; once in the loop's life, as its mailboxes are closed then.
    package func run() {
        var hasWorkLeft = false
        while !isStopping {
            let wait = hasWorkLeft ? EVLOOP_NONBLOCK : EVLOOP_ONCE
            event_base_loop(base, wait | EVLOOP_NO_EXIT_ON_EMPTY)
            hasWorkLeft = onTurnEnd?() ?? false
            finishTurn()
        }
        finishTurn()
        onTurnEnd = nil
        mailboxes.removeAll()
    }

    /// Ends `run()` after the present turn.
    package func stop() {
        isStopping = true
        event_base_loopbreak(base)
    }

    /// Calls `turnEnds` of a watcher once, behind `onTurnEnd`.
    func atTurnEnd(_ watcher: SocketWatcher) {
        finishing.append(watcher)
    }

    private func finishTurn() {
        guard !finishing.isEmpty else { return }
        // What a watcher does may ask for the end of the next turn.
        var watchers: ContiguousArray<SocketWatcher> = []
        swap(&watchers, &finishing)
        for watcher in watchers { watcher.turnEnds() }
        watchers.removeAll(keepingCapacity: true)
        if finishing.isEmpty { swap(&watchers, &finishing) }
    }

    func add(_ mailbox: MailboxEnd) {
        mailboxes.append(mailbox)
    }

    /// Edge-triggered: each wake-up is reported once, and its counter need never be read.
    private func watchWakeup() {
        // Unretained: the event is freed in deinit.
        let context = Unmanaged.passUnretained(self).toOpaque()
        wakeupEvent = event_new(
            base, wakeup.descriptor, Int16(EV_READ | EV_PERSIST | EV_ET),
            { _, _, context in Unmanaged<EventLoop>.fromOpaque(context!).takeUnretainedValue().drainMailboxes() },
            context)
        precondition(wakeupEvent != nil, "event_new: out of memory")
        event_priority_set(wakeupEvent, EventLoop.urgentPriority)
        event_add(wakeupEvent, nil)
    }

    private func drainMailboxes() {
        for mailbox in mailboxes { mailbox.drain() }
    }
}
