// The one bridge from libevent's C callbacks to Swift: an object that owns a `struct event`. Loop-confined.

import CLibevent
import Glibc
import System

/// Owns one libevent event that calls `handleEvent(_:)`, and frees it when the object goes.
package class EventHandler {
    private(set) var event: OpaquePointer?
    /// Held, because an event must be freed before its base.
    private let loop: EventLoop

    init(on loop: EventLoop) {
        loop.assertOnThread()
        self.loop = loop
    }

    /// Creates and adds nothing yet: `addEvent` does. libevent holds an unretained pointer to this object,
    /// which is sound because `deinit` frees the event.
    final func makeEvent(descriptor: Int32, flags: Int32) {
        precondition(event == nil, "an event handler owns one event")
        let context = Unmanaged.passUnretained(self).toOpaque()
        event = event_new(loop.base, descriptor, Int16(flags), EventHandler.trampoline, context)
        precondition(event != nil, "event_new: out of memory")
    }

    final func addEvent(after delay: Duration? = nil) {
        loop.assertOnThread()
        guard let delay else {
            event_add(event, nil)
            return
        }
        let nanoseconds = max(0, delay.wholeNanoseconds)
        var interval = timeval(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_usec: Int(nanoseconds % 1_000_000_000 / 1_000))
        event_add(event, &interval)
    }

    final func removeEvent() {
        loop.assertOnThread()
        event_del(event)
    }

    deinit {
        if let event { event_free(event) }
    }

    /// What became ready, as libevent's EV_ flags. The object is kept alive during the call.
    func handleEvent(_ flags: Int32) {}

    private static let trampoline: event_callback_fn = { _, flags, context in
        Unmanaged<EventHandler>.fromOpaque(context!).takeUnretainedValue().handleEvent(Int32(flags))
    }
}
