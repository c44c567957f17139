// What makes notices durable: the options, checked. Pure.

import Options
import RedisSchema

/// The checked options of the section "Durable".
struct Durability: Equatable, Sendable {
    /// Of `--once`, for each room; nil gives each notice a key of the call's own.
    let once: OnceKey?
    let bounds: HistoryBounds
    /// How many replicas must have a notice.
    let replicaCount: Int?

    static let options = [
        // Off: a room's history costs Redis memory, and most notices are of the moment.
        Option(
            "durable", .flag, section: "Durable",
            help:
                "Keep the notices in their rooms' history and publish them, in one step; needs Redis 7. A call "
                + "that loses Redis sends again for --timeout what has no answer, and each notice is stored once."
        ),
        Option(
            "once", .value(placeholder: "KEY"), section: "Durable",
            help: "Publish to each room only if no notice of this KEY was published to it in the last "
                + "\(DurableNotice.onceLife.optionText): \(OnceKey.form). Lines of a --file have a member once."
        ),
        Option(
            "history-limit", .value(placeholder: "N"), section: "Durable",
            default: .text("\(HistoryBounds.defaultLimit)"),
            help: "Keep about the N latest notices of a room, "
                + "\(HistoryBounds.limits.lowerBound) to \(HistoryBounds.limits.upperBound)."),
        Option(
            "history-age", .value(placeholder: "TIME"), section: "Durable",
            default: .text(HistoryBounds.defaultAge.optionText),
            help: "Keep them for TIME after the room's last notice, "
                + "\(ages.lowerBound.optionText) to \(ages.upperBound.optionText)."),
        // None: a replica's confirmation costs a round trip to it.
        Option(
            "replicas", .value(placeholder: "N"), section: "Durable",
            help:
                "Wait for --timeout until N of Redis' replicas have the notices, 1 to 100; exit 1 if fewer have."
        ),
    ]

    /// Far beyond any use of a history; the library takes more.
    private static let ages = HistoryBounds.ages.lowerBound ... .seconds(87_600 * 3_600)

    /// Checks the values of `options`.
    ///
    /// - Returns: nil without `--durable`.
    /// - Throws: `UsageError`, one line that names the option.
    static func read(_ values: OptionValues) throws(UsageError) -> Durability? {
        let durability = try Durability(values)
        if try values.flag("durable") { return durability }
        // In the environment they may stand for other calls.
        for option in options where values.origin(of: option.name) == .commandLine {
            throw UsageError("--\(option.name): is for --durable only")
        }
        return nil
    }

    private init(_ values: OptionValues) throws(UsageError) {
        once = try values.optional("once", TextConverter(expected: OnceKey.form) { OnceKey($0) })
        bounds = HistoryBounds(
            limit: try values.value("history-limit", IntegerConverter(HistoryBounds.limits)),
            age: try values.value("history-age", DurationConverter(Self.ages)))
        replicaCount = try values.optional("replicas", IntegerConverter(1...100))
    }
}
