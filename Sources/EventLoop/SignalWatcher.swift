// A POSIX signal as a loop event. Loop-confined; one loop a process may watch signals (libevent's rule).

import CLibevent

/// Calls back on the loop's thread for each arrival of a signal.
package final class SignalWatcher: EventHandler {
    private let onSignal: () -> Void

    package init(on loop: EventLoop, signal: Int32, onSignal: @escaping () -> Void) {
        self.onSignal = onSignal
        super.init(on: loop)
        makeEvent(descriptor: signal, flags: EV_SIGNAL | EV_PERSIST)
        addEvent()
    }

    override func handleEvent(_ flags: Int32) {
        onSignal()
    }
}
