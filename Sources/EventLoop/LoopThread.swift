// A named thread that builds and runs one loop.

import CLibevent
import Glibc

/// A thread on which `body` runs with a loop of its own.
package struct LoopThread: Sendable {
    private let thread: pthread_t

    /// Starts a thread named `name` (15 bytes at most, the kernel's limit) that runs `body` with a new loop.
    ///
    /// - Throws: when no thread can be started.
    package init(
        name: String, body: @escaping @Sendable (EventLoop) -> Void
    ) throws(SystemError) {
        let start = Unmanaged.passRetained(ThreadStart(name: name, body: body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { context in
                // Balances the passRetained above.
                let start = Unmanaged<ThreadStart>.fromOpaque(context!).takeRetainedValue()
                start.run()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw SystemError(result, "pthread_create")
        }
        self.thread = thread
    }

    /// Waits until the thread has ended.
    package func join() {
        pthread_join(thread, nil)
    }
}

private final class ThreadStart: Sendable {
    let name: String
    let body: @Sendable (EventLoop) -> Void

    init(name: String, body: @escaping @Sendable (EventLoop) -> Void) {
        self.name = name
        self.body = body
    }

    func run() {
        pthread_setname_np(pthread_self(), name)
        do {
            body(try EventLoop())
        } catch {
            preconditionFailure("thread \(name): \(error)")
        }
    }
}
