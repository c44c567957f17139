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
///     accept                                                       a message with a durable head
///     track, forget, resume, cancel                                rooms and clients
///
/// Nothing is asked while the two links are at different Redis servers, or while the epoch is unknown or in
/// doubt.
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
        var feed = RoomFeed<Frame>()
        /// Whether others with a loss to tell wait for it.
        var awaitsTail: Bool { feed.awaitsTail && !isRefused }
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
    }

    enum QueuedRead: Equatable {
        case room(RoomId)
        case client(RoomId, NoticeId)
    }
    enum ReadUser {
        case room(RoomId)
        case client(RoomId, NoticeId)
    }

    let settings: Settings
    let historyAge: Int64
    var rooms: [RoomId: Room] = [:]

    // The links.
    private(set) var isSubscriberUp = false
    var subscriberRun: String?
    var readerRun: String?
    /// The epoch that holds; nil before it was read for the first time.
    var epoch: HistoryEpoch?
    /// Whether the present reader has read it.
    var isEpochRead = false
    /// Whether a room has found that Redis has lost data under it. Outlives the reader: it is asked again
    /// until the epoch is another.
    var isEpochInDoubt = false
    var epochQuestionCount: UInt64 = 0
    var answeredEpochQuestionCount: UInt64 = 0
    var isEpochNeeded = false
    var echoCount: UInt64 = 0
    var answeredEchoCount: UInt64 = 0
    var isEchoNeeded = false
    /// Rooms that start behind an echo.
    var startingRooms = Fifo<(number: UInt64, room: RoomId)>()

    // Reads (DurableReads.swift).
    var readQueue = Fifo<QueuedRead>()
    var reads: [UInt64: (user: ReadUser, entryCount: Int)] = [:]
    var ticketCount: UInt64 = 0
    var readEntryCount = 0

    // Losses: a client hears of all its rooms at once, so they are told when no tail is awaited any more.
    private(set) var awaitedTailCount = 0
    var lostRooms: [RoomId] = []

    // Clients (PendingResume.swift).
    var resumes: [ResumeId: PendingResume] = [:]
    var dueResumes: [ResumeId] = []
    var waitingForEpoch: [ResumeId] = []
    var waitingForEcho = Fifo<(number: UInt64, id: ResumeId)>()

    // Memory.
    private var heldBytes = 0
    private(set) var cacheBytes = 0
    private var sizeClasses = Array(repeating: Set<RoomId>(), count: Int.bitWidth + 1)

    init(_ settings: Settings) {
        self.settings = settings
        historyAge = settings.historyAge.wholeMilliseconds
    }

    /// Whether clients can be answered: the epoch is that of the Redis that the reader is at, as far as the
    /// node knows.
    var isEpochSure: Bool { epoch != nil && isEpochRead && !isEpochInDoubt }

    var canRead: Bool {
        isEpochSure && isSubscriberUp && subscriberRun != nil && readerRun == subscriberRun
    }

    // MARK: Rooms

    /// Keeps a room's history from now on; nothing if it does already.
    ///
    /// - Parameter isSubscribed: whether Redis has confirmed the room on the present link.
    mutating func track(_ room: RoomId, isSubscribed: Bool) {
        guard rooms[room] == nil else { return }
        rooms[room] = Room()
        if isSubscribed { subscribed(room) }
    }

    /// The room is unsubscribed: its history is forgotten. No client may be in it or resume into it.
    mutating func forget(_ room: RoomId) {
        guard let entry = rooms.removeValue(forKey: room) else { return }
        heldBytes -= entry.feed.heldBytes
        cacheBytes -= entry.feed.ring.memoryBytes
        if entry.awaitsTail { awaitedTailCount -= 1 }
        sizeClasses[entry.sizeClass].remove(room)
        wake(entry.waiting)
    }

    /// Changes a room, and accounts for what it then needs and holds.
    @discardableResult
    mutating func update<Result>(_ room: RoomId, _ change: (Room) -> Result) -> Result? {
        guard let entry = rooms[room] else { return nil }
        let before = entry.feed.position
        let (heldBefore, cachedBefore) = (entry.feed.heldBytes, entry.feed.ring.memoryBytes)
        let awaitedBefore = entry.awaitsTail
        let result = change(entry)
        heldBytes += entry.feed.heldBytes - heldBefore
        cacheBytes += entry.feed.ring.memoryBytes - cachedBefore
        countAwaitedTail(before: awaitedBefore, entry)
        resized(room, entry)
        needsRead(room, entry)
        if entry.feed.state == .live || entry.feed.position != before { wakeWaiting(entry) }
        return result
    }

    private mutating func countAwaitedTail(before: Bool, _ entry: Room) {
        let after = entry.awaitsTail
        if after != before { awaitedTailCount += after ? 1 : -1 }
    }

    private mutating func needsRead(_ room: RoomId, _ entry: Room) {
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
                let awaitedBefore = entry.awaitsTail
                heldBytes -= entry.feed.heldBytes
                entry.feed.dropHeld()
                countAwaitedTail(before: awaitedBefore, entry)
            }
            needsRead(room, entry)
        }
        return acceptance
    }

    // MARK: The subscriber's link

    /// The subscriber is connected, and nothing is subscribed yet.
    ///
    /// - Parameter run: the server's `run_id`.
    mutating func subscriberUp(run: String) {
        isSubscriberUp = true
        subscriberRun = run
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
        startingRooms.removeAll()
        for room in Array(rooms.keys) {
            update(room) { $0.feed.linkLost(completeUntil: completeUntil) }
        }
        restartResumes()
    }

    /// An echo has come on the present link.
    mutating func echoAnswered(_ number: UInt64) {
        answeredEchoCount = max(answeredEchoCount, number)
        while let first = startingRooms.first, first.number <= number {
            startingRooms.takeFirst()
            update(first.room) { $0.feed.echoAnswered(number: first.number) }
        }
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
        if awaitedTailCount == 0, !lostRooms.isEmpty { tellLosses(&actions) }
        answerResumes(&actions)
        askReads(&actions, now)
        if isEpochNeeded, readerRun != nil { actions.append(askEpoch()) }
        if isEchoNeeded, isSubscriberUp {
            isEchoNeeded = false
            echoCount += 1
            actions.append(.askEcho(echoCount))
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
