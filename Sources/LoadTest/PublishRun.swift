// Publishing during a run, on a thread of its own: it blocks, so its clock is exact and it disturbs no loop.

import EventLoop
import Glibc

/// What was published, and how.
struct PublishOutcome: Sendable {
    var publishedCount = 0
    /// Of these, in the measured span.
    var measuredCount = 0
    var result = PublishResult()
    /// How much later than planned messages were sent, in nanoseconds; with a rate only.
    var lag = Histogram()
    /// Why it ended before its time: the connection was lost, or receivers stopped receiving.
    var failure: String?
    var isConnectionLost = false
}

/// What the publisher's thread needs.
struct PublishJob: Sendable {
    let run: UInt32
    let assignment: RoomAssignment
    let payload: LoadPayload
    let pace: LoadPlan.Pace
    let target: LoadPlan.Target
    /// Ends after this many in the measured span.
    let messageCount: Int?
    let settle: Duration
    /// For each room, how many processes hold receivers of it.
    let participantCounts: [Int]
    let board: SharedBoard
    /// Where the load processes report what is complete.
    let completions: Int32

    /// - Throws: when the target cannot be reached.
    func openLink() throws(PublishFailure) -> any PublishLink {
        switch target {
        case .redis(let url, let channels):
            try RedisPublishLink(url, channels: channels, roomCount: assignment.roomCount, run: run)
        case .durable(let url, let prefix):
            try DurablePublishLink(url, prefix: prefix, roomCount: assignment.roomCount, run: run)
        case .http(let url):
            try HttpPublishLink(url, roomCount: assignment.roomCount, run: run, payloadBytes: payload.bytes)
        }
    }
}

/// Publishes message after message until the board says that it is over.
struct PublishRun {
    /// Bounds the time between a message's stamp and its sending.
    private static let maximumBatchCount = 256
    /// How soon the end of publishing is noticed.
    private static let longestSleep: Int64 = 50_000_000
    private static let pollMilliseconds: Int32 = 50

    private let job: PublishJob
    private let link: any PublishLink
    private var outcome = PublishOutcome()
    /// Messages on their way, and how many processes have still to report.
    private var inFlight: [UInt64: Int] = [:]

    private init(_ job: PublishJob, _ link: any PublishLink) {
        self.job = job
        self.link = link
    }

    /// Publishes; returns when it is over.
    static func run(_ job: PublishJob) -> PublishOutcome {
        do throws(PublishFailure) {
            var run = PublishRun(job, try job.openLink())
            run.publish()
            return run.outcome
        } catch {
            return PublishOutcome(failure: error.description, isConnectionLost: true)
        }
    }

    private mutating func publish() {
        do throws(PublishFailure) {
            switch job.pace {
            case .idle: return
            case .rate(let rate): try publishSteadily(rate)
            case .window(let window): try publishInStep(window)
            }
        } catch {
            outcome.failure = error.description
            outcome.isConnectionLost = true
        }
    }

    private var isOver: Bool {
        job.board.isPublishingOver || job.messageCount.map { outcome.measuredCount >= $0 } ?? false
    }

    private mutating func publishSteadily(_ rate: Double) throws(PublishFailure) {
        var pacer = Pacer(start: MonotonicInstant.now.nanoseconds, ratePerSecond: rate)
        while !isOver {
            let now = MonotonicInstant.now.nanoseconds
            let due = pacer.take(at: now, limit: PublishRun.maximumBatchCount)
            guard !due.isEmpty else {
                PublishRun.sleep(until: min(pacer.nextDue, now + PublishRun.longestSleep))
                continue
            }
            if now >= job.board.measuredFrom {
                for number in due { outcome.lag.record(now - pacer.dueTime(of: number)) }
            }
            try send(due.count)
        }
    }

    private mutating func publishInStep(_ window: Int) throws(PublishFailure) {
        var lastProgress = MonotonicInstant.now
        while !isOver {
            let free = window - inFlight.count
            if free > 0 {
                try send(min(free, PublishRun.maximumBatchCount))
                continue
            }
            if takeCompletions() { lastProgress = .now }
            guard MonotonicInstant.now - lastProgress < job.settle else {
                outcome.failure = "no message was completed by all receivers within \(job.settle)"
                return
            }
        }
    }

    /// Stamps, announces on the board and sends.
    private mutating func send(_ count: Int) throws(PublishFailure) {
        var batch: [(room: Int, payload: [UInt8])] = []
        batch.reserveCapacity(count)
        let now = MonotonicInstant.now.nanoseconds
        let isMeasured = now >= job.board.measuredFrom
        for number in outcome.publishedCount..<outcome.publishedCount + count {
            let room = job.assignment.room(ofMessage: number)
            let sequence = job.assignment.sequence(ofMessage: number)
            let stamp = LoadStamp(
                run: job.run, room: UInt32(room), sequence: UInt32(truncatingIfNeeded: sequence), sentAt: now
            )
            batch.append((room, job.payload.encode(stamp)))
            if case .window = job.pace, job.participantCounts[room] > 0 {
                inFlight[UInt64(room) << 32 | UInt64(sequence)] = job.participantCounts[room]
            }
        }
        outcome.publishedCount += count
        if isMeasured { outcome.measuredCount += count }
        // Before the bytes leave: a connection that opens after this is owed what follows only.
        job.board.publishedCount = outcome.publishedCount
        outcome.result += try link.publish(batch)
    }

    /// Waits for completions for a moment; whether a message is complete.
    private mutating func takeCompletions() -> Bool {
        var descriptor = pollfd(fd: job.completions, events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, PublishRun.pollMilliseconds) > 0 else { return false }
        var records = [UInt64](repeating: 0, count: 512)
        let bytes = records.withUnsafeMutableBytes { read(job.completions, $0.baseAddress, $0.count) }
        var hasProgress = false
        for record in records.prefix(max(0, bytes) / MemoryLayout<UInt64>.size) {
            guard let left = inFlight[record] else { continue }
            hasProgress = true
            inFlight[record] = left > 1 ? left - 1 : nil
        }
        return hasProgress
    }

    private static func sleep(until instant: Int64) {
        var time = timespec(tv_sec: Int(instant / 1_000_000_000), tv_nsec: Int(instant % 1_000_000_000))
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil)
    }
}
