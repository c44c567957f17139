// One libevent base and the thread that turns it. Everything created on a loop belongs to that loop's
// thread; only `Mailbox` crosses threads, which debug builds check.

import CLibevent
import Glibc

/// A loop over sockets, timers and mailboxes.
///
/// A *turn* is: wait until something is ready; run the timers and signals that are due; hand over what waits
/// in the mailboxes; call the watchers of a batch of ready sockets; then `onTurnEnd`. Each step happens once
/// in a turn and has a bound, whatever comes during it. Work that came in many small pieces during the turn
/// is finished at its end.
public final class EventLoop {
    let base: OpaquePointer
    let sockets: SocketSet
    private var isStopping = false
    let wakeup: LoopWakeup
    private var wakeupEvent: OpaquePointer?
    private var socketsEvent: OpaquePointer?
    private var mailboxes: [MailboxEnd] = []
    private var finishing: ContiguousArray<SocketWatcher> = []
    /// The thread that made the loop, until another one runs it.
    private var thread = pthread_self()
    // What libevent has found ready, for the steps of the turn: a callback of its own that did the work at
    // once could make the next thing ready, and libevent would do that before it lets the turn end.
    private var areMailboxesReady = false
    private var areSocketsReady = false
    /// Whether the last turn has left work to the next one.
    private var hasWorkLeft = false

    /// Runs at the end of each turn; returns whether work is left, in which case the next turn does not
    /// wait.
    package var onTurnEnd: (() -> Bool)?

    /// Libevent's locking must be switched on before the first base exists.
    private static let threadsEnabled: Bool = evthread_use_pthreads() == 0

    /// - Throws: when libevent cannot create a base (no epoll descriptor left).
    package init() throws(SystemError) {
        precondition(EventLoop.threadsEnabled, "libevent was built without pthread support")
        guard let base = event_base_new() else { throw SystemError(errno, "event_base_new") }
        self.base = base
        do throws(SystemError) {
            sockets = try SocketSet()
        } catch {
            event_base_free(base)
            throw error
        }
        do throws(SystemError) {
            wakeup = try LoopWakeup()
        } catch {
            event_base_free(base)
            throw error
        }
        watchWakeup()
        watchSockets()
    }

    deinit {
        event_free(wakeupEvent)
        event_free(socketsEvent)
        event_base_free(base)
    }

    /// Whether the calling thread is the one that runs the loop, or made it if the loop has not run yet.
    @usableFromInline package var isOnThread: Bool { pthread_equal(thread, pthread_self()) != 0 }

    /// Ends a debug build that calls something confined to this loop on another thread. In release it costs
    /// nothing: not even the condition is looked at.
    @inlinable package func assertOnThread(file: StaticString = #fileID, line: UInt = #line) {
        assert(isOnThread, "what is confined to a loop is called on its thread", file: file, line: line)
    }

    /// Turns until `stop()` is called on this thread; once in the loop's life, as its mailboxes are closed
    /// then.
    package func run() {
        run { !isStopping }
        finishTurn()
        onTurnEnd = nil
        mailboxes.removeAll()
    }

    /// Turns as long as something is so: for a program that does one thing after another, and waits in
    /// between. What it has given to be written since the last time leaves first.
    ///
    /// - Parameter duration: how long at most; nil is without end.
    package func run(atMost duration: Duration? = nil, while isGoingOn: () -> Bool) {
        thread = pthread_self()
        var isOver = false
        let timer = duration.map { _ in Timer(on: self) { isOver = true } }
        if let duration { timer?.start(after: duration) }
        finishTurn()
        while !isOver, isGoingOn() {
            hasWorkLeft = turn(isWaiting: !hasWorkLeft)
            finishTurn()
        }
    }

    /// One turn but for its last writes; returns whether work is left.
    private func turn(isWaiting: Bool) -> Bool {
        // EVLOOP_NONBLOCK alone would poll again and again until nothing is ready.
        let flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | (isWaiting ? 0 : EVLOOP_NONBLOCK)
        event_base_loop(base, flags)
        var hasWorkLeft = false
        if areMailboxesReady, !isStopping { hasWorkLeft = drainMailboxes() }
        if areSocketsReady, !isStopping {
            areSocketsReady = false
            sockets.dispatch()
        }
        if onTurnEnd?() ?? false { hasWorkLeft = true }
        return hasWorkLeft
    }

    /// Ends `run()` after the present turn.
    package func stop() {
        assertOnThread()
        isStopping = true
        event_base_loopbreak(base)
    }

    /// Calls `turnEnds` of a watcher once, behind `onTurnEnd`.
    func atTurnEnd(_ watcher: SocketWatcher) {
        assertOnThread()
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

    /// Mailboxes that are open on this loop.
    package var mailboxCount: Int { mailboxes.count }

    func add(_ mailbox: MailboxEnd) {
        assertOnThread()
        mailboxes.append(mailbox)
    }

    func remove(_ isMeant: (MailboxEnd) -> Bool) {
        assertOnThread()
        mailboxes.removeAll(where: isMeant)
    }

    /// Edge-triggered: each wake-up is reported once, and its counter need never be read.
    private func watchWakeup() {
        wakeupEvent = watch(wakeup.descriptor, Int16(EV_READ | EV_PERSIST | EV_ET)) { _, _, context in
            Unmanaged<EventLoop>.fromOpaque(context!).takeUnretainedValue().areMailboxesReady = true
        }
    }

    /// Level-triggered: sockets that one turn leaves out make the next one begin at once.
    private func watchSockets() {
        socketsEvent = watch(sockets.descriptor, Int16(EV_READ | EV_PERSIST)) { _, _, context in
            Unmanaged<EventLoop>.fromOpaque(context!).takeUnretainedValue().areSocketsReady = true
        }
    }

    private func watch(_ descriptor: Int32, _ flags: Int16, _ callback: @escaping event_callback_fn)
        -> OpaquePointer
    {
        // Unretained: the event is freed in deinit.
        let context = Unmanaged.passUnretained(self).toOpaque()
        guard let event = event_new(base, descriptor, flags, callback, context) else {
            preconditionFailure("event_new: out of memory")
        }
        event_add(event, nil)
        return event
    }

    /// Each mailbox hands over a batch; returns whether one has more.
    private func drainMailboxes() -> Bool {
        areMailboxesReady = false
        for mailbox in mailboxes where mailbox.drain() { areMailboxesReady = true }
        return areMailboxesReady
    }
}
