// The notices of a file, streamed through a bounded window. Main thread.
//
//     InputFile → LineReader → Notice → RatePacer → PublishWindow → Tally
//
// Before every wait (for input, for the pace) the window is drained, so that nothing lies unsent while
// nothing happens.

import Options
import Redis

/// Publishes the lines of a file and tells what became of them.
struct FilePublisher {
    /// Errors that are told one by one; the rest is counted, so that a wrong file does not flood a terminal.
    static let maximumComplaintCount = 20

    private let job: Job
    private let input: InputFile
    private var window: PublishWindow<Int>
    private var console: Console
    private var lines = LineReader(maximumBytes: Notice.maximumBytes)
    private var pacer: RatePacer?
    private var progress: Progress
    private var tally = Tally()
    private var complaintCount = 0
    private let start: ContinuousClock.Instant
    /// Set by the first error under the rule `stop`.
    private var isStopping = false
    /// The last line that was sent or found bad.
    private var lastLine = 0
    private var isInputEnded = false
    private var hasInputFailed = false

    init(job: Job, input: InputFile, redis: RedisPipeline, console: Console, progress: Progress) {
        self.job = job
        self.input = input
        self.console = console
        self.progress = progress
        start = .now
        window = PublishWindow(redis: redis)
        pacer = job.ratePerSecond.map { RatePacer(ratePerSecond: $0) }
    }

    /// Publishes to the end of the file, the first error under `stop`, or a signal.
    ///
    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    mutating func run() -> Int32 {
        let ending = publishAll()
        let elapsed = ContinuousClock.now - start
        explain(ending)
        if job.isJson {
            console.result(tally.json(ending: ending, elapsed: elapsed))
        } else if !job.isQuiet {
            console.result(tally.text(elapsed: elapsed))
        }
        if let code = Interruption.exitCode { return code }
        return ending == .complete && tally.errorCount == 0 ? 0 : 1
    }

    private mutating func publishAll() -> Tally.Ending {
        do {
            while !isStopping, let line = try nextLine() {
                try handle(line)
                showProgress()
            }
            try window.drain()
            account()
        } catch {
            account()
            tally.unansweredCount = window.unanswered.count
            console.complain(error.description)
            return .failed
        }
        if isStopping { return .stopped }
        if Interruption.requested != nil { return .interrupted }
        return hasInputFailed ? .failed : .complete
    }

    /// The next line; nil at the end of the input, after a signal, and when the input fails.
    private mutating func nextLine() throws(RedisPipelineError) -> LineReader.Line? {
        while Interruption.requested == nil {
            if let line = lines.next() { return line }
            if isInputEnded { return nil }
            if !input.isReady {
                try window.drain()
                account()
                if isStopping { return nil }
            }
            do {
                guard case .bytes(let bytes) = try input.read() else { return nil }
                isInputEnded = bytes.isEmpty
                lines.append(bytes)
            } catch {
                hasInputFailed = true
                console.complain("cannot read \(inputName): \(error)")
                return nil
            }
        }
        return nil
    }

    private mutating func handle(_ line: LineReader.Line) throws(RedisPipelineError) {
        let number: Int
        let notice: Notice
        switch line {
        case .tooLong(let tooLong):
            refuse(tooLong, "longer than \(Notice.maximumBytes) bytes")
            return
        case .text(let textNumber, let bytes):
            number = textNumber
            do {
                notice = try Notice(line: bytes, defaultType: job.type)
            } catch {
                refuse(number, error.description)
                return
            }
        }
        guard try pace() else { return }
        lastLine = number
        try window.publish(notice.payload, to: job.channels.room(notice.room), tag: number)
        account()
    }

    /// Waits until the next notice is due.
    ///
    /// - Returns: false when it must not be sent any more: a signal came, or an answer in flight was an
    ///   error.
    private mutating func pace() throws(RedisPipelineError) -> Bool {
        let now = ContinuousClock.now
        let elapsed = now - start
        guard let pause = pacer?.pause(at: elapsed), pause > .zero else { return true }
        try window.drain()
        account()
        guard !isStopping else { return false }
        let remaining = now + pause - ContinuousClock.now
        if remaining > .zero { _ = Interruption.wait(forReadable: -1, timeout: remaining) }
        return Interruption.requested == nil
    }

    private mutating func showProgress() {
        let elapsed = ContinuousClock.now - start
        let text = progress.line(elapsed: elapsed, sentCount: tally.sentCount, readBytes: input.readBytes)
        if let text { console.progress(text) }
    }

    /// Counts the answers that have come.
    private mutating func account() {
        for (number, answer) in window.takeAnswers() {
            switch answer {
            case .nodes(let count):
                tally.sentCount += 1
                tally.receiverCount += count
            case .refused(let text):
                tally.refusedCount += 1
                complain("line \(number): not published: \(text)")
                isStopping = isStopping || job.errorRule == .stop
            }
        }
    }

    private mutating func refuse(_ number: Int, _ reason: String) {
        tally.badLineCount += 1
        lastLine = number
        complain("line \(number): \(reason)")
        isStopping = isStopping || job.errorRule == .stop
    }

    private mutating func complain(_ text: String) {
        complaintCount += 1
        if complaintCount > Self.maximumComplaintCount + 1 { return }
        let isLast = complaintCount > Self.maximumComplaintCount
        console.complain(isLast ? "further errors are only counted" : text)
    }

    /// Says what was and what was not sent, when that is not everything.
    private mutating func explain(_ ending: Tally.Ending) {
        console.wipeBar()
        let unanswered = window.unanswered
        if let first = unanswered.first, let last = unanswered.last {
            console.complain(
                "no answer for \(unanswered.count) notices of lines \(first) to \(last): "
                    + "published or not, nobody knows")
        }
        switch ending {
        case .complete: break
        case .stopped: console.complain("stopped: nothing behind line \(lastLine) of \(inputName) was sent")
        case .interrupted:
            console.complain("interrupted: nothing behind line \(lastLine) of \(inputName) was sent")
        case .failed: console.complain("failed: nothing behind line \(lastLine) of \(inputName) was sent")
        }
    }

    private var inputName: String {
        if case .file(let path) = job.source, path != "-" { return path }
        return "stdin"
    }
}
