// Lets one thread wake another thread's loop.

import CLibevent
import Glibc

/// An eventfd that a loop watches. A thread that wakes the loop holds this object, so that the descriptor is
/// still open and its own.
///
/// libevent's own way, `event_active`, wakes the loop while it holds the lock for which the loop then
/// reaches: with one message at a time the two threads met there for every third of them.
final class LoopWakeup: Sendable {
    let descriptor: Int32

    /// - Throws: when no descriptor is left.
    init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(errno, "eventfd") }
    }

    deinit {
        close(descriptor)
    }

    /// Makes the loop turn, once for all calls before it does. Any thread.
    func wake() {
        // It can only fail when 2^64 - 2 wake-ups have not been seen: the loop is about to turn then.
        _ = eventfd_write(descriptor, 1)
    }
}
