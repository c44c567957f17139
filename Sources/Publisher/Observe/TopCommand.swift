// `publisher top`: its options, and from them to the exit code. Main thread.

import Glibc
import RedisSchema
import Options
import Redis

/// Shows the cluster until the user has seen enough.
final class TopCommand {
    static let program = Program(
        name: "publisher top", version: Roomcast.version, summary: "shows what the cluster does, on a terminal",
        usage: ["[--redis URL] [--interval TIME]"],
        variablePrefix: "PUBLISHER_",
        options: [
            // What is shown changes at most every two seconds for each node, at other times for each of them.
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

    /// Connecting blocks the keys, so it is not waited for as long as for other things.
    private static let maximumConnectTime = Duration.seconds(2)

    private let settings: RedisSettings
    private let interval: Duration
    private let start = ContinuousClock.now
    private var reader: ClusterReader?
    private var rates = NodeRates()
    private var dashboard = Dashboard()
    private var backoff = ReconnectBackoff()
    private var random = RandomPool()
    /// When there may be another attempt to connect.
    private var nextAttempt = ContinuousClock.now
    private let hasScreen: Bool
    /// -1 when there are no keys to come any more.
    private var keys: Int32 = -1
    private var drawnSize: TerminalScreen.Size?
    private var isQuitting = false
    private var isUnread = false
    private var console = Console(progressStyle: .none)

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
            try connect()
            try read()
        } catch {
            if let code = Interruption.exitCode { return code }
            Console.writeError("\(error); nothing is known of the cluster")
            return 1
        }
        if hasScreen {
            TerminalScreen.takeOver()
            if isatty(STDIN_FILENO) == 1 { keys = STDIN_FILENO }
        }
        show()
        while !isEnding {
            _ = wait(-1, interval)
            if isEnding { break }
            refresh()
            if isEnding { break }
            show()
        }
        TerminalScreen.giveBack()
        if let code = Interruption.exitCode { return code }
        return console.exitCode(0)
    }

    private var isEnding: Bool { isQuitting || isUnread || Interruption.requested != nil }
    private var elapsed: Duration { ContinuousClock.now - start }

    // MARK: Redis

    private func connect() throws(ObserveError) {
        do {
            let redis = try RedisPipeline(
                to: settings.url, timeout: min(settings.timeout, Self.maximumConnectTime))
            reader = ClusterReader(redis, settings) { [unowned self] in self.wait($0, $1) }
        } catch { throw .redis(error) }
    }

    private func read() throws(ObserveError) {
        guard let reader else { return }
        let reports = try reader.reports()
        rates.take(reports)
        dashboard.take(NodeListing(reports: reports, rates: rates), at: elapsed)
        backoff.reset()
    }

    /// New numbers, or why there are none.
    private func refresh() {
        guard reader != nil || ContinuousClock.now >= nextAttempt else { return }
        do {
            if reader == nil { try connect() }
            try read()
        } catch {
            reader = nil
            nextAttempt = .now + backoff.next(using: &random)
            dashboard.trouble = "\(error)"
        }
    }

    // MARK: The user

    /// Waits for Redis while keys and the terminal's size are heeded.
    private func wait(_ descriptor: Int32, _ time: Duration) -> ClusterReader.Wake {
        let deadline = ContinuousClock.now + time
        while !isEnding {
            let remaining = max(.zero, deadline - .now)
            let ready = Interruption.wait(forAny: [descriptor, keys], timeout: remaining)
            if ready[1] { readKeys() }
            if ready[0] { return .readable }
            if hasScreen, TerminalScreen.sizeForPictures != drawnSize { show() }
            if remaining == .zero { return .timedOut }
        }
        return .interrupted
    }

    private func readKeys() {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = Glibc.read(keys, &bytes, bytes.count)
        if count <= 0 { keys = -1 }
        for key in bytes.prefix(max(0, count)) where key == UInt8(ascii: "q") || key == UInt8(ascii: "Q") {
            isQuitting = true
        }
    }

    private func show() {
        dashboard.clock = String(NoticeLine.timeOfDay(NoticeLine.now).prefix(8))
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
