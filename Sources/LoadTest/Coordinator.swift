// A run from start to end: starts the load processes, leads them and the publisher through the phases,
// measures the servers, and adds everything up. Main thread, one loop.

import EventLoop
import Glibc
import Options
import System

/// Leads one run.
///
///     preparing → connecting → warming → measuring → publishing ends → settling → done
///     any       → done         a load process is gone, a phase takes too long, or interrupted early
final class Coordinator {
    enum Phase: String { case preparing, connecting, warming, measuring, ending, settling, done }

    private static let progressInterval = Duration.seconds(1)
    /// On top of the time that a phase needs by its settings.
    private static let patience = Duration.seconds(30)
    /// A second; gateways that postpone tokens and handshakes take more of them all the same.
    private static let slowestRate = 200

    private let plan: LoadPlan
    private let runNumber: UInt32
    private let loop: EventLoop
    private let board: SharedBoard
    private let completions: (read: Int32, write: Int32)
    private let publisher = Mailbox<PublishOutcome>()
    private var processes: [LoadProcess] = []
    private var controls: [JsonLines<HolderNews>] = []
    private var signals: [SignalWatcher] = []
    private var phaseTimer: Timer?
    private var progressTimer: Timer?
    private let progressStyle: ProgressStyle
    private var console: Console
    private var nextProgress = MonotonicInstant.now

    private var phase = Phase.preparing
    private var waitingCount = 0
    private var connectReports: [Int: ConnectReport] = [:]
    private var settleReports: [HolderReport] = []
    private var report: RunReport
    private var lastDelivered = 0
    private var connectedAt = MonotonicInstant.now
    private var measuredAt = MonotonicInstant.now
    private var publishedUntil = MonotonicInstant.now
    private var interruptedAt = MonotonicInstant.now
    private var before: UsageSample
    private var connected: UsageSample
    private var measureStart: UsageSample
    private var toolStart: UsageSample

    /// - Throws: when the system has no descriptor, memory or thread left.
    init(_ plan: LoadPlan) throws(SystemError) {
        self.plan = plan
        runNumber = UInt32.random(in: 1...UInt32.max)
        loop = try EventLoop()
        board = try SharedBoard(processCount: plan.processCount)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError(errno, "pipe") }
        for end in ends { LoadProcess.closeOnExec(end) }
        completions = (ends[0], ends[1])
        progressStyle = ProgressStyle(isQuiet: plan.isQuiet)
        console = Console(of: "loadtest", progressStyle: progressStyle)
        report = RunReport(plan, run: runNumber)
        before = UsageSample(pids: plan.pids)
        (connected, measureStart, toolStart) = (before, before, UsageSample(pids: []))
    }

    /// Runs to the end and leaves no process behind.
    ///
    /// - Throws: when a load process cannot be started.
    func run() throws(SystemError) -> RunReport {
        defer { for process in processes { process.end() } }
        guard canPublish() else { return report }
        publisher.open(on: loop) { [unowned self] in self.publishingEnded($0[0]) }
        // A terminal that goes away ends the run, unless nohup(1) keeps it.
        for number in [SIGINT, SIGTERM] + (EndSignals.isIgnored(SIGHUP) ? [] : [SIGHUP]) {
            signals.append(SignalWatcher(on: loop, signal: number) { [unowned self] in self.interrupt() })
        }
        phaseTimer = Timer(on: loop) { [unowned self] in self.phaseTimeIsOver() }
        progressTimer = Timer(on: loop, repeating: true) { [unowned self] in self.showProgress() }
        progressTimer?.start(after: Coordinator.progressInterval)
        for number in 0..<plan.processCount { try start(number) }
        waitingCount = plan.processCount
        phaseTimer?.start(
            after: Coordinator.patience + .seconds(plan.clientCount / Coordinator.slowestRate))
        loop.run()
        console.wipeBar()
        report.judge()
        return report
    }

    /// Finds out before anything else is done whether messages can be sent.
    private func canPublish() -> Bool {
        guard plan.pace != .idle else { return true }
        do throws(PublishFailure) {
            _ = try job(participantCounts: []).openLink()
            return true
        } catch {
            report.problems.append(error.description)
            report.exitCode = LoadTestProgram.unreachableStatus
            return false
        }
    }

    private func start(_ number: Int) throws(SystemError) {
        let process = try LoadProcess.start(board: board, completions: completions.write)
        processes.append(process)
        let control = JsonLines<HolderNews>(
            process.control, on: loop,
            onEnd: { [unowned self] in self.fail("load process \(number): \($0)") },
            onValue: { [unowned self] in self.take($0, from: number) })
        controls.append(control)
        control.send(
            HolderOrder.prepare(
                HolderPlan(
                    process: number, processCount: plan.processCount, clientCount: plan.clientCount,
                    load: plan.load, run: runNumber)))
    }

    private func take(_ news: HolderNews, from number: Int) {
        switch news {
        case .failed(let reason): return fail(reason)
        case .prepared(let tokens): report.add(tokens)
        case .connected(let connect): connectReports[number] = connect
        case .settled(let settled): settleReports.append(settled)
        }
        waitingCount -= 1
        guard waitingCount == 0 else { return }
        switch phase {
        case .preparing: connect()
        case .connecting: startPublishing()
        case .settling: settled()
        case .warming, .measuring, .ending, .done: break
        }
    }

    private func order(_ order: HolderOrder) {
        waitingCount = controls.count
        for control in controls { control.send(order) }
    }

    private func connect() {
        phase = .connecting
        before = UsageSample(pids: plan.pids)
        connectedAt = .now
        order(.connect)
        phaseTimer?.start(
            after: Coordinator.patience + .seconds(plan.clientCount / plan.load.connectRate)
                + .seconds(plan.clientCount / Coordinator.slowestRate) + ConnectPhase.handshakeTimeout)
    }

    private func startPublishing() {
        connected = UsageSample(pids: plan.pids)
        addConnectReports()
        guard report.handshakes.opened > 0 else {
            report.problems.append("no client could connect")
            report.exitCode = LoadTestProgram.unreachableStatus
            return finish()
        }
        phase = .warming
        for control in controls { control.send(HolderOrder.run) }
        if plan.pace != .idle {
            var participants = Array(repeating: 0, count: plan.load.assignment.roomCount)
            for connect in connectReports.values {
                for (room, count) in connect.receiverCounts.enumerated() where count > 0 {
                    participants[room] += 1
                }
            }
            let job = job(participantCounts: participants)
            let publisher = publisher
            do throws(SystemError) {
                try DetachedThread.run { publisher.post(PublishRun.run(job)) }
            } catch {
                return fail(error.description)
            }
        }
        phaseTimer?.start(after: plan.warmup)
    }

    private func phaseTimeIsOver() {
        switch phase {
        case .warming: startMeasuring()
        case .measuring: endPublishing()
        case .preparing, .connecting, .ending, .settling: fail("\(phase.rawValue) took too long")
        case .done: break
        }
    }

    private func startMeasuring() {
        phase = .measuring
        measureStart = UsageSample(pids: plan.pids)
        toolStart = UsageSample(pids: toolPids)
        measuredAt = .now
        board.measuredFrom = measuredAt.nanoseconds
        // With a number of messages the publisher says when it is over.
        if plan.messageCount == nil { phaseTimer?.start(after: plan.duration) }
    }

    private func endPublishing() {
        phase = .ending
        board.isPublishingOver = true
        guard plan.pace != .idle else { return publishingEnded(PublishOutcome()) }
        phaseTimer?.start(after: Coordinator.patience)
    }

    private func publishingEnded(_ outcome: PublishOutcome) {
        guard phase != .done else { return }
        // A warm-up that failed has measured nothing, in no time.
        if phase == .warming { startMeasuring() }
        publishedUntil = .now
        report.add(outcome)
        if outcome.isConnectionLost { report.exitCode = LoadTestProgram.unreachableStatus }
        phase = .settling
        order(.settle(publishedCount: outcome.publishedCount))
        phaseTimer?.start(after: Coordinator.patience + plan.settle)
    }

    private func settled() {
        let settledAt = MonotonicInstant.now
        report.add(settleReports)
        let count = report.deliveries.measured
        // Publishing took until here; its deliveries until they were all there.
        report.measuredSeconds = (publishedUntil - measuredAt).inSeconds
        report.messages.perSecond = Double(report.messages.measured) / max(report.measuredSeconds, 1e-9)
        report.deliveries.perSecond = Double(count) / max((settledAt - measuredAt).inSeconds, 1e-9)
        report.tool = CpuReport(UsageSample(pids: toolPids).cpu(since: toolStart), deliveries: count)
        addServer(deliveries: count)
        finish()
    }

    private func addConnectReports() {
        var latency = Histogram()
        for connect in connectReports.values {
            report.handshakes.opened += connect.openedCount
            report.handshakes.failures += connect.failures
            report.handshakes.postponed += connect.postponed
            latency.merge(connect.latency)
        }
        report.handshakes.latencyMicroseconds = LatencyReport(latency)
        report.handshakes.seconds = (MonotonicInstant.now - connectedAt).inSeconds
        report.handshakes.perSecond =
            Double(report.handshakes.opened) / max(report.handshakes.seconds, 1e-9)
    }

    private func addServer(deliveries: Int) {
        guard !plan.pids.isEmpty else { return }
        let end = UsageSample(pids: plan.pids)
        let opened = Double(report.handshakes.opened)
        let proportional: Double? =
            if let early = before.proportionalBytes, let late = connected.proportionalBytes {
                Double(late - early) / opened
            } else {
                nil
            }
        report.server = RunReport.Server(
            pids: plan.pids, cpu: CpuReport(end.cpu(since: measureStart), deliveries: deliveries),
            handshakeCpuMicroseconds: connected.cpu(since: before).seconds * 1e6 / opened,
            residentBytesBefore: before.residentBytes, residentBytesConnected: connected.residentBytes,
            residentBytesAtEnd: end.residentBytes,
            residentBytesPerConnection: Double(connected.residentBytes - before.residentBytes) / opened,
            proportionalBytesPerConnection: proportional)
    }

    private func job(participantCounts: [Int]) -> PublishJob {
        PublishJob(
            run: runNumber, assignment: plan.load.assignment,
            payload: LoadPayload(bytes: plan.load.payloadBytes),
            pace: plan.pace, target: plan.target, messageCount: plan.messageCount, settle: plan.settle,
            participantCounts: participantCounts, board: board, completions: completions.read)
    }

    private var toolPids: [Int] { [Int(getpid())] + processes.map { Int($0.pid) } }

    private func interrupt() {
        guard !report.isInterrupted else {
            if .now - interruptedAt >= EndSignals.sameWishTime { finish() }
            return
        }
        report.isInterrupted = true
        interruptedAt = .now
        switch phase {
        case .preparing, .connecting: fail("interrupted before anything was measured")
        case .warming:
            startMeasuring()
            endPublishing()
        case .measuring: endPublishing()
        case .ending, .settling, .done: break
        }
    }

    private func fail(_ reason: String) {
        guard phase != .done else { return }
        report.problems.append(reason)
        finish()
    }

    private func finish() {
        phase = .done
        board.isPublishingOver = true
        for control in controls { control.close() }
        phaseTimer = nil
        progressTimer = nil
        loop.stop()
    }

    private func showProgress() {
        let range = 0..<plan.processCount
        let openCount = range.reduce(0) { $0 + board.openCount(process: $1) }
        let delivered = range.reduce(0) { $0 + board.deliveredCount(process: $1) }
        defer { lastDelivered = delivered }
        guard .now >= nextProgress else { return }
        nextProgress = .now + progressStyle.interval
        console.progress(
            "\(phase.rawValue): \(openCount) of \(plan.clientCount) clients, "
                + "\(board.publishedCount) messages, "
                + "\(delivered - lastDelivered) deliveries/s")
    }
}
