// The one place where threads meet: messages are posted from any thread and handled on one loop.

import CLibevent
import Glibc
import Synchronization

/// An unbounded queue into a loop, in the order of posting, with one wake-up for however many messages wait.
///
/// It exists before its loop does: what is posted before `open` is handled once it is open, and what is posted
/// after the loop is gone is dropped. Bounding what is posted is the poster's duty.
package final class Mailbox<Message: Sendable>: Sendable {
    private struct State {
        var messages: [Message] = []
        var wakeup: LoopWakeup?
        var isClosed = false
    }

    private let state = Mutex(State())

    package init() {}

    /// Posts one message. Any thread.
    package func post(_ message: Message) {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.messages.append(message)
            if state.messages.count == 1 { state.wakeup?.wake() }
        }
    }

    /// Posts a batch with one wake-up and empties it, keeping its capacity. Any thread.
    package func post(draining batch: inout [Message]) {
        guard !batch.isEmpty else { return }
        state.withLock { state in
            guard !state.isClosed else { return }
            let wasEmpty = state.messages.isEmpty
            if wasEmpty {
                swap(&state.messages, &batch)
            } else {
                state.messages.append(contentsOf: batch)
            }
            if wasEmpty { state.wakeup?.wake() }
        }
        batch.removeAll(keepingCapacity: true)
    }

    /// Binds the mailbox to a loop. Called once, on the loop's thread; the loop keeps `onMessages` alive, and
    /// calls it with everything that has come since it last ran.
    package func open(on loop: EventLoop, onMessages: @escaping ([Message]) -> Void) {
        let receiver = MailboxReceiver(mailbox: self, loop: loop, onMessages: onMessages)
        loop.keep(receiver)
        state.withLock { state in
            precondition(state.wakeup == nil && !state.isClosed, "a mailbox is opened once")
            let wakeup = receiver.wakeup
            state.wakeup = wakeup
            if !state.messages.isEmpty { wakeup.wake() }
        }
    }

    /// Exchanges the waiting messages for an empty array, whose capacity is used again.
    fileprivate func take(into batch: inout [Message]) {
        state.withLock { swap(&$0.messages, &batch) }
    }

    fileprivate func close() {
        state.withLock { state in
            state.isClosed = true
            state.wakeup = nil
            state.messages = []
        }
    }
}

/// The loop's end of a mailbox.
private final class MailboxReceiver<Message: Sendable>: EventHandler {
    private let mailbox: Mailbox<Message>
    private let onMessages: ([Message]) -> Void
    private var batch: [Message] = []

    init(mailbox: Mailbox<Message>, loop: EventLoop, onMessages: @escaping ([Message]) -> Void) {
        self.mailbox = mailbox
        self.onMessages = onMessages
        super.init(on: loop)
        makeEvent(descriptor: -1, flags: 0, priority: EventLoop.urgentPriority)
    }

    deinit {
        mailbox.close()
    }

    var wakeup: LoopWakeup { LoopWakeup(event: event!) }

    override func handleEvent(_ flags: Int32) {
        mailbox.take(into: &batch)
        onMessages(batch)
        batch.removeAll(keepingCapacity: batch.count <= 4096)
    }
}

/// A handle that makes a loop's event active from any thread.
///
/// Safe because `event_active` takes the base's lock, and the mailbox uses the handle only under its own lock,
/// under which it also forgets it before the event is freed.
private struct LoopWakeup: @unchecked Sendable {
    let event: OpaquePointer

    func wake() {
        event_active(event, EV_READ, 0)
    }
}
