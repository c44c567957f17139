// `publisher top`: its options, and from them to the exit code. Main thread.

import EventLoop
import Glibc
import Options
import Redis
import RedisSchema

/// Shows the cluster until the user has seen enough.
final class TopCommand {
    static let program = Program(
        name: "publisher top", version: Roomcast.version,
        summary: "shows what the cluster does, on a terminal",
        usage: ["[--redis URL] [--interval TIME]"],
        variablePrefix: "PUBLISHER_",
        options: [
            // What is shown changes at most every two seconds for each node, at other times for each of
            // them.
            Option(
                "interval", .value(placeholder: "TIME"), section: "Output", default: .text("1s"),
                help: "Time between two pictures, 100ms to 1h.")
        ] + RedisSettings.options,
        notes: [
            "Totals, nodes, the largest rooms of those that nodes report by themselves (publisher rooms is exact), "
                + "and connections and deliveries a second over the last minute. q or Ctrl-C quits. While Redis is away "
                + "the last picture stays, and the last line tells why.",
            "One line each time where stdout is no terminal or TERM is dumb; no colours with NO_COLOR.",
            "Exit: 0 by q; 1 Redis could not be reached at the start, or refused, or stdout cannot be written; 2 wrong "
                + "usage; 130, 143 or 129 ended by SIGINT (Ctrl-C), SIGTERM or SIGHUP.",
        ])

    private let settings: RedisSettings
    private let interval: Duration
    private let start = ContinuousClock.now
    private var rates = NodeRates()
    private var dashboard = Dashboard()
    private let hasScreen: Bool
    private var drawnSize: TerminalScreen.Size?
    private var keys: DescriptorWatcher?
    private var isReading = false
    /// Whether the nodes have been seen, or why they have not.
    private var first: Result<Void, RedisSessionError>?
    private var isQuitting = false
    private var isUnread = false
    private var console = Console(of: PublisherProgram.name, progressStyle: .none)

    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        let settings = try RedisSettings(values)
        let interval = try values.value("interval", DurationConverter(.milliseconds(100) ... .seconds(3600)))
        return TopCommand(settings, interval: interval).run()
    }

    private init(_ settings: RedisSettings, interval: Duration) {
        self.settings = settings
        self.interval = interval
        hasScreen = TerminalScreen.sizeForPictures != nil
        dashboard.isAscii = !TerminalScreen.isUnicode
    }

    private func run() -> Int32 {
        Interruption.beginForScreen()
        do {
            try run(on: try EventLoop())
        } catch {
            if let code = Interruption.exitCode { return code }
            Console.complain("\(error); nothing is known of the cluster", of: PublisherProgram.name)
            return 1
        }
        if let code = Interruption.exitCode { return code }
        return console.exitCode(0)
    }

    private func run(on loop: EventLoop) throws {
        let signals = Interruption.watcher(on: loop) { [unowned self] in
            if self.hasScreen, self.drawnSize != nil, TerminalScreen.sizeForPictures != self.drawnSize {
                self.show()
            }
        }
        let connection = RedisStore(plainTo: settings.url, timeout: settings.timeout, loop: loop)
        let reader = ClusterReader(prefix: settings.prefix) { [unowned connection] in
            connection.send($0, onReply: $1)
        }
        var wasUp = false
        connection.onUp = { [unowned self] in
            wasUp = true
            self.read(reader)
        }
        connection.onDown = { [unowned self, unowned connection, url = settings.url] reason in
            // The reasons of a cluster are those of all nodes.
            let isRefused = connection.isRefused && !url.isCluster
            self.failed(RedisSessionError(reason, isRefused: isRefused, wasUp: wasUp, url: url))
            wasUp = false
        }
        connection.start()
        defer { connection.stop() }
        loop.run { [unowned self] in self.first == nil && !self.isEnding }
        try first?.get()
        if isEnding { return }

        if hasScreen {
            TerminalScreen.takeOver()
            if isatty(STDIN_FILENO) == 1 {
                keys = DescriptorWatcher(STDIN_FILENO, on: loop) { [unowned self] in self.readKeys() }
            }
        }
        defer { TerminalScreen.giveBack() }
        show()
        let timer = Timer(on: loop, repeating: true) { [unowned self] in
            // Redis that says nothing is waited for, and not asked again meanwhile.
            guard !self.isReading else { return }
            if connection.isUp { self.read(reader) } else { self.show() }
        }
        timer.start(after: interval)
        loop.run { [unowned self] in !self.isEnding }
        withExtendedLifetime((signals, timer)) {}
    }

    private var isEnding: Bool { isQuitting || isUnread || Interruption.requested != nil }
    private var elapsed: Duration { ContinuousClock.now - start }

    // MARK: Redis

    private func read(_ reader: ClusterReader) {
        isReading = true
        reader.read { [unowned self] outcome in
            self.isReading = false
            switch outcome {
            case .success(let reports):
                self.rates.take(reports)
                self.dashboard.take(NodeListing(reports: reports, rates: self.rates), at: self.elapsed)
                self.seen(.success(()))
            case .failure(.refused(let message)): self.failed(.refused(message))
            // The connection says why; that to a cluster stands as long as one of its masters does.
            case .failure(.unavailable(let reason)): if settings.url.isCluster { self.failed(.lost(reason)) }
            }
        }
    }

    private func failed(_ failure: RedisSessionError) {
        dashboard.trouble = "\(failure)"
        seen(.failure(failure))
    }

    /// News: shown at once, but for the first, behind which the screen is taken over.
    private func seen(_ result: Result<Void, RedisSessionError>) {
        if first == nil { first = result } else if !isEnding { show() }
    }

    // MARK: The user

    private func readKeys() {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = Glibc.read(STDIN_FILENO, &bytes, bytes.count)
        for key in bytes.prefix(max(0, count)) where key == UInt8(ascii: "q") || key == UInt8(ascii: "Q") {
            isQuitting = true
        }
        if count <= 0 { keys?.stopWatching() }
    }

    private func show() {
        dashboard.clock = String(NoticeLine.timeOfDay(WallClock.unixMilliseconds).prefix(8))
        dashboard.now = elapsed
        guard hasScreen, let size = TerminalScreen.sizeForPictures else {
            isUnread = !console.result(dashboard.plainLine)
            return
        }
        drawnSize = size
        let hasColors = TerminalScreen.hasColors
        let lines = dashboard.lines(size).map { $0.rendered(hasColors: hasColors) }
        isUnread = !console.result { TerminalScreen.draw(lines) }
    }
}
