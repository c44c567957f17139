// The one place where threads meet: messages are posted from any thread and handled on one loop.

import Synchronization

/// An unbounded queue into a loop, in the order of posting, with one wake-up for however many messages wait.
///
/// It exists before its loop does: what is posted before `open` is handled once it is open, and what is
/// posted after the loop is gone is dropped. Posters must bound what they post.
package final class Mailbox<Message: Sendable>: Sendable {
    /// How many messages one turn hands over, unless its owner wants more; those beyond wait for the next one.
    package static var maximumBatchCount: Int { 1_024 }

    private struct State {
        var messages: [Message] = []
        var wakeup: LoopWakeup?
        var isClosed = false
    }

    private let state = Mutex(State())

    package init() {}

    /// Posts one message. Any thread.
    package func post(_ message: Message) {
        let wakeup: LoopWakeup? = state.withLock { state in
            guard !state.isClosed else { return nil }
            state.messages.append(message)
            return state.messages.count == 1 ? state.wakeup : nil
        }
        // Outside the lock, for which the loop reaches as soon as it is awake.
        wakeup?.wake()
    }

    /// Posts a batch with one wake-up and empties it, keeping its capacity. Any thread.
    package func post(draining batch: inout [Message]) {
        guard !batch.isEmpty else { return }
        let wakeup: LoopWakeup? = state.withLock { state in
            guard !state.isClosed else { return nil }
            let wasEmpty = state.messages.isEmpty
            if wasEmpty {
                swap(&state.messages, &batch)
            } else {
                state.messages.append(contentsOf: batch)
            }
            return wasEmpty ? state.wakeup : nil
        }
        wakeup?.wake()
        batch.removeAll(keepingCapacity: true)
    }

    /// Binds the mailbox to a loop. Called once, on the loop's thread; the loop keeps `onMessages` alive,
    /// and calls it once in a turn, with what has come since, a batch at most.
    ///
    /// - Parameter batchCount: the messages of a batch.
    package func open(
        on loop: EventLoop, batchCount: Int = maximumBatchCount, onMessages: @escaping ([Message]) -> Void
    ) {
        loop.add(MailboxReceiver(mailbox: self, batchCount: batchCount, onMessages: onMessages))
        state.withLock { state in
            precondition(state.wakeup == nil && !state.isClosed, "a mailbox is opened once")
            state.wakeup = loop.wakeup
            if !state.messages.isEmpty { loop.wakeup.wake() }
        }
    }

    /// Undoes `open`, on the loop's thread: the loop lets go of `onMessages`, and what is posted from now on
    /// is dropped. For a mailbox whose owner goes before the loop does.
    package func close(on loop: EventLoop) {
        loop.remove { ($0 as? MailboxReceiver<Message>)?.mailbox === self }
        close()
    }

    /// Exchanges the waiting messages for an empty array, whose capacity is used again.
    fileprivate func take(into batch: inout [Message]) {
        state.withLock { swap(&$0.messages, &batch) }
    }

    fileprivate var isEmpty: Bool { state.withLock { $0.messages.isEmpty } }

    fileprivate func close() {
        state.withLock { state in
            state.isClosed = true
            state.wakeup = nil
            state.messages = []
        }
    }
}

/// The loop's end of a mailbox, for which all of them look the same.
class MailboxEnd {
    /// Handles a batch of what waits, if anything does; returns whether more is left.
    func drain() -> Bool { false }
}

private final class MailboxReceiver<Message: Sendable>: MailboxEnd {
    fileprivate let mailbox: Mailbox<Message>
    private let batchCount: Int
    private let onMessages: ([Message]) -> Void
    private var batch: [Message] = []
    /// How much of the batch is handled.
    private var handledCount = 0

    init(mailbox: Mailbox<Message>, batchCount: Int, onMessages: @escaping ([Message]) -> Void) {
        self.mailbox = mailbox
        self.batchCount = batchCount
        self.onMessages = onMessages
    }

    deinit {
        mailbox.close()
    }

    override func drain() -> Bool {
        if batch.isEmpty { mailbox.take(into: &batch) }
        let left = batch.count - handledCount
        guard left > 0 else { return false }
        guard left <= batchCount else {
            let start = handledCount
            handledCount += batchCount
            onMessages(Array(batch[start..<handledCount]))
            return true
        }
        guard handledCount > 0 else {
            onMessages(batch)
            batch.removeAll(keepingCapacity: batch.count <= 4096)
            return false
        }
        onMessages(Array(batch[handledCount...]))
        batch = []
        handledCount = 0
        // What was posted behind the batch has woken the loop when that was still being handed over.
        return !mailbox.isEmpty
    }
}
