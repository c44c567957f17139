// `publisher watch`: its options, and from them to the exit code. Main thread; everything here blocks.

import Glibc
import RedisSchema
import Options
import Redis

/// Prints the notices of some rooms as they pass.
struct WatchCommand {
    static let program = Program(
        name: "publisher watch", version: Roomcast.version, summary: "prints notices as they pass",
        usage: ["[--redis URL] --room ROOM [--room ROOM ...] [--count N] [--json]"],
        variablePrefix: "PUBLISHER_",
        options: [
            Option(
                "room", .repeatable(placeholder: "ROOM"), section: "What",
                help: "Room to watch: \(Notice.roomForm)."),
            Option(
                "count", .value(placeholder: "N"), section: "What", default: .described("no limit"),
                help: "End after N notices, 1 to 1000000000."),
            Option(
                "json", .flag, section: "Output",
                help: "One JSON object a line: time (Unix ms), room, bytes, isUtf8, payload as a string; or gap, in "
                    + "seconds."),
        ] + RedisSettings.options,
        notes: [
            "A line has the time of day, the room, the size and the payload, which is shortened to the width of the "
                + "terminal. What could drive a terminal is written out, such as \\u{1b}.",
            "It is another subscriber of Redis: publishers count it as a node that received the notice. When the "
                + "connection is lost it is made again, and the gap is told: what is published meanwhile is not "
                + "seen.",
            "Exit: 0 after --count notices; 1 Redis could not be reached at the start, or refused, or a notice could not "
                + "be written; 2 wrong usage; 130, 143 or 129 ended by SIGINT (Ctrl-C), SIGTERM or SIGHUP. A summary is "
                + "on stderr.",
        ])

    private let settings: RedisSettings
    private let channels: Channels
    private let rooms: [RoomId]
    private let maximumCount: Int?
    private let isJson: Bool
    private let roomColumnCount: Int
    private var console = Console(progressStyle: .none)
    private let start = ContinuousClock.now
    private var noticeCount = 0
    private var byteCount: UInt64 = 0
    private var gapCount = 0

    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        var command = try WatchCommand(values)
        return command.run()
    }

    private init(_ values: OptionValues) throws(UsageError) {
        settings = try RedisSettings(values)
        channels = Channels(prefix: settings.prefix)
        rooms = try Job.rooms(values)
        guard !rooms.isEmpty else { throw UsageError("nothing to watch, expected --room") }
        maximumCount = try values.optional("count", IntegerConverter(1...1_000_000_000))
        isJson = try values.flag("json")
        roomColumnCount = rooms.map { DisplayText.width(of: DisplayText.text($0.bytes)) }.max() ?? 0
    }

    /// How following one connection has ended.
    private enum Ending {
        /// Enough has come, or a signal.
        case done
        /// A notice, or word of a gap, could not be written.
        case unread
        case lost(RedisPipelineError)
    }

    private mutating func run() -> Int32 {
        var feed: RedisFeed?
        do { feed = try subscribe() } catch {
            console.complain("\(error); nothing was watched")
            return 1
        }
        Interruption.begin()
        while let current = feed {
            feed = nil
            switch follow(current) {
            case .done: break
            case .unread: return console.exitCode(0)
            case .lost(let error): feed = reconnect(after: error)
            }
        }
        console.complain(summary)
        return console.exitCode(Interruption.exitCode ?? 0)
    }

    private func subscribe() throws(RedisPipelineError) -> RedisFeed {
        try RedisFeed(to: settings.url, timeout: settings.timeout, channels: rooms.map(channels.room))
    }

    private mutating func follow(_ feed: RedisFeed) -> Ending {
        var isAsked = false
        do throws(RedisPipelineError) {
            while true {
                while let message = try feed.next() {
                    guard let room = channels.room(ofChannel: message.channel) else { continue }
                    guard show(message.payload, of: room) else { return .unread }
                    if noticeCount == maximumCount { return .done }
                }
                switch ClusterReader.waitForSignalsToo(feed.descriptor, settings.timeout) {
                case .interrupted: return .done
                case .readable:
                    try feed.receive()
                    isAsked = false
                case .timedOut where isAsked: return .lost(.lost("no sign of life"))
                case .timedOut:
                    try feed.ping()
                    isAsked = true
                }
            }
        } catch { return .lost(error) }
    }

    /// - Returns: nil after a signal.
    private mutating func reconnect(after error: RedisPipelineError) -> RedisFeed? {
        let lostAt = ContinuousClock.now
        console.complain("\(error); connecting again")
        var told = error
        var backoff = ReconnectBackoff()
        var random = RandomPool()
        while true {
            if case .interrupted = ClusterReader.waitForSignalsToo(-1, backoff.next(using: &random)) { return nil }
            do throws(RedisPipelineError) {
                let feed = try subscribe()
                gapCount += 1
                showGap(.now - lostAt)
                return feed
            } catch {
                // Once for each different reason, however many attempts follow.
                if error != told, Interruption.requested == nil { console.complain("\(error)") }
                told = error
            }
        }
    }

    private mutating func show(_ payload: [UInt8], of room: RoomId) -> Bool {
        noticeCount += 1
        byteCount += UInt64(payload.count)
        let notice = NoticeLine(room: room, payload: payload, milliseconds: NoticeLine.now)
        if isJson { return console.result(notice.json.line) }
        let columnCount = TerminalScreen.size?.columns ?? .max
        return console.result(notice.text(roomColumnCount: roomColumnCount, columnCount: columnCount))
    }

    private mutating func showGap(_ duration: Duration) {
        let seconds = duration / .seconds(1)
        console.result(
            isJson
                ? JsonLine.object([("time", .number(NoticeLine.now)), ("gap", .decimal(seconds))]).line
                : "\(NoticeLine.timeOfDay(NoticeLine.now))  gap of \(Quantity.decimal(seconds)) s: "
                    + "what was published meanwhile was not seen")
    }

    private var summary: String {
        let seconds = Tally.secondsText(.now - start)
        return "\(Quantity.count(noticeCount, "notice")), \(Quantity.bytes(byteCount)) in \(seconds) s, "
            + Quantity.count(gapCount, "gap")
    }
}
