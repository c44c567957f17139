// Work that blocks, away from every loop.

import Glibc

/// Runs blocking work on a thread that no one waits for. Its result goes through a `Mailbox`.
package enum DetachedThread {
    /// - Throws: when no thread can be started.
    package static func run(_ work: @escaping @Sendable () -> Void) throws(SystemError) {
        let box = Unmanaged.passRetained(Work(run: work))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { context in
                // Balances the passRetained above.
                Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            box.release()
            throw SystemError(result, "pthread_create")
        }
        pthread_detach(thread)
    }

    private final class Work: Sendable {
        let run: @Sendable () -> Void

        init(run: @escaping @Sendable () -> Void) {
            self.run = run
        }
    }
}
