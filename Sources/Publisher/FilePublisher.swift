// The notices of a file, streamed through a bounded window. Main thread.
//
//     InputFile → LineReader → Notice → RatePacer → NoticeWindow → Tally
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
    private let window: any NoticeWindow
    private var console: Console
    private var lines = LineReader(maximumBytes: Notice.maximumBytes)
    private var pacer: RatePacer?
    private var progress: Progress
    private var tally = Tally()
    private var complaintCount = 0
    /// Lines that were refused or bad and are not named, since there were too many. Rarely more than a
    /// window holds: under `skip` a whole file may be bad, and then they are only counted.
    private var unnamedLines: [Int] = []
    private let start: ContinuousClock.Instant
    /// Set by the first error under the rule `stop`.
    private var isStopping = false
    /// The last line that was sent or found bad, or that was passed over.
    private var lastLine: Int
    private var isInputEnded = false
    private var hasInputFailed = false

    init(job: Job, input: InputFile, window: any NoticeWindow, console: Console, progress: Progress) {
        self.job = job
        self.input = input
        self.console = console
        self.progress = progress
        start = .now
        lastLine = job.firstLine - 1
        self.window = window
        tally.isDurable = job.durability != nil
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
            let nextLine = ending == .complete ? nil : lastLine + 1
            console.result(tally.json(ending: ending, elapsed: elapsed, nextLine: nextLine))
        } else if !job.isQuiet {
            console.result(tally.text(elapsed: elapsed))
        }
        if let code = Interruption.exitCode { return console.exitCode(code) }
        return console.exitCode(ending == .complete && tally.errorCount == 0 ? 0 : 1)
    }

    private mutating func publishAll() -> Tally.Ending {
        do {
            while !isStopping, let line = try nextLine() {
                try handle(line)
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
        // One more than there are is what an interruption behind the last line has named.
        if !hasInputFailed, lines.lineCount < job.firstLine - 1 {
            console.complain(
                "\(inputName) has \(lines.lineCount) lines only, expected --from-line within them")
            return .failed
        }
        return hasInputFailed ? .failed : .complete
    }

    /// The next line; nil at the end of the input, after a signal, and when the input fails.
    private mutating func nextLine() throws(RedisSessionError) -> LineReader.Line? {
        while Interruption.requested == nil {
            if let line = lines.next() { return line }
            if isInputEnded { return nil }
            showProgress()
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

    private mutating func handle(_ line: LineReader.Line) throws(RedisSessionError) {
        guard line.number >= job.firstLine else { return }
        let number: Int
        let notice: Notice
        switch line {
        case .tooLong(let tooLong):
            refuse(tooLong, "longer than \(Notice.maximumBytes) bytes")
            return
        case .text(let textNumber, let bytes):
            number = textNumber
            do {
                notice = try Notice(
                    line: bytes, defaultType: job.type, isDurable: job.durability != nil)
            } catch {
                refuse(number, error.description)
                return
            }
        }
        guard try pace() else { return }
        try window.publish(notice, tag: number)
        // Behind the call: a connection that breaks while older answers are awaited leaves this line unsent.
        lastLine = number
        account()
    }

    /// Waits until the next notice is due.
    ///
    /// - Returns: false when it must not be sent any more: a signal came, or an answer in flight was an
    ///   error.
    private mutating func pace() throws(RedisSessionError) -> Bool {
        guard pacer != nil else { return true }
        let now = ContinuousClock.now
        let elapsed = now - start
        guard let pause = pacer?.pause(at: elapsed), pause > .zero else { return true }
        try window.drain()
        account()
        showProgress()
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
                tally.addSent(receiverCount: count)
            case .stored(let stored):
                tally.add(stored)
                guard let shortage = stored.shortage else { continue }
                complain(number, "stored and pushed, but \(shortage)")
                isStopping = isStopping || job.errorRule == .stop
            case .refused(let text):
                tally.refusedCount += 1
                complain(number, "not published: \(text)")
                isStopping = isStopping || job.errorRule == .stop
            }
        }
    }

    private mutating func refuse(_ number: Int, _ reason: String) {
        tally.badLineCount += 1
        lastLine = number
        complain(number, reason)
        isStopping = isStopping || job.errorRule == .stop
    }

    private mutating func complain(_ line: Int, _ text: String) {
        complaintCount += 1
        if complaintCount <= Self.maximumComplaintCount { return console.complain("line \(line): \(text)") }
        if unnamedLines.count <= PublishWindow.maximumCount { unnamedLines.append(line) }
        if complaintCount == Self.maximumComplaintCount + 1 {
            console.complain("further errors are only counted")
        }
    }

    /// Says what was and what was not sent, when that is not everything.
    private mutating func explain(_ ending: Tally.Ending) {
        console.wipeBar()
        guard ending != .complete else { return }
        // With what is named here everything before the line to go on from is accounted for.
        if !unnamedLines.isEmpty, unnamedLines.count <= PublishWindow.maximumCount {
            console.complain("not published: lines \(LineRanges.text(unnamedLines.sorted()))")
        }
        let unanswered = window.unanswered
        if !unanswered.isEmpty {
            console.complain(
                "no answer for lines \(LineRanges.text(unanswered)): they may have been published or not")
        }
        console.complain(
            "\(ending.rawValue): nothing after line \(lastLine) of \(inputName) was sent; "
                + "go on with --from-line \(lastLine + 1)")
    }

    private var inputName: String {
        if case .file(let path) = job.source, path != "-" { return path }
        return "stdin"
    }
}
