// The node's connection to Redis' published messages, with its rooms. Loop-confined: a thread of its own.

import EventLoop
import RedisSchema
import Redis

/// One pub/sub connection: which rooms are subscribed through it, since when messages are missing, and how
/// often it was lost. It alone knows whether a room is subscribed; workers hold copies that its news change.
///
/// What it receives goes to the broadcaster, which posts it to the workers at the end of the loop's turn.
final class Feed {
    /// How often rooms without members are looked through: well under the grace time's order.
    private static let sweepInterval = Duration.seconds(1)

    private let loop: EventLoop
    private let node: NodeContext
    private let mailbox: Mailbox<FeedMessage>
    private let broadcaster: Broadcaster
    private let channels: Channels
    /// On which the node is spoken to.
    private let controlChannel: [UInt8]
    private let subscriber: RedisSubscriber
    private let metrics: SubscriberMetrics
    private var subscriptions: RoomSubscriptions
    /// How many leaves of each worker have been handled: goes along with news of its rooms.
    private var leaveCounts: [UInt64]
    private var gap: Gap
    /// How often the connection was lost; wraps.
    private var lossCount: UInt32 = 0
    /// Whether every room is subscribed.
    private var isComplete = false
    /// Whether the present connection may have confirmed rooms.
    private var isLinkUp = false
    private var sweepTimer: Timer?
    private var refusedLog: RateLimitedLog
    private var gapLog: RateLimitedLog
    private var controlLog: RateLimitedLog

    /// - Parameter mailbox: where workers ask for rooms.
    init(node: NodeContext, mailbox: Mailbox<FeedMessage>, loop: EventLoop) {
        self.loop = loop
        self.node = node
        self.mailbox = mailbox
        let configuration = node.configuration
        broadcaster = Broadcaster(node: node)
        channels = Channels(prefix: configuration.prefix)
        controlChannel = channels.gateway(configuration.nodeId)
        metrics = node.metrics.subscriber
        subscriptions = RoomSubscriptions(grace: configuration.unsubscribeGrace)
        leaveCounts = Array(repeating: 0, count: configuration.workerCount)
        gap = Gap(isTold: configuration.tellsGaps)
        refusedLog = RateLimitedLog(node.log)
        gapLog = RateLimitedLog(node.log)
        controlLog = RateLimitedLog(node.log)
        subscriber = RedisSubscriber(
            url: configuration.redis, clientName: "roomcast-subscriber-\(configuration.nodeId)",
            anchor: controlChannel, silenceTimeout: configuration.redisSilenceTimeout, loop: loop)
        connectCallbacks()
    }

    func start() {
        mailbox.open(on: loop) { [unowned self] messages in
            for message in messages { self.handle(message) }
        }
        let timer = Timer(on: loop, repeating: true) { [unowned self] in self.sweep() }
        timer.start(after: Feed.sweepInterval)
        sweepTimer = timer
        loop.onTurnEnd = { [unowned self] in
            // Here and nowhere else: rooms also go with a lost connection, and refused ones without a word
            // of Redis.
            self.metrics.rooms.set(UInt64(self.subscriptions.count))
            self.broadcaster.post()
            return false
        }
        subscriber.start()
    }

    private func connectCallbacks() {
        subscriber.onMessage = { [unowned self] in self.receive($0, $1) }
        subscriber.onUp = { [unowned self] in self.isLinkUp = true }
        subscriber.onAllSubscribed = { [unowned self] in self.allSubscribed() }
        subscriber.onDown = { [unowned self] in self.linkLost($0) }
        subscriber.onSubscribed = { [unowned self] in self.confirmed($0) }
        subscriber.onUnsubscribed = { [unowned self] in self.left($0) }
        subscriber.onRefused = { [unowned self] in self.refused($0) }
        subscriber.onMaster = { [unowned self] in self.broadcaster.addToAll(.master($0)) }
        subscriber.onSentinel = { [unowned self] reason in
            let notice = reason.map { ControlNotice.redisDown(.sentinel, $0) } ?? .redisUp(.sentinel)
            self.node.controlMailbox.post(notice)
        }
    }

    // MARK: The road

    private func receive(_ channel: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        guard let room = channels.room(ofChannel: channel) else { return receiveControl(channel, payload) }
        metrics.messagesReceived.add(1)
        metrics.bytesReceived.add(UInt64(payload.count))
        let workers = subscriptions.workers(of: room)
        guard workers != 0, let message = broadcaster.message(of: room, payload) else { return }
        if gap.holdsMessages {
            hold(message, for: workers)
        } else {
            broadcaster.add(message, to: workers)
        }
    }

    private func hold(_ message: Message, for workers: RoomSubscriptions.Workers) {
        guard !gap.hold(message, for: workers) else { return }
        metrics.messagesShed.add(1)
        gapLog.warning("too many messages before all rooms are back, messages lost", [:])
    }

    // MARK: Rooms

    private func handle(_ message: FeedMessage) {
        switch message {
        case .join(let room, let worker):
            switch subscriptions.join(room, worker: worker) {
            case .subscribe: subscriber.subscribe(channels.room(room))
            case .confirm: tellSubscribed(room, 1 << worker)
            case .wait: break
            case .refuse: tellRefused(room, 1 << worker)
            }
        case .leave(let room, let worker):
            leaveCounts[worker] += 1
            subscriptions.leave(room, worker: worker, now: .now)
        case .stop:
            subscriber.stop()
            loop.stop()
        }
    }

    private func confirmed(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        tellSubscribed(room, subscriptions.confirmed(room))
    }

    private func tellSubscribed(_ room: RoomId, _ workers: RoomSubscriptions.Workers) {
        RoomSubscriptions.forEach(workers) {
            broadcaster.add(.subscribed(room: room, leaveCount: leaveCounts[$0]), to: $0)
        }
    }

    private func tellRefused(_ room: RoomId, _ workers: RoomSubscriptions.Workers) {
        RoomSubscriptions.forEach(workers) {
            broadcaster.add(.refused(room: room, leaveCount: leaveCounts[$0]), to: $0)
        }
    }

    private func left(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        if subscriptions.left(room) { subscriber.subscribe(channel) }
    }

    /// Logged once: a room that is refused is set aside, and its clients are refused with it.
    private func refused(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        let workers = subscriptions.refused(room)
        if workers != 0 { refusedLog.warning("redis refuses a room", ["rooms": "\(room)"]) }
        tellRefused(room, workers)
    }

    private func sweep() {
        for room in subscriptions.takeExpired(now: .now) { subscriber.unsubscribe(channels.room(room)) }
    }

    // MARK: The link

    private func linkLost(_ reason: String) {
        node.controlMailbox.post(.redisDown(.subscriber, reason))
        // A failed attempt loses nothing; a connection does, even one lost before every room was back.
        guard isLinkUp else { return }
        isLinkUp = false
        lossCount &+= 1
        gap.begin(completeUntil: subscriber.completeUntil)
        if isComplete {
            isComplete = false
            setUp(false)
            metrics.reconnects.add(1)
        }
        let (forgotten, rejoined) = subscriptions.linkLost()
        for room in forgotten { subscriber.unsubscribe(channels.room(room)) }
        for room in rejoined { subscriber.subscribe(channels.room(room)) }
        broadcaster.addToAll(.subscriptionsLost(count: lossCount))
    }

    /// Every room is subscribed (again): a gap, if there was one, is over.
    private func allSubscribed() {
        guard !isComplete else { return }
        isComplete = true
        node.controlMailbox.post(.redisUp(.subscriber))
        setUp(true)
        if let ended = gap.end(now: .now) { report(ended) }
        broadcaster.addToAll(.subscriptionsRestored)
    }

    private func report(_ ended: Gap.End) {
        let milliseconds = metrics.countGap(ended.duration)
        node.log.warning(
            "gap: what was published meanwhile is lost",
            ["ms": "\(milliseconds)", "rooms": "\(subscriptions.count)"])
        if node.configuration.tellsGaps { broadcaster.addToAll(.gapEnded(milliseconds: milliseconds)) }
        for (message, workers) in ended.held { broadcaster.add(message, to: workers) }
        if !ended.dropped.isEmpty { report(ended.dropped) }
    }

    /// What came behind the messages that could wait for the gap's end is lost as well.
    private func report(_ dropped: Loss) {
        let milliseconds = metrics.countGap(dropped.duration(now: .now))
        node.log.warning(
            "too many messages before all rooms are back: those of this time are lost",
            ["ms": "\(milliseconds)", "rooms": "\(dropped.rooms.count)"])
        if node.configuration.tellsGaps {
            broadcaster.addToAll(.messagesLost(rooms: dropped.rooms, milliseconds: milliseconds))
        }
    }

    private func setUp(_ isUp: Bool) {
        node.state.setSubscriberUp(isUp)
        node.controlMailbox.post(.readinessChanged)
    }

    // MARK: Control messages

    private func receiveControl(_ channel: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        guard channel.elementsEqual(controlChannel) else { return }
        // Not even decoded: anyone who may publish at all can write here, and this thread has notices to
        // deliver.
        guard payload.count <= Limits.controlMessageBytes else {
            controlLog.warning("control message is too long", ["bytes": "\(payload.count)"])
            return
        }
        let text = String(decoding: payload, as: UTF8.self)
        switch ControlMessage(text) {
        case .replaced(let token, let connection):
            broadcaster.addToAll(.replaced(token, connection: connection))
        case .revoked(let token): broadcaster.addToAll(.revoked(token))
        case .rooms(let reply): broadcaster.addToAll(.listRooms(reply: reply))
        case nil:
            controlLog.warning(
                "unknown control message",
                ["bytes": "\(payload.count)", "kind": ControlMessage.shownKind(of: text)])
        }
    }
}
