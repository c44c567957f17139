// Waiting for another thread. Any thread.

import Foundation

/// Opens once and for all; who waits does so without polling, and not for ever.
package final class Gate: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)

    package init() {}

    package func open() { semaphore.signal() }

    /// - Throws: `NeverHappened` when the gate stays shut far beyond any healthy wait.
    package func wait(for what: String) throws {
        guard semaphore.wait(timeout: .now() + 240) == .success else {
            throw NeverHappened(description: "never: \(what)")
        }
        semaphore.signal()
    }
}

/// Asks again and again, until a deadline far beyond any healthy wait.
package func eventually(_ what: String, _ condition: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(240)
    while try !condition() {
        guard ContinuousClock.now < deadline else { throw NeverHappened(description: "never: \(what)") }
        usleep(2_000)
    }
}
