// All durable rooms of a node: their feeds, the reads from Redis, and the epoch. Pure; lives on the feed's
// loop.

import EventLoop
import RedisSchema

/// Keeps the history of each room that an opted-in client is or was in, and answers clients that resume.
///
/// It is driven by events of two connections to one Redis: the *subscriber*, which brings the messages, and
/// the *reader*, which brings what is read from streams. Every method that returns actions has them done at
/// once, in their order, before the next event; `turnEnded` ends a turn of the loop.
///
///     subscriberUp, subscribed, subscriberLost, echoAnswered      the subscriber's link
///     readerUp, readerLost, epochAnswered, …Answered, refused      the reader's link
///     serversChanged, failed, epochFailed, check                   the reader's links in a cluster
///     accept                                                       a message with a durable head
///     track, forget, resume, cancel                                rooms and clients
///
/// Nothing is asked while the two links are at different Redis servers, or while the epoch is unknown or in
/// doubt.
///
/// In a cluster the epoch and the reader's link are those of a room's `HistorySlot`, and messages come from
/// any master to the subscriber over the bus, which may bring them late, or lose the last ones
/// (HistoryCheck.swift).
struct DurableRooms<Frame: Equatable> {
    struct Settings {
        /// The shortest life of a stream behind its last notice.
        var historyAge: Duration
        /// The memory of all rings together.
        var cacheBytes: Int
        /// The memory of all messages that wait for proofs.
        var maximumHeldBytes = 64 << 20
        /// Entries that all reads under way may bring: with the longest notices 12.6 MB, below the 16 MB at
        /// which Redis cuts a connection that does not read.
        var maximumReadEntryCount = 192
        /// Entries of a room's first read: its position, and what a short outage has missed.
        var shortReadCount = 8
        /// Entries of further reads, and of those for clients.
        var longReadCount = 64
        /// What one part of a replay holds.
        var maximumReplayBytes = 256 * 1024
        /// The slot of a room in a cluster; nil with one Redis.
        var slotOf: ((RoomId) -> Int)?
        /// In so many calls of `check` each room of a cluster is compared with Redis once,
        var checkRoundCount = 60
        /// unless that were more than this at a time.
        var maximumCheckCount = 256
    }

    /// A read behind a client's position, shared by all clients that ask for it.
    struct ClientRead {
        enum Step {
            case wanted
            case asked(UInt64)
            case answered(HistoryRead<Frame>)
        }
        var step = Step.wanted
        /// The reply that did not prove the position by itself.
        var undecided: HistoryProof<Frame>?
        /// Clients that need it.
        var users: Set<ResumeId> = []
    }

    /// An object, because to read one field of a structure in a dictionary copies all of it.
    final class Room {
        let slot: HistorySlot<Frame>
        var feed: RoomFeed<Frame>
        /// Whether others with a loss to tell wait for it.
        var awaitsTail: Bool { feed.awaitsTail && !isRefused && !slot.isCutOff }
        /// Whether it was counted as one that does.
        var isAwaited = false
        /// Whether it waits in `readQueue`.
        var isQueued = false
        /// Why its position was lost the last time.
        var lossCause = LossCause.epoch
        /// Whether Redis has refused to read it.
        var isRefused = false
        var reads: [NoticeId: ClientRead] = [:]
        /// Clients to look at again when the room is live or its position has moved.
        var waiting: [ResumeId] = []
        /// The logarithm of the evictable bytes of its ring.
        var sizeClass = 0
        /// Its comparisons with Redis; only in a cluster.
        var check = RoomCheck()

        init(in slot: HistorySlot<Frame>, isCluster: Bool) {
            self.slot = slot
            feed = RoomFeed(isCluster: isCluster)
        }
    }

    enum ReadUser {
        case room(RoomId)
        case client(RoomId, NoticeId)
        case check(RoomId, RoomCheck.Question)

        var room: RoomId {
            switch self {
            case .room(let room), .client(let room, _), .check(let room, _): room
            }
        }
    }

    let settings: Settings
    let historyAge: Int64
    var rooms: [RoomId: Room] = [:]

    // The links.
    private(set) var isSubscriberUp = false
    var subscriberRun: String?
    var readerRun: String?
    /// By number: of a cluster those with tracked rooms; of one Redis the only one, 0.
    var slots: [Int: HistorySlot<Frame>] = [:]
    var epochQuestionCount: UInt64 = 0
    /// Whose epochs are asked for when the turn ends.
    var slotsWithoutEpoch: [HistorySlot<Frame>] = []
    /// Whose clients begin anew when the turn ends.
    var restartedSlots: Set<Int> = []
    var echoCount: UInt64 = 0
    var answeredEchoCount: UInt64 = 0
    var isEchoNeeded = false
    /// With starting rooms that need the echo.
    var echoSlots: Set<Int> = []

    // Reads (DurableReads.swift).
    var readQueue = Fifo<QueuedHistoryRead>()
    var reads: [UInt64: (user: ReadUser, entryCount: Int)] = [:]
    var ticketCount: UInt64 = 0
    var readEntryCount = 0

    // Losses: a client hears of all its rooms at once, so they are told when no tail is awaited any more.
    private(set) var awaitedTailCount = 0
    var lostRooms: [RoomId] = []

    // Rooms that Redis refuses to read.
    var refusedRooms: [RoomId] = []

    // A cluster (HistoryCheck.swift).
    /// Where a slot is read at present.
    var serverOf: (Int) -> HistoryServer? = { _ in nil }
    /// The slot whose epoch speaks for all slots of a server.
    var witnesses: [HistoryServer: HistorySlot<Frame>] = [:]
    var failedSlots: Set<Int> = []
    /// Rooms in the order in which they are compared with Redis.
    var checkedRooms = Fifo<(room: RoomId, number: UInt64)>()
    var trackedCount: UInt64 = 0

    // Clients (PendingResume.swift).
    var resumes: [ResumeId: PendingResume] = [:]
    var dueResumes: [ResumeId] = []
    var waitingForEcho = Fifo<(number: UInt64, id: ResumeId)>()

    // Memory.
    private var heldBytes = 0
    private(set) var cacheBytes = 0
    private var sizeClasses = Array(repeating: Set<RoomId>(), count: Int.bitWidth + 1)

    init(_ settings: Settings) {
        self.settings = settings
        historyAge = settings.historyAge.wholeMilliseconds
        if settings.slotOf == nil { slots[0] = HistorySlot(number: 0, questionCount: 0) }
    }

    var isCluster: Bool { settings.slotOf != nil }

    /// The epoch of a tracked room; of one Redis that of all rooms.
    func epoch(of room: RoomId) -> HistoryEpoch? {
        isCluster ? rooms[room]?.slot.epoch : slots[0]?.epoch
    }

    /// In a cluster the subscriber is anywhere.
    func canRead(_ slot: HistorySlot<Frame>) -> Bool {
        slot.isEpochSure && isSubscriberUp
            && (isCluster || subscriberRun != nil && readerRun == subscriberRun)
    }

    // MARK: Rooms

    /// Keeps a room's history from now on; nothing if it does already.
    ///
    /// - Parameter isSubscribed: whether Redis has confirmed the room on the present link.
    mutating func track(_ room: RoomId, isSubscribed: Bool) {
        guard rooms[room] == nil else { return }
        let entry = Room(in: slot(of: room), isCluster: isCluster)
        rooms[room] = entry
        entry.slot.rooms.insert(room)
        if isCluster { willCheck(room, entry) }
        if isSubscribed { subscribed(room) }
    }

    /// The room is unsubscribed: its history is forgotten. No client may be in it or resume into it.
    mutating func forget(_ room: RoomId) {
        guard let entry = rooms.removeValue(forKey: room) else { return }
        heldBytes -= entry.feed.heldBytes
        cacheBytes -= entry.feed.ring.memoryBytes
        if entry.isAwaited { awaitedTailCount -= 1 }
        sizeClasses[entry.sizeClass].remove(room)
        wake(entry.waiting)
        entry.slot.rooms.remove(room)
        forgetIfUnused(entry.slot)
    }

    /// Changes a room, and accounts for what it then needs and holds.
    @discardableResult
    mutating func update<Result>(_ room: RoomId, _ change: (Room) -> Result) -> Result? {
        guard let entry = rooms[room] else { return nil }
        let before = entry.feed.position
        let (heldBefore, cachedBefore) = (entry.feed.heldBytes, entry.feed.ring.memoryBytes)
        let result = change(entry)
        heldBytes += entry.feed.heldBytes - heldBefore
        cacheBytes += entry.feed.ring.memoryBytes - cachedBefore
        countAwaitedTail(entry)
        resized(room, entry)
        needsRead(room, entry)
        if entry.feed.state == .live || entry.feed.position != before { wakeWaiting(entry) }
        return result
    }

    mutating func countAwaitedTail(_ entry: Room) {
        guard entry.awaitsTail != entry.isAwaited else { return }
        entry.isAwaited.toggle()
        awaitedTailCount += entry.isAwaited ? 1 : -1
    }

    private mutating func needsRead(_ room: RoomId, _ entry: Room) {
        if entry.check.isNeeded { queueCheck(room, entry) }
        guard !entry.isQueued, !entry.isRefused, entry.feed.need != nil else { return }
        entry.isQueued = true
        readQueue.append(.room(room))
    }

    private mutating func wakeWaiting(_ entry: Room) {
        guard !entry.waiting.isEmpty else { return }
        let waiting = entry.waiting
        entry.waiting = []
        wake(waiting)
    }

    // MARK: The road

    /// A message with a durable head from a channel.
    ///
    /// - Returns: whether it is to be delivered now; nil if the room is not tracked, and it is as any other.
    /// - Complexity: O(1), amortised.
    mutating func accept(_ notice: HistoryEntry<Frame>, in room: RoomId) -> RoomFeed<Frame>.Acceptance? {
        guard let entry = rooms[room] else { return nil }
        let cachedBefore = entry.feed.ring.memoryBytes
        let acceptance = entry.feed.accept(notice)
        switch acceptance {
        case .drop: break
        case .deliver:
            cacheBytes += entry.feed.ring.memoryBytes - cachedBefore
            resized(room, entry)
            wakeWaiting(entry)
            evict()
        case .hold:
            heldBytes += notice.memoryBytes
            if heldBytes > settings.maximumHeldBytes {
                heldBytes -= entry.feed.heldBytes
                entry.feed.dropHeld()
                countAwaitedTail(entry)
            }
            needsRead(room, entry)
        }
        return acceptance
    }

    // MARK: The subscriber's link

    /// The subscriber is connected, and nothing is subscribed yet.
    ///
    /// - Parameter run: the server's `run_id`; says nothing in a cluster.
    mutating func subscriberUp(run: String) {
        isSubscriberUp = true
        subscriberRun = run
        for slot in slots.values { unpark(slot) }
        wakeAll()
    }

    /// Redis has confirmed a room on the present link.
    mutating func subscribed(_ room: RoomId) {
        update(room) { $0.feed.subscribed() }
    }

    /// The subscriber's link is lost.
    ///
    /// - Parameter completeUntil: when the last question that was answered on it was sent.
    mutating func subscriberLost(completeUntil: MonotonicInstant) {
        isSubscriberUp = false
        subscriberRun = nil
        isEchoNeeded = false
        echoSlots = []
        for slot in slots.values { slot.startingRooms.removeAll() }
        for room in Array(rooms.keys) {
            update(room) { $0.feed.linkLost(completeUntil: completeUntil) }
        }
        for slot in slots.values { restartResumes(of: slot) }
    }

    /// An echo has come on the present link.
    ///
    /// - Parameter slot: of a cluster: it was published at the slot's master.
    mutating func echoAnswered(_ number: UInt64, slot: Int = 0) {
        while let first = slots[slot]?.startingRooms.first, first.number <= number {
            slots[slot]?.startingRooms.takeFirst()
            update(first.room) { $0.feed.echoAnswered(number: first.number) }
        }
        if isCluster { return }
        answeredEchoCount = max(answeredEchoCount, number)
        while let first = waitingForEcho.first, first.number <= number {
            waitingForEcho.takeFirst()
            wake([first.id])
        }
    }

    // MARK: The end of a turn

    /// Answers clients, and asks what is to be asked.
    ///
    /// - Parameter now: the node's clock, not later than the questions are sent.
    mutating func turnEnded(now: MonotonicInstant) -> [DurableAction<Frame>] {
        var actions: [DurableAction<Frame>] = []
        if !restartedSlots.isEmpty { restartResumes() }
        if awaitedTailCount == 0, !lostRooms.isEmpty { tellLosses(&actions) }
        answerResumes(&actions)
        askReads(&actions, now)
        askEpochs(&actions)
        if isEchoNeeded, isSubscriberUp {
            isEchoNeeded = false
            echoCount += 1
            actions.append(.askEcho(echoCount, slots: Array(echoSlots)))
            echoSlots = []
        }
        return actions
    }

    // MARK: Memory

    private mutating func resized(_ room: RoomId, _ entry: Room) {
        let bytes = entry.feed.ring.evictableBytes
        let sizeClass = Int.bitWidth - bytes.leadingZeroBitCount
        guard sizeClass != entry.sizeClass else { return }
        sizeClasses[entry.sizeClass].remove(room)
        if sizeClass > 0 { sizeClasses[sizeClass].insert(room) }
        entry.sizeClass = sizeClass
    }

    /// The oldest frames of the fullest rooms go first; fullest within a factor of two, so that no message
    /// has to sort rooms.
    mutating func evict() {
        while cacheBytes > settings.cacheBytes,
            let room = sizeClasses.last(where: { !$0.isEmpty })?.first
        {
            update(room) { $0.feed.evictOldest() }
        }
    }
}
