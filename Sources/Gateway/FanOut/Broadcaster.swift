// The subscriber's thread: from Redis' message to the mailboxes of the workers that have the room.

import EventLoop
import Redis
import RedisSchema

/// Checks each published payload, encodes its frame once, and posts it to the workers that have clients in the room:
/// one batch and one wake-up for each worker at the end of the loop's turn.
final class Broadcaster {
    /// What the messages that wait for a worker may take: bounds the node's memory when a worker cannot keep up.
    static let maximumBacklogBytes = 64 << 20
    /// A worker whose messages are dropped gets messages again when it has so much left, so that what is missing is
    /// missing in one place, and its clients are told of it seldom.
    static let resumingBacklogBytes = maximumBacklogBytes / 2

    /// How often rooms without clients are looked through: well under the grace time's order.
    private static let sweepInterval = Duration.seconds(1)

    private let loop: EventLoop
    private let node: NodeContext
    private let channels: Channels
    private let controlChannel: [UInt8]
    private let subscriber: RedisSubscriber
    private let metrics: SubscriberMetrics
    private var subscriptions: RoomSubscriptions
    private var outgoing: [[WorkerMessage]]
    /// For each worker what is being dropped, because it is too far behind.
    private var shed: [Loss]
    private var sequence: UInt64 = 0
    private var sweepTimer: Timer?
    private var heldBackLog: RateLimitedLog
    private var refusedLog: RateLimitedLog
    private var controlLog: RateLimitedLog
    private var gap: Gap
    /// Whether every room is subscribed.
    private var isComplete = false
    /// Whether the present connection may have confirmed rooms.
    private var isLinkUp = false

    init(node: NodeContext, loop: EventLoop) {
        self.node = node
        self.loop = loop
        let configuration = node.configuration
        channels = Channels(prefix: configuration.prefix)
        controlChannel = channels.gateway(configuration.nodeId)
        metrics = node.metrics.subscriber
        subscriptions = RoomSubscriptions(grace: configuration.unsubscribeGrace)
        outgoing = Array(repeating: [], count: node.workerMailboxes.count)
        shed = Array(repeating: Loss(), count: node.workerMailboxes.count)
        heldBackLog = RateLimitedLog(node.log)
        refusedLog = RateLimitedLog(node.log)
        controlLog = RateLimitedLog(node.log)
        gap = Gap(isTold: configuration.tellsGaps)
        subscriber = RedisSubscriber(
            url: configuration.redis, clientName: "roomcast-subscriber-\(configuration.nodeId)",
            anchor: controlChannel, silenceTimeout: configuration.redisSilenceTimeout, loop: loop)
        connectCallbacks()
    }

    func start() {
        node.subscriberMailbox.open(on: loop) { [unowned self] messages in
            for message in messages { self.handle(message) }
        }
        let timer = Timer(on: loop, repeating: true) { [unowned self] in self.sweep() }
        timer.start(after: Broadcaster.sweepInterval)
        sweepTimer = timer
        loop.onTurnEnd = { [unowned self] in
            self.post()
            return false
        }
        subscriber.start()
    }

    // MARK: The road

    private func receive(_ channel: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        guard let room = channels.room(ofChannel: channel) else {
            receiveControl(channel, payload)
            return
        }
        metrics.messagesReceived.add(1)
        metrics.bytesReceived.add(UInt64(payload.count))
        let workers = subscriptions.workers(of: room)
        guard workers != 0 else { return }
        broadcast(payload, room: room, workers: workers)
    }

    private func broadcast(
        _ payload: UnsafeRawBufferPointer, room: RoomId, workers: RoomSubscriptions.Workers
    ) {
        if let reason = HeldBackReason(payload, maximumBytes: node.configuration.maximumPayloadBytes) {
            metrics.heldBack[reason.rawValue].add(1)
            heldBackLog.warning(
                "payload held back",
                HeldBackReason.fields(reason, room, payload))
            return
        }
        sequence += 1
        let frame = SharedFrame.text(payload, receivedAt: .now, sequence: sequence)
        if gap.holdsMessages {
            hold(frame, room: room, workers: workers)
        } else {
            post(frame, room: room, workers: workers)
        }
    }

    private func post(_ frame: SharedFrame, room: RoomId, workers: RoomSubscriptions.Workers) {
        var remaining = workers
        while remaining != 0 {
            let worker = remaining.trailingZeroBitCount
            outgoing[worker].append(.deliver(room: room, frame: frame))
            remaining &= remaining - 1
        }
    }

    private func hold(_ frame: SharedFrame, room: RoomId, workers: RoomSubscriptions.Workers) {
        guard !gap.hold(frame, room: room, workers: workers) else { return }
        metrics.messagesShed.add(1)
        heldBackLog.warning("too many messages before all rooms are back, messages lost", [:])
    }

    private func post() {
        for worker in outgoing.indices where !outgoing[worker].isEmpty || !shed[worker].isEmpty {
            let waitingBytes = node.backlogs[worker].bytes
            if shed[worker].isEmpty {
                if waitingBytes > Broadcaster.maximumBacklogBytes { dropMessages(for: worker) }
            } else if waitingBytes > Broadcaster.resumingBacklogBytes {
                dropMessages(for: worker)
            } else {
                resume(worker)
            }
            node.backlogs[worker].add(outgoing[worker].reduce(0) { $0 + $1.frameBytes })
            node.workerMailboxes[worker].post(draining: &outgoing[worker])
        }
    }

    /// A worker that is this far behind gets no further messages for now: the node's memory has an end, and to stop
    /// reading from Redis would only move the loss to Redis, and to all workers. What is lost is counted and logged,
    /// and is a gap for the clients of its rooms.
    private func dropMessages(for worker: Int) {
        let before = outgoing[worker].count
        outgoing[worker].removeAll { message in
            guard case .deliver(let room, let frame) = message else { return false }
            shed[worker].add(room, receivedAt: frame.receivedAt)
            return true
        }
        let lost = before - outgoing[worker].count
        guard lost > 0 else { return }
        metrics.messagesShed.add(UInt64(lost))
        heldBackLog.warning("worker is overloaded, messages lost", ["worker": "\(worker)", "count": "\(lost)"])
    }

    /// The worker gets messages again; the word of those that are missing goes before them.
    private func resume(_ worker: Int) {
        let loss = shed[worker]
        shed[worker] = Loss()
        let milliseconds = count(loss.duration(now: .now))
        node.log.warning(
            "worker has caught up: messages of this time are lost",
            ["worker": "\(worker)", "ms": "\(milliseconds)", "rooms": "\(loss.rooms.count)"])
        guard node.configuration.tellsGaps else { return }
        outgoing[worker].insert(.messagesLost(rooms: loss.rooms, milliseconds: milliseconds), at: 0)
    }

    /// Counts a gap; returns its milliseconds, rounded up, as they are never to be too few.
    private func count(_ duration: Duration) -> Int64 {
        let milliseconds = (duration + .nanoseconds(999_999)).wholeMilliseconds
        metrics.gaps.add(1)
        metrics.gapMilliseconds.add(UInt64(milliseconds))
        return milliseconds
    }

    // MARK: Rooms

    private func handle(_ message: SubscriberMessage) {
        switch message {
        case .join(let room, let worker):
            switch subscriptions.join(room, worker: worker) {
            case .subscribe: subscriber.subscribe(channels.room(room))
            case .confirm: outgoing[worker].append(.subscribed(room: room))
            case .wait: break
            case .refuse: outgoing[worker].append(.refused(room: room))
            }
            publishRoomCount()
        case .leave(let room, let worker):
            subscriptions.leave(room, worker: worker, now: .now)
        case .stop:
            subscriber.stop()
            loop.stop()
        }
    }

    private func sweep() {
        for room in subscriptions.takeExpired(now: .now) { subscriber.unsubscribe(channels.room(room)) }
    }

    private func publishRoomCount() {
        metrics.rooms.set(UInt64(subscriptions.count))
    }

    // MARK: The link

    private func connectCallbacks() {
        subscriber.onMessage = { [unowned self] in self.receive($0, $1) }
        subscriber.onUp = { [unowned self] in self.isLinkUp = true }
        subscriber.onAllSubscribed = { [unowned self] in self.allSubscribed() }
        subscriber.onDown = { [unowned self] in self.linkLost($0) }
        subscriber.onSubscribed = { [unowned self] in self.confirmed($0) }
        subscriber.onUnsubscribed = { [unowned self] channel in
            guard let room = self.channels.room(ofChannel: channel) else { return }
            if self.subscriptions.left(room) { self.subscriber.subscribe(channel) }
            self.publishRoomCount()
        }
        subscriber.onRefused = { [unowned self] in self.refused($0) }
        subscriber.onMaster = { [unowned self] in self.postToAll(.master($0)) }
        subscriber.onSentinel = { [unowned self] reason in
            let notice = reason.map { ControlNotice.redisDown(.sentinel, $0) } ?? .redisUp(.sentinel)
            self.node.controlMailbox.post(notice)
        }
    }

    private func confirmed(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        post(.subscribed(room: room), to: subscriptions.confirmed(room))
    }

    /// Told once: a room that is refused is set aside, and its clients are refused with it.
    private func refused(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        let workers = subscriptions.refused(room)
        if workers != 0 { refusedLog.warning("redis refuses a room", ["rooms": "\(room)"]) }
        post(.refused(room: room), to: workers)
    }

    private func post(_ message: WorkerMessage, to workers: RoomSubscriptions.Workers) {
        var remaining = workers
        while remaining != 0 {
            outgoing[remaining.trailingZeroBitCount].append(message)
            remaining &= remaining - 1
        }
    }

    /// Every room is subscribed (again): a gap, if there was one, is over.
    private func allSubscribed() {
        guard !isComplete else { return }
        isComplete = true
        node.controlMailbox.post(.redisUp(.subscriber))
        setUp(true)
        if let ended = gap.end(now: .now) {
            let milliseconds = count(ended.duration)
            node.log.warning(
                "gap: what was published meanwhile is lost",
                ["ms": "\(milliseconds)", "rooms": "\(subscriptions.count)"])
            if node.configuration.tellsGaps { postToAll(.gapEnded(milliseconds: milliseconds)) }
            for message in ended.held { post(message.frame, room: message.room, workers: message.workers) }
            if !ended.dropped.isEmpty { tell(ended.dropped) }
        }
        postToAll(.subscriptionsRestored)
    }

    /// What came behind the messages that could wait for the gap's end is lost as well.
    private func tell(_ dropped: Loss) {
        let milliseconds = count(dropped.duration(now: .now))
        node.log.warning(
            "too many messages before all rooms are back: those of this time are lost",
            ["ms": "\(milliseconds)", "rooms": "\(dropped.rooms.count)"])
        if node.configuration.tellsGaps {
            postToAll(.messagesLost(rooms: dropped.rooms, milliseconds: milliseconds))
        }
    }

    private func linkLost(_ reason: String) {
        node.controlMailbox.post(.redisDown(.subscriber, reason))
        // A failed attempt loses nothing; a connection does, even one lost before every room was back.
        guard isLinkUp else { return }
        isLinkUp = false
        gap.begin(completeUntil: subscriber.completeUntil)
        if isComplete {
            isComplete = false
            setUp(false)
            metrics.reconnects.add(1)
        }
        let (forgotten, rejoined) = subscriptions.linkLost()
        for room in forgotten { subscriber.unsubscribe(channels.room(room)) }
        for room in rejoined { subscriber.subscribe(channels.room(room)) }
        postToAll(.subscriptionsLost)
    }

    private func setUp(_ isUp: Bool) {
        node.state.setSubscriberUp(isUp)
        node.controlMailbox.post(.readinessChanged)
    }

    private func postToAll(_ message: WorkerMessage) {
        for worker in outgoing.indices { outgoing[worker].append(message) }
    }

    // MARK: Control messages

    private func receiveControl(_ channel: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        guard channel.elementsEqual(controlChannel) else { return }
        // Not even decoded: anybody who may publish at all can write here, and this thread has notices to deliver.
        guard payload.count <= ControlMessage.maximumBytes else {
            controlLog.warning("control message is too long", ["bytes": "\(payload.count)"])
            return
        }
        let text = String(decoding: payload, as: UTF8.self)
        switch ControlMessage(text) {
        case .replaced(let token, let connection): postToAll(.replaced(token, connection: connection))
        case .revoked(let token): postToAll(.revoked(token))
        case .rooms(let reply): postToAll(.listRooms(reply: reply))
        case nil:
            controlLog.warning(
                "unknown control message",
                ["bytes": "\(payload.count)", "kind": ControlMessage.shownKind(of: text)])
        }
    }
}
