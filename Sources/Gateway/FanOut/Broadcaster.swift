// From a published payload to the mailboxes of the workers that have the room. Loop-confined: belongs to its
// feed's loop.

import EventLoop
import RedisSchema

/// Checks each published payload, makes a message of it, and posts it to the workers that have members in
/// the room: one batch and at most one wake-up for each worker at the end of the loop's turn.
final class Broadcaster {
    private let node: NodeContext
    private let metrics: FeedMetrics
    /// Nil if compression is off.
    private let compressor: MessageCompressor?
    private var outgoing: [[WorkerMessage]]
    /// For each worker what is being dropped, because it is too far behind.
    private var shed: [Loss]
    private var order: UInt64 = 0
    /// The last one that was read; of one Redis.
    var epoch: HistoryEpoch?
    /// In a cluster: the epoch of a room, as far as the node knows it.
    var epochOf: ((RoomId) -> HistoryEpoch?)?
    private var heldBackLog: RateLimitedLog
    private var overloadLog: RateLimitedLog

    init(node: NodeContext, metrics: FeedMetrics) {
        self.node = node
        self.metrics = metrics
        compressor = node.configuration.compressionMinimumBytes.map {
            MessageCompressor(minimumBytes: $0, state: node.state, metrics: metrics)
        }
        outgoing = Array(repeating: [], count: node.workerMailboxes.count)
        shed = Array(repeating: Loss(), count: node.workerMailboxes.count)
        heldBackLog = RateLimitedLog(node.log)
        overloadLog = RateLimitedLog(node.log)
    }

    /// The message of a payload; nil if the payload is held back, which is counted and logged.
    ///
    /// - Parameters:
    ///   - id: in its head, if it is a durable one.
    ///   - isDurable: whether it has a place in the history of its room, which is tracked.
    func message(
        of room: RoomId, _ payload: UnsafeRawBufferPointer, id: NoticeId?, isDurable: Bool
    ) -> Message? {
        if let reason = HeldBackReason(payload, maximumBytes: node.configuration.maximumPayloadBytes) {
            metrics.heldBack[reason.rawValue].add(1)
            heldBackLog.warning("payload held back", HeldBackReason.fields(reason, room, payload))
            return nil
        }
        order += 1
        return Message(
            room: room, order: order, receivedAt: .now, isDurable: isDurable,
            position: position(behind: id, in: room),
            mayBeEvent: node.state.hasEventStreams, payload: payload,
            deflated: compressor?.frame(of: payload))
    }

    private func position(behind id: NoticeId?, in room: RoomId) -> HistoryPosition? {
        guard let id, let epoch = epochOf == nil ? epoch : epochOf?(room) else { return nil }
        return HistoryPosition(epoch: epoch, id: id)
    }

    /// Adds a message to what leaves for some workers at the end of the turn.
    func add(_ message: Message, to workers: RoomSubscriptions.Workers) {
        RoomSubscriptions.forEach(workers) { outgoing[$0].append(.deliver(message)) }
    }

    /// Adds news for one worker.
    func add(_ news: WorkerNews, to worker: Int) { outgoing[worker].append(.news(news)) }

    func addToAll(_ news: WorkerNews) {
        for worker in outgoing.indices { outgoing[worker].append(.news(news)) }
    }

    /// Posts what the turn has brought.
    ///
    /// - Parameter turn: that of the only worker, if it runs next on this very loop: it needs no wake-up.
    func post(sharedWith turn: Turn?) {
        for worker in outgoing.indices where !outgoing[worker].isEmpty || !shed[worker].isEmpty {
            let waitingBytes = node.backlogs[worker].bytes
            if shed[worker].isEmpty {
                if waitingBytes > Limits.workerBacklogBytes { dropMessages(for: worker) }
            } else if waitingBytes > Limits.workerBacklogResumingBytes {
                dropMessages(for: worker)
            } else {
                resume(worker)
            }
            node.backlogs[worker].add(outgoing[worker].reduce(0) { $0 + $1.memoryBytes })
            if let turn {
                turn.add(outgoing[worker])
                outgoing[worker].removeAll(keepingCapacity: outgoing[worker].count <= 4096)
            } else {
                node.workerMailboxes[worker].post(draining: &outgoing[worker])
            }
        }
    }

    // MARK: Overload

    /// A worker that is this far behind gets no further messages for now: the node's memory has an end, and
    /// to stop reading from Redis would only move the loss to Redis, and to all workers. What is lost is
    /// counted and logged, and is a gap for the members of its rooms.
    private func dropMessages(for worker: Int) {
        let before = outgoing[worker].count
        outgoing[worker].removeAll { item in
            guard case .deliver(let message) = item else { return false }
            shed[worker].add(message)
            return true
        }
        let lost = before - outgoing[worker].count
        guard lost > 0 else { return }
        metrics.messagesShed.add(UInt64(lost))
        overloadLog.warning(
            "worker is overloaded, messages lost", ["worker": "\(worker)", "count": "\(lost)"])
    }

    /// The worker gets messages again; the news of those that are missing goes before them.
    private func resume(_ worker: Int) {
        let loss = shed[worker]
        shed[worker] = Loss()
        let milliseconds = loss.duration(now: .now).gapMilliseconds
        metrics.countGap(milliseconds: milliseconds)
        node.log.warning(
            "worker has caught up: messages of this time are lost",
            ["worker": "\(worker)", "ms": "\(milliseconds)", "rooms": "\(loss.rooms.count)"])
        outgoing[worker].insert(.news(.messagesLost(rooms: loss.rooms, milliseconds: milliseconds)), at: 0)
    }
}
