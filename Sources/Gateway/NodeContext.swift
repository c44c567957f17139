// What every thread of a node is given. Any thread.

import EventLoop

/// The immutable frame of a node: settings, log, counters, state, and the mailboxes between its threads.
struct NodeContext: Sendable {
    let configuration: Configuration
    let log: Log
    let metrics: Metrics
    let state: NodeState
    let workerMailboxes: [Mailbox<WorkerMessage>]
    let subscriberMailbox: Mailbox<SubscriberMessage>
    let controlMailbox: Mailbox<ControlNotice>

    init(configuration: Configuration, log: Log, state: NodeState) {
        self.configuration = configuration
        self.log = log
        self.state = state
        metrics = Metrics(workerCount: configuration.workerCount)
        workerMailboxes = (0..<configuration.workerCount).map { _ in Mailbox() }
        subscriberMailbox = Mailbox()
        controlMailbox = Mailbox()
    }
}

/// To the control loop, from the subscriber or a worker.
enum ControlNotice: Sendable {
    /// The worker has no connection left.
    case drained(worker: Int)
    /// A connection to Redis has come or gone.
    case readinessChanged
}
