// The notices of a file, streamed through a bounded window for each server. Main thread.
//
//     InputFile → LineReader → Notice → RatePacer → NoticeWindow → Tally
//
// Before every wait (for input, for the pace) the windows are drained, so that nothing lies unsent while
// nothing happens.

import Options
import Redis

/// Publishes the lines of a file and tells what became of them.
struct FilePublisher {
    /// Errors that are told one by one; the rest is counted, so that a wrong file does not flood a terminal.
    static let maximumComplaintCount = 20

    private let job: Job
    private let input: InputFile
    private let targets: [Target]
    private var console: Console
    private var lines = LineReader(maximumBytes: Notice.maximumBytes)
    private var pacer: RatePacer?
    private var progress: Progress
    private var complaintCount = 0
    private let start: ContinuousClock.Instant
    /// Set by the first error under the rule `stop`.
    private var isStopping = false
    private var isInputEnded = false
    private var hasInputFailed = false

    init(job: Job, input: InputFile, targets: [Target], console: Console, progress: Progress) {
        self.job = job
        self.input = input
        self.console = console
        self.progress = progress
        start = .now
        self.targets = targets
        pacer = job.ratePerSecond.map { RatePacer(ratePerSecond: $0) }
    }

    /// Publishes to the end of the file, the first error under `stop`, or a signal; and to none that has failed.
    ///
    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    mutating func run() -> Int32 {
        let ending = publishAll()
        let elapsed = ContinuousClock.now - start
        var isComplete = true
        for target in targets {
            let ending = target.isLive ? ending : .failed
            explain(ending, target)
            isComplete = isComplete && ending == .complete && target.tally.errorCount == 0
            if job.isJson {
                let nextLine = ending == .complete ? nil : target.lastLine + 1
                console.result(
                    target.tally.json(
                        ending: ending, elapsed: elapsed, nextLine: nextLine, target: target.name))
            } else if !job.isQuiet {
                console.result(target.line(target.tally.text(elapsed: elapsed)))
            }
        }
        if let code = Interruption.exitCode { return console.exitCode(code) }
        return console.exitCode(isComplete ? 0 : 1)
    }

    private mutating func publishAll() -> Tally.Ending {
        while !isStopping, isAnyLive, let line = nextLine() { handle(line) }
        drain()
        guard isAnyLive else { return .failed }
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
    private mutating func nextLine() -> LineReader.Line? {
        while Interruption.requested == nil {
            if let line = lines.next() { return line }
            if isInputEnded { return nil }
            showProgress()
            if !input.isReady {
                drain()
                if isStopping || !isAnyLive { return nil }
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

    private mutating func handle(_ line: LineReader.Line) {
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
                    line: bytes, defaultType: job.type, isDurable: job.durability != nil,
                    isCluster: job.isCluster)
            } catch {
                refuse(number, error.description)
                return
            }
        }
        guard pace() else { return }
        for target in targets where target.isLive {
            let error = target.attempt { (window) throws(RedisSessionError) in
                try window.publish(notice, tag: number)
            }
            // A connection that breaks while older answers are awaited leaves this line unsent.
            if error == nil { target.lastLine = number }
            account(target)
            if let error { failed(target, error) }
        }
    }

    private var isAnyLive: Bool { targets.contains { $0.isLive } }

    private mutating func drain() {
        let failures = Target.drain(targets)
        for target in targets { account(target) }
        for (target, error) in failures { failed(target, error) }
    }

    /// What was in flight there has no answer, and it gets nothing more.
    private mutating func failed(_ target: Target, _ error: RedisSessionError) {
        target.tally.unansweredCount = target.window?.unanswered.count ?? 0
        console.complain(target.line(error.description))
    }

    /// Waits until the next notice is due.
    ///
    /// - Returns: false when it must not be sent any more: a signal came, or an answer in flight was an
    ///   error.
    private mutating func pace() -> Bool {
        guard pacer != nil else { return true }
        let now = ContinuousClock.now
        let elapsed = now - start
        guard let pause = pacer?.pause(at: elapsed), pause > .zero else { return true }
        drain()
        showProgress()
        guard !isStopping, isAnyLive else { return false }
        let remaining = now + pause - ContinuousClock.now
        if remaining > .zero { _ = Interruption.wait(forReadable: -1, timeout: remaining) }
        return Interruption.requested == nil
    }

    private mutating func showProgress() {
        let elapsed = ContinuousClock.now - start
        let sentCount = targets.map(\.tally.sentCount).max() ?? 0
        let text = progress.line(elapsed: elapsed, sentCount: sentCount, readBytes: input.readBytes)
        if let text { console.progress(text) }
    }

    /// Counts the answers that have come.
    private mutating func account(_ target: Target) {
        for (number, answer) in target.window?.takeAnswers() ?? [] {
            switch answer {
            case .nodes(let count):
                target.tally.addSent(receiverCount: count)
            case .published: target.tally.addSent(receiverCount: 0)
            case .stored(let stored):
                target.tally.add(stored)
                guard let shortage = stored.shortage else { continue }
                complain(number, target.line("line \(number): stored and pushed, but \(shortage)"), [target])
                isStopping = isStopping || job.errorRule == .stop
            case .refused(let text):
                target.tally.refusedCount += 1
                complain(number, target.line("line \(number): not published: \(text)"), [target])
                isStopping = isStopping || job.errorRule == .stop
            }
        }
    }

    private mutating func refuse(_ number: Int, _ reason: String) {
        let live = targets.filter(\.isLive)
        for target in live {
            target.tally.badLineCount += 1
            target.lastLine = number
        }
        complain(number, "line \(number): \(reason)", live)
        isStopping = isStopping || job.errorRule == .stop
    }

    private mutating func complain(_ line: Int, _ text: String, _ targets: [Target]) {
        complaintCount += 1
        if complaintCount <= Self.maximumComplaintCount { return console.complain(text) }
        // Rarely more than a window holds: under `skip` a whole file may be bad, and then they are only counted.
        for target in targets where target.unnamedLines.count <= PublishWindow.maximumCount {
            target.unnamedLines.append(line)
        }
        if complaintCount == Self.maximumComplaintCount + 1 {
            console.complain("further errors are only counted")
        }
    }

    /// Says what was and what was not sent, when that is not everything.
    private mutating func explain(_ ending: Tally.Ending, _ target: Target) {
        console.wipeBar()
        guard ending != .complete else { return }
        // With what is named here everything before the line to go on from is accounted for.
        let unnamed = target.unnamedLines
        if !unnamed.isEmpty, unnamed.count <= PublishWindow.maximumCount {
            console.complain(target.line("not published: lines \(LineRanges.text(unnamed.sorted()))"))
        }
        let unanswered = target.window?.unanswered ?? []
        if !unanswered.isEmpty {
            console.complain(
                target.line(
                    "no answer for lines \(LineRanges.text(unanswered)): they may have been published or not"
                ))
        }
        console.complain(
            target.line(
                "\(ending.rawValue): nothing after line \(target.lastLine) of \(inputName) was sent; "
                    + "go on with --from-line \(target.lastLine + 1)"))
    }

    private var inputName: String {
        if case .file(let path) = job.source, path != "-" { return path }
        return "stdin"
    }
}
