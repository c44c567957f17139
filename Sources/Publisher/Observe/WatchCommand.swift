// `publisher watch`: its options, and from them to the exit code. Main thread.

import EventLoop
import JSON
import Options
import Redis
import RedisSchema

/// Prints the notices of some rooms as they pass.
final class WatchCommand {
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
                help:
                    "One JSON object a line: time (Unix ms), room, bytes, isUtf8, payload as a string; or gap, in "
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
    private var console = Console(of: PublisherProgram.name, progressStyle: .none)
    private let start = ContinuousClock.now
    private var noticeCount = 0
    private var byteCount: UInt64 = 0
    private var gapCount = 0
    /// Since when nothing is heard.
    private var lostAt: ContinuousClock.Instant?
    private var hasBegun = false
    /// What was told last of trouble.
    private var trouble: RedisSessionError?
    /// A notice, or word of a gap, could not be written.
    private var isUnread = false

    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        try WatchCommand(values).run()
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

    private func run() -> Int32 {
        do {
            let loop = try EventLoop()
            let watcher = Interruption.watcher(on: loop) {}
            let feed = ChannelFeed(settings, channels: rooms.map(channels.room), loop: loop) {
                [unowned self] in
                self.take($1, of: $0)
            }
            feed.onUp = { [unowned self] in self.began() }
            feed.onDown = { [unowned self] in self.lost($0) }
            loop.run { [unowned self] in !self.isEnding }
            withExtendedLifetime((watcher, feed)) {}
        } catch {
            trouble = .unreachable("\(settings.url): \(error)")
        }
        guard hasBegun else {
            console.complain("\(trouble ?? .interrupted); nothing was watched")
            return 1
        }
        if isUnread { return console.exitCode(0) }
        console.complain(summary)
        return console.exitCode(Interruption.exitCode ?? 0)
    }

    private var isEnding: Bool {
        isUnread || noticeCount == maximumCount || Interruption.requested != nil
            || (!hasBegun && trouble != nil)
    }

    // MARK: Redis

    private func began() {
        if !hasBegun { Interruption.begin() }
        hasBegun = true
        trouble = nil
        guard let lostAt else { return }
        self.lostAt = nil
        gapCount += 1
        showGap(.now - lostAt)
    }

    private func lost(_ failure: RedisSessionError) {
        guard hasBegun else {
            trouble = trouble ?? failure
            return
        }
        lostAt = lostAt ?? .now
        // Once for each different reason, however many attempts follow.
        if failure != trouble {
            console.complain("\(failure)" + (trouble == nil ? "; connecting again" : ""))
        }
        trouble = failure
    }

    private func take(_ payload: UnsafeRawBufferPointer, of channel: UnsafeRawBufferPointer) {
        guard !isEnding, let room = channels.room(ofChannel: channel) else { return }
        noticeCount += 1
        byteCount += UInt64(payload.count)
        let notice = NoticeLine(
            room: room, payload: Array(payload), milliseconds: WallClock.unixMilliseconds)
        let columnCount = isJson ? .max : TerminalScreen.size?.columns ?? .max
        let line =
            isJson
            ? notice.json : notice.text(roomColumnCount: roomColumnCount, columnCount: columnCount)
        isUnread = !console.result(line)
    }

    // MARK: Words

    private func showGap(_ duration: Duration) {
        let seconds = duration / .seconds(1)
        let now = WallClock.unixMilliseconds
        isUnread = !console.result(
            isJson
                ? JsonLine.object {
                    $0.member("time", now)
                    $0.member("gap", decimal: seconds)
                }
                : "\(NoticeLine.timeOfDay(now))  gap of \(Quantity.decimal(seconds)) s: "
                    + "what was published meanwhile was not seen")
    }

    private var summary: String {
        let seconds = Tally.secondsText(.now - start)
        return "\(Quantity.count(noticeCount, "notice")), \(Quantity.bytes(byteCount)) in \(seconds) s, "
            + Quantity.count(gapCount, "gap")
    }
}
