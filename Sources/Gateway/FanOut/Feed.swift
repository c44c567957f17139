// The node's connection to Redis' published messages, with its rooms. Loop-confined: a thread of its own, or
// that of the only worker.

import EventLoop
import RedisSchema
import Redis

/// One pub/sub connection and what it carries. `FeedState` alone knows whether a room is subscribed; workers
/// hold copies that its news change.
///
/// What it receives goes to the broadcaster, which posts it to the workers at the end of the loop's turn.
final class Feed {
    private let index: Int
    private let loop: EventLoop
    private let node: NodeContext
    private let broadcaster: Broadcaster
    private let channels: Channels
    /// On which the node is spoken to.
    private let controlChannel: [UInt8]
    private let subscriber: RedisSubscriber
    private let metrics: FeedMetrics
    private let history: History
    private var state: FeedState
    /// Whether the node's connections lead to one server; without a word in a cluster.
    private var agreement: ServerAgreement
    /// Only in a cluster.
    private var echoes: ClusterEchoes?
    private var isLoopShared = false
    private var sweepTimer: Timer?
    private var agreementTimer: Timer?
    private var refusedLog: RateLimitedLog
    private var gapLog: RateLimitedLog
    private var controlLog: RateLimitedLog

    init(index: Int, node: NodeContext, loop: EventLoop) {
        self.index = index
        self.loop = loop
        self.node = node
        let configuration = node.configuration
        metrics = node.metrics.feeds[index]
        broadcaster = Broadcaster(node: node, metrics: metrics)
        channels = Channels(prefix: configuration.prefix)
        controlChannel = channels.gateway(configuration.nodeId)
        state = FeedState(
            workerCount: configuration.workerCount, grace: configuration.unsubscribeGrace,
            tellsGaps: configuration.tellsGaps)
        agreement = ServerAgreement(silenceTimeout: configuration.redisSilenceTimeout)
        refusedLog = RateLimitedLog(node.log)
        gapLog = RateLimitedLog(node.log)
        controlLog = RateLimitedLog(node.log)
        let candidates = { [maps = node.clusterMaps] in
            maps.map.map { FeedPlace.order($0.nodes, for: configuration.nodeId) } ?? []
        }
        if configuration.redis.isCluster {
            echoes = ClusterEchoes(silenceTimeout: configuration.redisSilenceTimeout)
        }
        subscriber = RedisSubscriber(
            url: configuration.redis, clientName: "roomcast-subscriber-\(configuration.nodeId)",
            anchor: controlChannel, silenceTimeout: configuration.redisSilenceTimeout,
            candidates: configuration.redis.isCluster ? candidates : nil, loop: loop)
        history = History(
            node: node, broadcaster: broadcaster, subscriber: subscriber, metrics: metrics, loop: loop)
        history.workers = { [unowned self] in self.state.workers(of: $0) }
        connectCallbacks()
    }

    /// - Parameter turn: that of the only worker, if it has started on this loop: it takes what the feed
    ///   brings without a wake-up, and the worker ends the loop.
    func start(sharedWith turn: Turn? = nil) {
        isLoopShared = turn != nil
        node.feedMailboxes[index].open(on: loop) { [unowned self] messages in
            for message in messages { self.handle(message) }
        }
        let timer = Timer(on: loop, repeating: true) { [unowned self] in
            self.perform(self.state.sweep(now: .now))
        }
        timer.start(after: Limits.idleRoomInterval)
        sweepTimer = timer
        let agreementTimer = Timer(on: loop, repeating: true) { [unowned self] in self.checkEchoes() }
        agreementTimer.start(after: node.configuration.redisSilenceTimeout / 4)
        self.agreementTimer = agreementTimer
        let workerTurn = loop.onTurnEnd
        loop.onTurnEnd = { [unowned self] in
            // Here and nowhere else: rooms also go with a lost connection, and refused ones without a word
            // of Redis.
            self.metrics.rooms.set(UInt64(self.state.roomCount))
            self.history.finishTurn()
            self.broadcaster.post(sharedWith: turn)
            return workerTurn?() ?? false
        }
        subscriber.start()
        history.start()
    }

    private func connectCallbacks() {
        subscriber.onMessage = { [unowned self] in self.receive($0, $1) }
        subscriber.onUp = { [unowned self] in
            self.state.linkIsUp()
            self.agreement.linkIsUp(now: .now)
            self.echoes?.linkIsUp(self.masters, now: .now)
            self.history.subscriberUp()
        }
        if echoes != nil {
            subscriber.limit = { [unowned self] in self.echoes?.completeUntil(self.masters) }
        }
        subscriber.onAllSubscribed = { [unowned self] in self.allSubscribed() }
        subscriber.onDown = { [unowned self] in self.linkLost($0) }
        subscriber.onSubscribed = { [unowned self] in self.confirmed($0) }
        subscriber.onUnsubscribed = { [unowned self] in self.unsubscribed($0) }
        subscriber.onRefused = { [unowned self] in self.refused($0) }
        subscriber.onMaster = { [unowned self] in
            self.history.follow($0)
            self.broadcaster.addToAll(.master($0))
        }
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
        let id = NoticeId(head: payload, room: room)
        if let id, history.tracks(room) { return history.receive(id, payload, in: room) }
        let workers = state.workers(of: room)
        if id != nil, workers != 0 {
            history.hasDurableNotices(room, isSubscribed: state.isSubscribed(room))
        }
        guard workers != 0,
            let message = broadcaster.message(of: room, payload, id: id, isDurable: false)
        else { return }
        switch state.received(message, for: workers) {
        case .deliver: broadcaster.add(message, to: workers)
        case .hold: break
        case .drop:
            metrics.messagesShed.add(1)
            gapLog.warning("too many messages before all rooms are back, messages lost", [:])
        }
    }

    /// Does what follows from what was heard.
    private func perform(_ actions: [FeedState.Action]) {
        for action in actions {
            switch action {
            case .subscribe(let room): subscriber.subscribe(channels.room(room))
            case .unsubscribe(let room):
                subscriber.unsubscribe(channels.room(room))
                history.forget(room)
            case .tell(let worker, let news): broadcaster.add(news, to: worker)
            case .tellAll(let news): broadcaster.addToAll(news)
            case .deliver(let message, let workers): broadcaster.add(message, to: workers)
            case .gapEnded(let milliseconds):
                metrics.countGap(milliseconds: milliseconds)
                node.log.warning(
                    "gap: what was published meanwhile is lost",
                    ["ms": "\(milliseconds)", "rooms": "\(state.roomCount)"])
            case .messagesLost(let milliseconds, let roomCount):
                metrics.countGap(milliseconds: milliseconds)
                node.log.warning(
                    "too many messages before all rooms are back: those of this time are lost",
                    ["ms": "\(milliseconds)", "rooms": "\(roomCount)"])
            }
        }
    }

    // MARK: Rooms

    private func handle(_ message: FeedMessage) {
        switch message {
        case .join(let room, let worker): perform(state.joined(room, worker: worker))
        case .leave(let room, let worker): state.left(room, worker: worker, now: .now)
        case .resume(let request): history.resume(request, isSubscribed: state.isSubscribed)
        case .cancelResume(let id): history.cancel(id)
        case .echoTaken(let echo): taken(echo)
        case .stop:
            subscriber.stop()
            history.stop()
            if !isLoopShared { loop.stop() }
        }
    }

    private func confirmed(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        perform(state.confirmed(room))
        history.subscribed(room)
    }

    private func unsubscribed(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        perform(state.unsubscribed(room))
    }

    /// Logged once: a room that is refused is set aside, and its clients are refused with it.
    private func refused(_ channel: [UInt8]) {
        guard let room = channels.room(ofChannel: channel) else { return }
        let actions = state.refused(room)
        if !actions.isEmpty { refusedLog.warning("redis refuses a room", ["rooms": "\(room)"]) }
        perform(actions)
    }

    // MARK: The link

    private func linkLost(_ reason: String) {
        node.controlMailbox.post(.redisDown(.feed(index), reason))
        let wasComplete = state.isComplete
        agreement.linkLost()
        history.subscriberLost()
        perform(state.linkLost(completeUntil: subscriber.completeUntil))
        echoes?.linkLost()
        guard wasComplete else { return }
        setUp(false)
        metrics.reconnects.add(1)
    }

    /// Every room is subscribed (again).
    private func allSubscribed() {
        guard !state.isComplete else { return }
        node.controlMailbox.post(.redisUp(.feed(index)))
        setUp(true)
        perform(state.allSubscribed(now: .now))
    }

    /// Redis has taken an echo, at the server of the first worker's connection.
    private func taken(_ echo: ServerAgreement.Echo) {
        if let address = echo.address {
            echoes?.taken(echo.number, by: address, sentAt: echo.sentAt)
            return
        }
        // The end of the connection may be what has come.
        guard !subscriber.hasNews else { return }
        perform(
            agreement.taken(
                echo, subscriberRun: history.subscriberRun, readerRun: history.readerRun, now: .now))
    }

    /// The masters of the cluster, by the latest map.
    private var masters: [RedisURL.Address] { node.clusterMaps.map?.masters ?? [] }

    private func checkEchoes() {
        guard echoes != nil else {
            return perform(agreement.check(completeUntil: subscriber.completeUntil, now: .now))
        }
        echoes?.look(after: masters, now: .now)
        guard !subscriber.hasNews,
            let reason = echoes?.check(masters, ownNode: subscriber.server, now: .now)
        else { return }
        subscriber.renew(reason: reason, mustBeMaster: false)
    }

    private func perform(_ action: ServerAgreement.Action) {
        switch action {
        case .nothing: break
        case .renewFeed(let reason):
            history.renewReader(reason: reason)
            subscriber.renew(reason: reason, mustBeMaster: true)
        case .renewReader(let reason): history.renewReader(reason: reason)
        case .renewCommands(let reason): broadcaster.addToAll(.renewCommands(reason))
        }
    }

    private func setUp(_ isUp: Bool) {
        node.state.setFeedUp(isUp, feed: index)
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
        case .echo(let run, let number):
            guard run == node.run else { return }
            agreement.heard(number)
            echoes?.heard(number, now: .now)
        case .slotEcho(let run, let number): if run == node.run { history.heard(slotEcho: number) }
        case nil:
            controlLog.warning(
                "unknown control message",
                ["bytes": "\(payload.count)", "kind": ControlMessage.shownKind(of: text)])
        }
    }
}
