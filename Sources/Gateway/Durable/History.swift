// The durable rooms of a feed and their surroundings: the reader, the workers, the clock. Loop-confined: the
// feed's loop.

import EventLoop
import Redis
import RedisSchema

/// Keeps what was published durably whole, for the clients that ask for it: over outages of the node, and
/// for those that come back. What is to be done `DurableRooms` says; here it is done.
///
/// A room is *tracked* from the first opted-in client on, until it is unsubscribed. Messages of other rooms
/// do not pass through here.
final class History {
    private let broadcaster: Broadcaster
    private let reader: HistoryReader
    private let subscriber: RedisSubscriber
    private let metrics: FeedMetrics
    private let state: NodeState
    private let log: Log
    /// The workers that have members in a room.
    var workers: (RoomId) -> RoomSubscriptions.Workers = { _ in 0 }
    private var rooms: DurableRooms<Message>
    /// The `run_id` of the server that the subscriber is connected to; nil if the server does not say it.
    private(set) var subscriberRun: String?
    /// The numbers of the echoes that are on their way.
    private var echoes = Fifo<UInt64>()
    /// The same in a cluster, each through the master of a slot.
    private var slotEchoes = SlotEchoes()
    private let run: [UInt8]
    /// Of the node itself.
    private let channel: [UInt8]
    private var epochTimer: Timer?
    private let checkInterval: Duration
    /// Until the subscriber logs in with its new password.
    private var passwordTimer: Timer?

    init(
        node: NodeContext, broadcaster: Broadcaster, subscriber: RedisSubscriber, metrics: FeedMetrics,
        loop: EventLoop
    ) {
        self.broadcaster = broadcaster
        self.subscriber = subscriber
        self.metrics = metrics
        state = node.state
        log = node.log
        run = node.run
        let configuration = node.configuration
        let channels = Channels(prefix: configuration.prefix)
        channel = channels.gateway(configuration.nodeId)
        let isCluster = configuration.redis.isCluster
        checkInterval = isCluster ? Limits.historyCheckInterval : NodeReport.interval
        rooms = DurableRooms(
            DurableRooms.Settings(
                historyAge: configuration.historyAge, cacheBytes: configuration.historyCacheBytes,
                slotOf: isCluster ? { HashSlot.of(channels.room($0)) } : nil))
        reader = HistoryReader(node: node, loop: loop) { room, id, frame in
            History.entry(room, id, frame, broadcaster)
        }
        epochTimer = Timer(on: loop, repeating: true) { [unowned self] in
            self.check()
        }
        passwordTimer = Timer(on: loop) { [unowned self] in
            // It may have been lost meanwhile, and have the new one.
            guard self.subscriber.hasOldPassword else { return }
            self.subscriber.renew(reason: "the password has changed", mustBeMaster: false)
        }
        reader.onNewPassword = { [unowned self] in self.renewSubscriberSoon() }
        reader.onUp = { [unowned self] in
            // It may have logged in with a password that the subscriber has not.
            self.renewSubscriberSoon()
            self.perform(self.rooms.readerUp(run: $0))
        }
        reader.onDown = { [unowned self] in self.rooms.readerLost() }
        if isCluster { broadcaster.epochOf = { [unowned self] in self.rooms.epoch(of: $0) } }
        reader.onServers = { [unowned self] in self.rooms.serversChanged($0) }
        reader.onAnswer = { [unowned self] in self.take($0) }
        subscriber.onServer = { [unowned self] in self.subscriberRun = $0.runID }
        subscriber.onEcho = { [unowned self] in
            if let number = self.echoes.takeFirst() { self.rooms.echoAnswered(number) }
        }
    }

    func start() {
        epochTimer?.start(after: checkInterval)
        reader.start()
    }

    private func check() {
        guard rooms.isCluster else { return perform(rooms.checkEpoch()) }
        // The bus has lost it, or the master: what is read from Redis is whole all the same.
        for (number, slot) in slotEchoes.expire(now: .now) { rooms.echoAnswered(number, slot: slot) }
        rooms.check()
    }

    func stop() { reader.stop() }

    /// Redis takes the present password, so the gap is short; and not all nodes have theirs at once.
    private func renewSubscriberSoon() {
        guard subscriber.hasOldPassword else { return }
        passwordTimer?.start(
            after: .milliseconds(Int64.random(in: 0...Limits.passwordSpread.wholeMilliseconds)))
    }

    /// The `run_id` of the reader's server; nil if the server does not say it, or the reader is not connected.
    var readerRun: String? { reader.serverRun }

    /// The reader's connection is made again: it leads to another server than it should.
    func renewReader(reason: String) { reader.renew(reason: reason) }

    /// The sentinels name this master.
    func follow(_ master: RedisURL.Address) { reader.follow(master) }

    // MARK: The road

    /// Whether a room's history is kept.
    func tracks(_ room: RoomId) -> Bool { rooms.rooms[room] != nil }

    /// A message of a tracked room, with the id in its head.
    func receive(_ id: NoticeId, _ payload: UnsafeRawBufferPointer, in room: RoomId) {
        let message = broadcaster.message(of: room, payload, id: id, isDurable: true)
        let entry = HistoryEntry(id: id, frame: message, memoryBytes: message?.memoryBytes ?? 0)
        if case .deliver? = rooms.accept(entry, in: room), let message {
            broadcaster.add(message, to: workers(room))
        }
    }

    /// A durable notice has come to a room that is not tracked. In a cluster the room is tracked if it may have event
    /// streams, to know the epoch that belongs to the positions of the next notices.
    func hasDurableNotices(_ room: RoomId, isSubscribed: Bool) {
        if rooms.isCluster, state.hasEventStreams { rooms.track(room, isSubscribed: isSubscribed) }
    }

    /// What was stored under an id: held back unless it is a frame of that very id that may be passed on.
    private static func entry(
        _ room: RoomId, _ id: NoticeId, _ frame: UnsafeRawBufferPointer, _ broadcaster: Broadcaster
    ) -> HistoryEntry<Message> {
        let isOwn = NoticeId(head: frame, room: room) == id
        let message = isOwn ? broadcaster.message(of: room, frame, id: id, isDurable: true) : nil
        return HistoryEntry(id: id, frame: message, memoryBytes: message?.memoryBytes ?? 0)
    }

    // MARK: Rooms and clients

    /// A client asks for what it has missed in rooms that its worker has joined.
    ///
    /// - Parameter isSubscribed: whether Redis has confirmed a room.
    func resume(_ request: ResumeRequest, isSubscribed: (RoomId) -> Bool) {
        for wanted in request.rooms { rooms.track(wanted.room, isSubscribed: isSubscribed(wanted.room)) }
        rooms.resume(request.id, request.rooms.map { ($0.room, $0.since) })
    }

    func cancel(_ id: ResumeId) { rooms.cancel(id) }

    /// Redis has confirmed a room on the present link.
    func subscribed(_ room: RoomId) { rooms.subscribed(room) }

    /// The room is being unsubscribed.
    func forget(_ room: RoomId) { rooms.forget(room) }

    // MARK: The subscriber's link

    func subscriberUp() { rooms.subscriberUp(run: subscriberRun ?? "") }

    func subscriberLost() {
        echoes.removeAll()
        slotEchoes.removeAll()
        rooms.subscriberLost(completeUntil: subscriber.completeUntil)
    }

    /// What the node has published to itself at the master of a slot has come.
    func heard(slotEcho number: UInt64) {
        if let (number, slot) = slotEchoes.take(number) { rooms.echoAnswered(number, slot: slot) }
    }

    // MARK: Answers and actions

    private func take(_ answer: HistoryReader.Answer) {
        switch answer {
        case .epoch(let slot, let number, let epoch):
            if !rooms.isCluster { broadcaster.epoch = epoch }
            perform(rooms.epochAnswered(slot: slot, number, epoch))
        case .noEpoch(let slot, let number): rooms.epochFailed(slot: slot, number)
        case .failed(let ticket): rooms.failed(ticket)
        case .tail(let ticket, let time, let newest):
            rooms.tailAnswered(ticket, time: time, newest: newest)
        case .range(let ticket, let entries):
            perform(rooms.rangeAnswered(ticket, entries: entries, now: .now))
        case .state(let ticket, let state): perform(rooms.stateAnswered(ticket, state: state, now: .now))
        case .refused(let ticket): rooms.refused(ticket)
        }
    }

    /// Answers clients and asks Redis, before the broadcaster posts what the turn has brought.
    func finishTurn() {
        perform(rooms.turnEnded(now: .now))
        metrics.historyCacheBytes.set(UInt64(rooms.cacheBytes))
    }

    private func perform(_ actions: [DurableAction<Message>]) {
        for action in actions {
            switch action {
            case .askEpoch(let slot, let number, let inDoubt):
                reader.askEpoch(slot: slot, number, inDoubt: inDoubt)
            case .ask(let question):
                metrics.historyReads.add(1)
                reader.ask(question)
            case .askEcho(let number, let slots):
                guard !rooms.isCluster else {
                    askEchoes(number, slots)
                    break
                }
                echoes.append(number)
                subscriber.ask()
            case .deliver(let room, let message):
                metrics.historyFilled.add(1)
                broadcaster.add(message, to: workers(room))
            case .tellLost(let lost, let cause):
                metrics.roomsLost[cause.rawValue].add(UInt64(lost.count))
                log.warning(
                    "history lost: clients are told", ["why": "\(cause)", "rooms": "\(lost.count)"])
                broadcaster.addToAll(.historyLost(lost))
            case .resumed(let id, let answers):
                for answer in answers { metrics.resumes[answer.source.rawValue].add(1) }
                broadcaster.add(.resumed(connection: id.connection, answers), to: id.worker)
            }
        }
    }

    private func askEchoes(_ number: UInt64, _ slots: [Int]) {
        for slot in slots {
            let own = slotEchoes.add(number, slot, now: .now)
            reader.publishEcho(
                ControlMessage.slotEchoBytes(run: run, number: own), to: channel, slot: slot)
        }
    }
}

/// A client's question for what it has missed, or for the next part of it.
struct ResumeRequest: Sendable {
    let id: ResumeId
    /// Each with the client's position; nil if it has none.
    let rooms: [(room: RoomId, since: HistoryPosition?)]
}
