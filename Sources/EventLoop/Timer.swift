// A timer on a loop: once or again and again. Loop-confined.

import CLibevent

/// Calls back after a delay, on the loop's thread. Letting go of the timer cancels it.
package final class Timer: EventHandler {
    private let isRepeating: Bool
    private let onFire: () -> Void

    /// A timer that is not yet started.
    package init(on loop: EventLoop, repeating: Bool = false, onFire: @escaping () -> Void) {
        self.isRepeating = repeating
        self.onFire = onFire
        super.init(on: loop)
        let flags = repeating ? EV_PERSIST : 0
        makeEvent(descriptor: -1, flags: flags)
    }

    /// Starts the timer, or starts it anew: it fires `delay` from now (and every `delay`, if repeating).
    package func start(after delay: Duration) {
        addEvent(after: delay)
    }

    /// Stops the timer; it can be started again.
    package func cancel() {
        removeEvent()
    }

    override func handleEvent(_ flags: Int32) {
        onFire()
    }
}
