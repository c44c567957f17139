// What one call of the publisher is to do: the options, checked against each other. Pure; input is opened
// later.

import RedisSchema
import Options

/// A checked call.
struct Job: Sendable {
    /// What is published.
    enum Source: Sendable, Equatable {
        /// One notice to each room. The data is as given; `-` stands for stdin.
        case rooms([RoomId], data: String)
        /// The lines of a file; `-` stands for stdin.
        case file(path: String)
    }

    /// What a bad line or a refused notice of a file leads to.
    enum ErrorRule: String, CaseIterable, Sendable {
        case stop, skip
    }

    let source: Source
    let type: String
    /// nil if the notices are of the moment.
    let durability: Durability?
    /// At least one.
    let targets: [RedisSettings]
    let channels: Channels
    /// Notices a second; nil is no limit.
    let ratePerSecond: Int?
    /// Lines of the file before this one are passed over.
    let firstLine: Int
    let errorRule: ErrorRule
    let isJson: Bool
    let isQuiet: Bool

    /// Checks the options.
    ///
    /// - Throws: `UsageError`, one line that names the option.
    init(_ values: OptionValues) throws(UsageError) {
        source = try Self.source(values)
        type = try values.value("type", TextConverter(expected: "a text") { $0 })
        durability = try Durability.read(values)
        targets = try RedisSettings.all(values)
        channels = Channels(prefix: targets[0].prefix)
        ratePerSecond = try values.optional("rate", IntegerConverter(1...1_000_000))
        firstLine = try values.value("from-line", IntegerConverter(1...Int.max - 1))
        errorRule = try values.value("on-error", ChoiceConverter(ErrorRule.self))
        isJson = try values.flag("json")
        isQuiet = try values.flag("quiet")
        try Self.refuseStrayFileOptions(values, source)
        try refuseBraces()
    }

    /// Whether one of the targets is a Redis Cluster.
    var isCluster: Bool { targets.contains(where: \.url.isCluster) }

    private func refuseBraces() throws(UsageError) {
        guard isCluster, durability != nil, case .rooms(let rooms, data: _) = source,
            let room = rooms.first(where: \.hasBrace)
        else {
            return
        }
        throw UsageError("--room \(room): \(DurableNotice.braceFault)")
    }

    private static func source(_ values: OptionValues) throws(UsageError) -> Source {
        let rooms = try rooms(values)
        let data = try values.optional("data", TextConverter(expected: "JSON") { $0 })
        let path = try values.optional("file", TextConverter(expected: "a path") { $0.isEmpty ? nil : $0 })
        if let path {
            guard rooms.isEmpty && data == nil else {
                throw UsageError("--file: cannot stand with --room or --data, whose place the lines take")
            }
            guard values.origin(of: "once") != .commandLine else {
                throw UsageError("--once: cannot stand with --file, whose lines have a member once")
            }
            return .file(path: path)
        }
        guard !rooms.isEmpty else {
            throw UsageError("nothing to publish, expected --room and --data, or --file")
        }
        guard let data else { throw UsageError("--data: missing, expected --data JSON with --room") }
        return .rooms(rooms, data: data)
    }

    /// The different rooms of `--room`, in their order.
    static func rooms(_ values: OptionValues) throws(UsageError) -> [RoomId] {
        var seen: Set<RoomId> = []
        return try values.all("room", TextConverter(expected: Notice.roomForm) { RoomId($0) })
            .filter { seen.insert($0).inserted }
    }

    /// Options that only mean something for a file; in the environment they may stand for other calls.
    private static func refuseStrayFileOptions(_ values: OptionValues, _ source: Source) throws(UsageError) {
        guard case .rooms = source else { return }
        for name in ["rate", "from-line", "on-error"] where values.origin(of: name) == .commandLine {
            throw UsageError("--\(name): is for --file only")
        }
    }
}
