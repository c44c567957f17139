// A node: its threads, their start and their end. Runs on the main thread, whose loop is the control loop.

import EventLoop
import Glibc
import Options
import Redis
import RedisSchema

/// Starts the listeners, the feeds and the workers, serves the admin endpoints, and drains on SIGTERM.
final class Node {
    private let context: NodeContext
    private let loop: EventLoop
    private let limits: ConnectionLimits
    private var sockets: [ListeningSocket] = []
    private var threads: [LoopThread] = []
    private var signals: [SignalWatcher] = []
    private var adminListener: AdminListener?
    private var drainTimer: Timer?
    private var pulseTimers: [Timer] = []
    private var drainWishedAt: MonotonicInstant?
    private let serviceStates: ServiceStates
    private var drainedWorkers: Set<Int> = []
    private var isReady = false
    private var redisLog: RedisLog

    private var log: Log { context.log }
    private var configuration: Configuration { context.configuration }

    /// - Throws: when an address cannot be bound.
    init(_ configuration: Configuration, limits: ConnectionLimits, log: Log) throws(SystemError) {
        Limits.check()
        self.limits = limits
        loop = try EventLoop()
        let state = NodeState(
            workerCount: configuration.workerCount, maximumClientCount: limits.clients,
            maximumHttpConnectionCount: limits.httpConnections, isCluster: configuration.redis.isCluster)
        context = NodeContext(configuration: configuration, log: log, state: state)
        serviceStates = ServiceStates(
            socketName: getenv(NotifySocket.variable).map { String(cString: $0) }, loop: loop, log: log)
        redisLog = RedisLog(log, neededCount: configuration.workerCount + state.feedCount)
        // Before anything that takes time: process 1 of a container has no default action for signals, so
        // that one that comes too early would be lost.
        watchSignals()
        try bind()
    }

    /// Serves until the node has drained.
    ///
    /// - Throws: when a thread cannot be started.
    func run() throws(SystemError) {
        context.controlMailbox.open(on: loop) { [unowned self] notices in
            for notice in notices { self.handle(notice) }
        }
        watchThreads()
        try startThreads()
        report()
        serviceStates.readiness(context.state.reasonsNotReady)
        loop.run()
        for thread in threads { thread.join() }
        log.info("stopped")
    }

    // MARK: Start

    private func bind() throws(SystemError) {
        let endpoint = configuration.listen
        var port = UInt16(endpoint.port)
        for index in 0..<configuration.workerCount {
            // One socket each, all on one address and port; the kernel spreads connections over them.
            let socket = try ListeningSocket(
                host: sockets.first?.host ?? endpoint.host, port: port,
                sharing: index == 0 ? .first : .further,
                options: configuration.acceptedSocketOptions)
            port = socket.port
            sockets.append(socket)
        }
        guard let admin = configuration.adminListen else { return }
        let socket = try ListeningSocket(host: admin.host, port: UInt16(admin.port), sharing: .exclusive)
        adminListener = AdminListener(socket, node: context, address: "\(sockets[0])", loop: loop)
        log.info("admin on \(socket)")
    }

    /// One thread for each feed and each worker. A single worker has the feeds on its own thread: on few
    /// cores another one would only be one more to wake for each message.
    private func startThreads() throws(SystemError) {
        let context = context
        let isShared = sockets.count == 1
        for index in context.feedMailboxes.indices where !isShared {
            threads.append(
                try LoopThread(name: "subscriber") { loop in
                    let feed = Feed(index: index, node: context, loop: loop)
                    feed.start()
                    let pulse = context.state.pulses.feeds[index].start(on: loop)
                    // The callbacks hold it unowned.
                    withExtendedLifetime((feed, pulse)) { loop.run() }
                })
        }
        for (index, socket) in sockets.enumerated() {
            threads.append(
                try LoopThread(name: "worker \(index)") { loop in
                    let worker = Worker(index: index, node: context, loop: loop)
                    worker.start(socket)
                    let feedIndices = isShared ? context.feedMailboxes.indices : 0..<0
                    let feeds = feedIndices.map { Feed(index: $0, node: context, loop: loop) }
                    for feed in feeds { feed.start(sharedWith: worker.turn) }
                    let pulses = context.state.pulses
                    let timers = (pulses.workers[index...index] + pulses.feeds[feedIndices]).map {
                        $0.start(on: loop)
                    }
                    // The callbacks hold them unowned.
                    withExtendedLifetime((worker, feeds, timers)) { loop.run() }
                })
        }
    }

    /// Checks once a second whether a thread hangs, and shows that this one does not.
    private func watchThreads() {
        pulseTimers.append(context.state.pulses.control.start(on: loop))
        let timer = Timer(on: loop, repeating: true) { [unowned self] in self.readinessChanged() }
        timer.start(after: Limits.loopPulseInterval)
        pulseTimers.append(timer)
    }

    private func report() {
        log.info(
            "listening on \(sockets[0])",
            [
                "version": Roomcast.version, "workers": "\(configuration.workerCount)",
                "redis": "\(configuration.redis)", "descriptor_limit": "\(limits.descriptors)",
                "maximum_connections": "\(limits.clients)",
            ])
        if configuration.issueKeys == nil, configuration.allowedOrigins == .any {
            log.warning(
                "open to everyone",
                [
                    "allows": "any program and any web page can get a token for any user and join any room",
                    "options": "--issue-key, --allowed-origins",
                ])
        }
        guard configuration.redis.database != 0, configuration.prefix.isEmpty else { return }
        log.warning(
            "redis databases share their channels",
            ["database": "\(configuration.redis.database)", "separate_by": "--prefix"])
    }

    // MARK: Notices

    private func handle(_ notice: ControlNotice) {
        switch notice {
        case .readinessChanged: readinessChanged()
        case .redisUp(let role):
            if case .worker = role { context.state.setClusterFound(false) }
            if role != .sentinel { context.state.setRedisTrouble(nil) }
            redisLog.isUp(role)
            if configuration.redis.passwordFile?.hasDroppedLineFeed == true { redisLog.lineFeedDropped() }
        case .redisDown(let role, let reason):
            if case .worker = role {
                context.state.setClusterFound(reason == RedisConnection.clusterReason)
                if RedisFailure.refused(reason).isReadOnly { context.state.noteServerChange() }
            }
            if role != .sentinel { context.state.setRedisTrouble(reason) }
            redisLog.down(role, reason)
        case .redisServer(let server, let isOnly):
            context.state.setEvictionPossible(server.evictingPolicy != nil)
            if redisLog.connected(to: server, isOnly: isOnly) { context.state.noteServerChange() }
        case .redisLacks(let command, let message): redisLog.lacks(command, message)
        case .recordsLost(let loss): redisLog.recordsLost(loss)
        case .publishRefused(let message): redisLog.publishRefused(message)
        case .redisRefused(let command, let message): redisLog.refused(command, message)
        case .redisWrites(let worker, let isRefusing):
            redisLog.writes(worker: worker, isRefusing: isRefusing)
        case .drained(let worker):
            drainedWorkers.insert(worker)
            if drainedWorkers.count == configuration.workerCount { stop() }
        }
    }

    private func readinessChanged() {
        let reasons = context.state.reasonsNotReady
        guard reasons.isEmpty != isReady else { return }
        isReady = reasons.isEmpty
        if !context.state.isDraining { serviceStates.readiness(reasons) }
        if isReady {
            log.info("ready", ["uptime_ms": "\(context.state.uptime.wholeMilliseconds)"])
        } else if !context.state.isDraining {
            log.warning("not ready", ["reasons": reasons.joined(separator: "; ")])
        }
    }

    // MARK: End

    private func watchSignals() {
        for signal in [SIGTERM, SIGINT] {
            signals.append(SignalWatcher(on: loop, signal: signal) { [unowned self] in self.drain() })
        }
        // There is no configuration file to read again, no log file to reopen, and no report to write.
        for (signal, name) in [(SIGHUP, "SIGHUP"), (SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2")] {
            var signalLog = RateLimitedLog(log)
            signals.append(
                SignalWatcher(on: loop, signal: signal) {
                    signalLog.warning("signal ignored", ["signal": name, "drain_by": "SIGTERM"])
                })
        }
    }

    /// The first signal drains the node. A later one ends the process at once, unless it comes so soon that
    /// it belongs to the first.
    private func drain() {
        if let drainWishedAt {
            guard .now - drainWishedAt >= EndSignals.sameWishTime else { return }
            log.warning("second signal, ending at once")
            LogWriter.standardError.flush(within: Limits.hastyLogFlushTime)
            // By the shell's convention for a process that SIGTERM has ended: the drain is not complete.
            _exit(128 + SIGTERM)
        }
        drainWishedAt = .now
        context.state.setDraining()
        readinessChanged()
        let delay = configuration.drainDelay
        let clientCount = context.metrics.total(ofAll: \.clients)
        serviceStates.stopping(clientCount: clientCount)
        log.info(
            "draining",
            [
                "connections": "\(clientCount)", "delay_ms": "\(delay.wholeMilliseconds)",
                "time_ms": "\(configuration.drainTime.wholeMilliseconds)",
            ])
        guard delay > .zero else { return sendClientsAway() }
        // Balancers ask for readiness now and then: until they have, they send clients here, and those are
        // served.
        let timer = Timer(on: loop) { [unowned self] in self.sendClientsAway() }
        timer.start(after: delay)
        drainTimer = timer
    }

    private func sendClientsAway() {
        let time = configuration.drainTime
        for mailbox in context.workerMailboxes { mailbox.post(.news(.drain(over: time))) }
        let timer = Timer(on: loop) { [unowned self] in
            self.log.warning("drain ended with connections left")
            self.stop()
        }
        timer.start(after: time + Limits.drainGrace)
        drainTimer = timer
    }

    private func stop() {
        drainTimer?.cancel()
        for mailbox in context.workerMailboxes { mailbox.post(.news(.stop)) }
        for mailbox in context.feedMailboxes { mailbox.post(.stop) }
        loop.stop()
    }
}
