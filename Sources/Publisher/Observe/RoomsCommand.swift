// `publisher rooms`: its options, and from them to the exit code. Main thread; everything here blocks.

import EventLoop
import JSON
import Options
import Redis
import RedisSchema

/// Asks every node for its rooms, once, and adds them up.
struct RoomsCommand {
    static let program = Program(
        name: "publisher rooms", version: Roomcast.version,
        summary: "counts the members of rooms over all nodes",
        usage: ["[--redis URL] [--top N|all] [--json]"],
        variablePrefix: "PUBLISHER_",
        options: [
            // A screen of them.
            Option(
                "top", .value(placeholder: "N|all"), section: "Output", default: .text("20"),
                help: "Show the N largest rooms, 1 to 1000000, or all of them."),
            Option("json", .flag, section: "Output", help: "One JSON object."),
        ] + RedisSettings.options,
        notes: [
            "Every node is asked and lists all of its rooms: the counts are exact, at the moment at which each node "
                + "answers. A member is a connection that is in the room.",
            "Of a room with durable notices it also shows how many Redis keeps, what they take there, and how long ago "
                + "the oldest was published.",
            "Exit: 0 also when there is no node or no room; 1 Redis could not be reached, or refused, the result could "
                + "not be written, or a node did not answer within --timeout: it is named, and the counts are those of "
                + "the others; 2 wrong usage; 130, 143 or 129 interrupted by SIGINT, SIGTERM or SIGHUP.",
        ])

    /// nil shows all.
    private let top: Int?
    private let isJson: Bool
    private let settings: RedisSettings
    private var console = Console(of: PublisherProgram.name, progressStyle: .none)

    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        var command = try RoomsCommand(values)
        return PublisherProgram.withRedis(
            command.settings, undone: "nothing is known of the rooms", endsAtSignals: true
        ) {
            command.run($0, $1)
        }
    }

    private init(_ values: OptionValues) throws(UsageError) {
        settings = try RedisSettings(values)
        isJson = try values.flag("json")
        let counts = IntegerConverter(1...1_000_000)
        top = try values.value(
            "top",
            TextConverter(expected: "\(counts.expected), or all") { text -> Int?? in
                text == "all" ? .some(nil) : counts.value(of: text).map { .some($0) }
            })
    }

    private mutating func run(_ redis: RedisSession, _ loop: EventLoop) -> Int32 {
        do {
            let nodes = try redis.reports(redis.reader(settings)).map(\.id)
            let census = try nodes.isEmpty ? RoomCensus(nodes: []) : count(nodes, redis, loop)
            let rooms = census.rooms
            let shown = rooms.prefix(top ?? rooms.count)
            let (histories, refusal) = try redis.histories(of: shown.map(\.members.room), settings)
            show(shown, histories, census, rooms)
            if let refusal { console.complain("sizes of histories are unknown: \(refusal)") }
            return console.exitCode(census.missing.isEmpty ? 0 : 1)
        } catch {
            if let code = Interruption.exitCode { return code }
            console.complain("\(error)")
            return 1
        }
    }

    /// Each node has a reply channel of its own, which tells who answers.
    private func count(
        _ nodes: [String], _ redis: RedisSession, _ loop: EventLoop
    ) throws(RedisSessionError) -> RoomCensus {
        let channels = Channels(prefix: settings.prefix)
        let replies = Self.replyIds(count: nodes.count)
        let nodeOfChannel = Dictionary(
            uniqueKeysWithValues: replies.indices.map { (channels.reply(replies[$0]), $0) })
        var census = RoomCensus(nodes: nodes)
        var isSilent = false
        let patience = Timer(on: loop) { isSilent = true }
        let feed = ChannelFeed(settings, channels: Array(nodeOfChannel.keys), loop: loop) {
            channel, payload in
            guard let node = nodeOfChannel[Array(channel)], let part = RoomListMessage(Array(payload)) else {
                return
            }
            census.take(part, from: node)
            patience.start(after: settings.timeout)
        }
        try redis.wait { feed.isUp || feed.failure != nil }
        if let failure = feed.failure { throw failure }

        var deaf: Set<String> = []
        let questions = zip(nodes, replies).map { node, reply in
            RedisCommand([[UInt8]("PUBLISH"), channels.gateway(node), RoomListMessage.request(reply: reply)])
        }
        // A node that does not hear the question is not waited for. In a cluster it may hear it at another server.
        try redis.call(questions) { [isCounted = !redis.isCluster] reply, index in
            if isCounted, reply.integer == 0 { deaf.insert(nodes[index]) }
        }
        patience.start(after: settings.timeout)
        try redis.wait { isSilent || feed.failure != nil || Set(census.missing).isSubset(of: deaf) }
        if let failure = feed.failure { throw failure }
        return census
    }

    private static func replyIds(count: Int) -> [ReplyId] {
        var random = RandomPool()
        let nonce = String(random.next(), radix: 36)
        return (0..<count).map { index in
            guard let reply = ReplyId("\(nonce)-\(index)") else {
                preconditionFailure("a reply id is plain")
            }
            return reply
        }
    }

    private mutating func show(
        _ shown: ArraySlice<RoomCensus.Entry>, _ histories: [RoomId: RoomHistory], _ census: RoomCensus,
        _ rooms: [RoomCensus.Entry]
    ) {
        let memberCount = rooms.map(\.members.count).clampedSum
        if isJson {
            console.result(json(shown, histories, census, rooms.count, memberCount))
        } else {
            for line in Self.lines(shown, histories) { console.result(line) }
            let sums = [Quantity.count(rooms.count, "room"), Quantity.count(memberCount, "member")]
            let answered = census.nodeCount - census.missing.count
            console.result(
                census.nodeCount == 0
                    ? NodeListing.none
                    : sums.joined(separator: ", ") + " on \(Quantity.count(answered, "node"))")
        }
        guard !census.missing.isEmpty else { return }
        let names = census.missing.map { DisplayText.text($0) }.joined(separator: ", ")
        console.complain(
            "no answer in time, or not all of it, from \(names): their rooms are not counted in full")
    }

    /// Columns for histories are there if any of the rooms has one.
    private static func lines(
        _ rooms: ArraySlice<RoomCensus.Entry>, _ histories: [RoomId: RoomHistory]
    ) -> [String] {
        guard !rooms.isEmpty else { return [] }
        var titles = ["MEMBERS", "NODES"]
        if !histories.isEmpty { titles += ["HISTORY", "BYTES", "OLDEST"] }
        var table = TextTable(columns: [.init("ROOM")] + titles.map { .init($0, isRight: true) })
        table.rows = rooms.map { entry in
            let room = entry.members.room
            let cells = [DisplayText.text(room.bytes), "\(entry.members.count)", "\(entry.nodeCount)"]
            return cells + (histories.isEmpty ? [] : Self.cells(histories[room]))
        }
        return table.lines()
    }

    private static func cells(_ history: RoomHistory?) -> [String] {
        guard let history else { return ["-", "-", "-"] }
        let age = history.oldestAge.map { Quantity.time(milliseconds: $0.wholeMilliseconds) }
        return ["\(history.count)", Quantity.bytes(UInt64(max(0, history.bytes))), age ?? "-"]
    }

    private func json(
        _ shown: ArraySlice<RoomCensus.Entry>, _ histories: [RoomId: RoomHistory], _ census: RoomCensus,
        _ roomCount: Int, _ memberCount: Int
    ) -> String {
        JsonLine.object { json in
            json.member("rooms", array: shown) { json, entry in
                json.object {
                    $0.member("room", entry.members.room.description)
                    $0.member("members", entry.members.count)
                    $0.member("nodes", entry.nodeCount)
                    if let history = histories[entry.members.room] {
                        $0.member("history") { history.writeMembers(to: &$0) }
                    }
                }
            }
            json.member("roomCount", roomCount)
            json.member("memberCount", memberCount)
            json.member("nodeCount", census.nodeCount)
            json.member("missing", census.missing)
        }
    }
}
