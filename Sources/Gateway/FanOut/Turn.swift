// What a worker does in each turn of its loop. Loop-confined: belongs to its worker's loop.

import EventLoop

/// The turn of a worker: takes a bounded share of what waits, hands it to the rooms, and writes each member
/// once.
///
/// The loop has called the watchers of the sockets that were ready before this, a bounded number of them,
/// each with a bounded share of its own. What the feed says and what the node says stand in one order with
/// the messages: a connection that is replaced gets what was published before.
final class Turn {
    private let rooms: RoomTable
    private let backlog: Backlog
    private let metrics: WorkerMetrics
    private let log: Log
    private let makeRing: () -> SendRing?
    private lazy var writer = TurnWriter(turn: self, ring: makeRing(), log: log)
    /// What the mailbox has brought and no turn has taken yet.
    private var waiting: [WorkerMessage] = []
    private var nextWaiting = 0
    /// Members whose writes have failed.
    private var failed: [Member] = []

    // Added up during the turn, moved to the metrics at its end.
    var writeCount = 0
    var writtenBytes = 0
    var queueBytes = 0

    /// Something that the feed or the node says beside the messages.
    var onNews: ((WorkerNews) -> Void)?

    /// - Parameters:
    ///   - backlog: what waits for the worker, as its posters see it.
    ///   - makeRing: an io_uring to write through, asked for once; nil writes one by one.
    init(
        rooms: RoomTable, backlog: Backlog, metrics: WorkerMetrics, log: Log,
        makeRing: @escaping () -> SendRing?
    ) {
        self.rooms = rooms
        self.backlog = backlog
        self.metrics = metrics
        self.log = log
        self.makeRing = makeRing
    }

    /// Keeps what the mailbox has handed over for the turn's end.
    func add(_ messages: [WorkerMessage]) {
        rooms.loop.assertOnThread()
        waiting.append(contentsOf: messages)
    }

    /// The turn; returns whether messages are left, so that the next one begins at once.
    func run() -> Bool {
        rooms.loop.assertOnThread()
        takeShare()
        flush()
        finishFailures()
        countWrites()
        return nextWaiting < waiting.count
    }

    private func takeShare() {
        var bytesLeft = Limits.turnBytes
        var takenBytes = 0
        var isRoomFull = false
        while nextWaiting < waiting.count, bytesLeft > 0, !isRoomFull {
            let next = waiting[nextWaiting]
            nextWaiting += 1
            switch next {
            case .deliver(let message): isRoomFull = rooms.deliver(message)
            case .news(let news): onNews?(news)
            }
            takenBytes += next.memoryBytes
            bytesLeft -= max(next.memoryBytes, SharedBytes.overheadBytes)
        }
        backlog.subtract(takenBytes)
        forgetTaken()
    }

    /// A worker that never quite catches up must not keep what it has delivered.
    private func forgetTaken() {
        if nextWaiting == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 4096)
            nextWaiting = 0
        } else if nextWaiting > waiting.count / 2 {
            waiting.removeFirst(nextWaiting)
            nextWaiting = 0
        }
    }

    /// What the turn has brought so far leaves now: at its end, and before a member gets something else.
    func flush() {
        rooms.flush(through: writer)
    }

    /// Writes bytes of their own to members, behind what the turn has brought so far.
    func write(to members: some Sequence<Member>, _ bytes: (Member) -> SharedBytes?) {
        rooms.loop.assertOnThread()
        flush()
        for member in members {
            guard let bytes = bytes(member) else { continue }
            writer.hold(bytes)
            writer.write(bytes, to: member)
        }
        writer.finish()
    }

    /// Has `turnEnded` of a member called when no one walks through rooms any more.
    func finishLater(_ member: Member) {
        rooms.loop.assertOnThread()
        failed.append(member)
    }

    private func finishFailures() {
        while !failed.isEmpty {
            let batch = failed
            failed = []
            for member in batch { member.turnEnded() }
        }
    }

    private func countWrites() {
        if writeCount > 0 {
            metrics.writes.add(UInt64(writeCount))
            metrics.bytesWritten.add(UInt64(writtenBytes))
            writeCount = 0
            writtenBytes = 0
        }
        metrics.queueBytes.set(UInt64(max(0, queueBytes)))
    }
}
