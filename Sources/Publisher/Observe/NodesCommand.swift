// `publisher nodes`: its options, and from them to the exit code. Main thread; everything here blocks.

import Glibc
import RedisSchema
import Options
import Redis

/// Shows the nodes once, or again and again.
struct NodesCommand {
    static let program = Program(
        name: "publisher nodes", version: Roomcast.version, summary: "shows the nodes of the cluster",
        usage: ["[--redis URL] [--watch [TIME]] [--json]"],
        variablePrefix: "PUBLISHER_",
        options: [
            // Nodes report themselves every two seconds.
            Option(
                "watch", .optionalValue(placeholder: "TIME", implied: "2s"), section: "Output",
                help: "Show them again every TIME, 100ms to 1h, in place on a terminal; 2s without a TIME."),
            Option("json", .flag, section: "Output", help: "One JSON object, or one a line with --watch."),
        ] + RedisSettings.options,
        notes: [
            "Each node reports itself in Redis every two seconds. Deliveries a second are counted between two "
                + "reports, for which about two seconds are waited at first. One that was killed is shown for ten "
                + "seconds more.",
            "Exit: 0 also when there is no node; 1 Redis could not be reached, or refused, or the result could not be "
                + "written; 2 wrong usage; 130, 143 or 129 interrupted by SIGINT, SIGTERM or SIGHUP.",
        ])

    /// Between two looks for a node's second report.
    private static let lookInterval = Duration.milliseconds(200)
    /// A report may be late by a turn of a busy node.
    private static let secondReportPatience = NodeReport.interval + .milliseconds(500)

    private let isJson: Bool
    private let interval: Duration?
    private let redis: RedisSession
    private let reader: ClusterReader
    private var rates = NodeRates()
    private var console = Console(of: PublisherProgram.name, progressStyle: .none)
    /// Lines of the last picture that are still on the terminal.
    private var shownCount = 0

    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        let settings = try RedisSettings(values)
        let isJson = try values.flag("json")
        let interval = try values.optional("watch", DurationConverter(.milliseconds(100) ... .seconds(3600)))
        return PublisherProgram.withRedis(
            settings, undone: "nothing is known of the nodes", endsAtSignals: true
        ) { redis, _ in
            var command = NodesCommand(
                isJson: isJson, interval: interval, redis: redis, reader: redis.reader(settings))
            return command.run()
        }
    }

    private init(isJson: Bool, interval: Duration?, redis: RedisSession, reader: ClusterReader) {
        self.isJson = isJson
        self.interval = interval
        self.redis = redis
        self.reader = reader
    }

    private mutating func run() -> Int32 {
        do {
            var isRead = show(try firstListing())
            while isRead, let interval {
                try pause(interval)
                isRead = show(try listing())
            }
            return console.exitCode(0)
        } catch {
            if let code = Interruption.exitCode { return code }
            console.complain("\(error)")
            return 1
        }
    }

    /// The first one, with rates where they come in time.
    private mutating func firstListing() throws(RedisSessionError) -> NodeListing {
        let start = ContinuousClock.now
        var listing = try listing()
        while !rates.isComplete, .now - start < Self.secondReportPatience {
            try pause(Self.lookInterval)
            listing = try self.listing()
        }
        return listing
    }

    private func pause(_ duration: Duration) throws(RedisSessionError) {
        _ = Interruption.wait(forReadable: -1, timeout: duration)
        if Interruption.requested != nil { throw .interrupted }
    }

    private mutating func listing() throws(RedisSessionError) -> NodeListing {
        let reports = try redis.reports(reader)
        rates.take(reports)
        return NodeListing(reports: reports, rates: rates)
    }

    /// - Returns: false when nobody reads it any more.
    private mutating func show(_ listing: NodeListing) -> Bool {
        if isJson { return console.result(listing.json) }
        guard interval != nil else { return console.result(listing.lines().joined(separator: "\n")) }
        guard let size = TerminalScreen.sizeForPictures else {
            let gap = shownCount > 0 ? "\n" : ""
            shownCount = 1
            return console.result(gap + listing.lines().joined(separator: "\n"))
        }
        // The cursor stays below the picture, so that there is one row less for it.
        let lines = Array(listing.lines(columnCount: size.columns).prefix(max(1, size.rows - 1)))
        // Up to the picture's first line, and all from there erased (ECMA-48 CUU, ED).
        let wipe = shownCount > 0 ? "\u{1B}[\(shownCount)A\r\u{1B}[J" : ""
        shownCount = lines.count
        return console.result(wipe + lines.joined(separator: "\n"))
    }
}
