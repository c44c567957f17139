// The options of `publisher revoke`: parsing and --help come from this list. The comment above each default
// gives its reason.

import RedisSchema
import Options

/// The declarations of the command line.
enum RevokeOptions {
    static let program = Program(
        name: "publisher revoke", version: Roomcast.version,
        summary: "ends tokens and their connections at once",
        usage: [
            "[--redis URL] --token TOKEN", "[--redis URL] --user USER", "[--redis URL] --device DEVICE",
        ],
        variablePrefix: "PUBLISHER_", options: targetOptions + RedisSettings.options + outputOptions,
        notes: [
            "A revoked token is unknown from then on: heartbeats answer \"token error\", and a client that is "
                + "connected with it is closed with 4003 on whichever node it is. For each token its first four "
                + "characters are printed, and the node of its last connection if that node still runs (the "
                + "client may have left it since).",
            "By user or device every record in Redis is looked through, in short steps between which Redis "
                + "serves others. Tokens that are issued during the walk may be missed: stop issuing them first. In a "
                + "Redis Cluster the walk begins again if slots have moved meanwhile.",
            "Exit: 0 all that were found are revoked, even if none was found; 1 Redis could not be reached, or "
                + "refused, or the result could not be written; 2 wrong usage; 130, 143 or 129 interrupted by SIGINT, "
                + "SIGTERM or SIGHUP.",
        ], showsStrayArguments: false)

    private static let targetOptions = [
        Option(
            "token", .value(placeholder: "TOKEN"), section: "Whom", isSecret: true,
            help: "This token; one that begins with -- as --token=TOKEN."),
        Option(
            "user", .value(placeholder: "USER"), section: "Whom",
            help: "All tokens of the user with this userId."),
        Option(
            "device", .value(placeholder: "DEVICE"), section: "Whom",
            help: "All tokens of the device with this deviceId."),
    ]

    private static let outputOptions = [
        Option("json", .flag, section: "Output", help: "The result on stdout as one JSON object."),
        Option(
            "quiet", .flag, section: "Output",
            help: "No progress and no results as text; errors still appear."),
    ]
}

/// A checked call.
struct RevokeJob: Sendable {
    /// What is revoked.
    enum Target: Sendable, Equatable {
        case token(Token)
        /// Every token whose record has this identity in this field, `userId` or `deviceId`.
        case tokens(field: ClientField, identity: Identity)
    }

    let target: Target
    let redis: RedisSettings
    let isJson: Bool
    let isQuiet: Bool

    /// Checks the options.
    ///
    /// - Throws: `UsageError`, one line that names the option.
    init(_ values: OptionValues) throws(UsageError) {
        target = try Self.target(values)
        redis = try RedisSettings(values)
        isJson = try values.flag("json")
        isQuiet = try values.flag("quiet")
    }

    private static func target(_ values: OptionValues) throws(UsageError) -> Target {
        let given = ["token", "user", "device"].filter { values.origin(of: $0) != nil }
        guard given.count < 2 else {
            throw UsageError(
                "\(given.map(values.originText).joined(separator: ", ")): expected only one of them")
        }
        let tokenForm = "a token: \(Token.byteCount) characters of A-Z a-z 0-9 - _"
        if let token = try values.optional("token", TextConverter(expected: tokenForm) { Token($0) }) {
            return .token(token)
        }
        let identity = TextConverter(
            expected: "1 to \(Identity.maximumBytes) bytes of UTF-8 without control characters"
        ) { Identity($0) }
        if let user = try values.optional("user", identity) {
            return .tokens(field: .userId, identity: user)
        }
        if let device = try values.optional("device", identity) {
            return .tokens(field: .deviceId, identity: device)
        }
        throw UsageError("nothing to revoke, expected --token, --user or --device")
    }
}
