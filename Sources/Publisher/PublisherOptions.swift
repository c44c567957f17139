// The declarations of the publisher's options: parsing, --help and the reference's tables come from this
// list. The comment above each gives the reason for its default.

import RedisSchema
import Options

/// The publisher as a program.
enum PublisherOptions {
    static let program = Program(
        name: "publisher", version: Roomcast.version, summary: "publishes notices to rooms",
        usage: [
            "[--redis URL ...] --room ROOM [--room ROOM ...] [--type TYPE] --data JSON|-",
            "[--redis URL ...] --file PATH|- [--rate N] [--on-error stop|skip]",
            "--durable [--once KEY] [--history-limit N] [--history-age TIME] [--replicas N] ...",
            "library [--eval]",
            "revoke [--redis URL] --token TOKEN | --user USER | --device DEVICE",
            "nodes [--redis URL] [--watch [TIME]]",
            "rooms [--redis URL] [--top N|all]",
            "watch [--redis URL] --room ROOM [--room ROOM ...] [--count N]",
            "top [--redis URL] [--interval TIME]",
        ],
        variablePrefix: "PUBLISHER_",
        options: noticeOptions + fileOptions + Durability.options + RedisSettings.optionsOfSeveral
            + outputOptions,
        notes: [
            "publisher revoke --help explains how to revoke tokens; nodes, rooms, watch and top show what the cluster "
                + "does, library prints what publishes durable notices within Redis; each has a --help.",
            "A room's clients receive {\"type\":TYPE,\"data\":JSON}. For each room the number of "
                + "nodes that received it is printed: gateways with a client in the room, not clients. A Redis "
                + "Cluster does not count them: published is printed, and with --json null. A room that is named "
                + "twice gets one notice.",
            "With --durable the id of the notice is printed, too. A key that is known publishes nothing and prints the "
                + "id of the first time. What Redis refuses is neither stored nor published.",
            "A file holds one {\"room\":...,\"type\":...,\"data\":...} a line, 1 MiB at most; type "
                + "may be left out, blank lines are passed over. It is streamed, so it may be endless. A call that "
                + "ends before the end of the file names the line to continue from with --from-line: every line before "
                + "it was sent, except for lines that it names one by one.",
            "With several --redis, as for installations in several regions, each result begins with the server's HOST:PORT, "
                + "and the exit code is 0 only if every server took everything. One that is slow holds up the others "
                + "for --timeout at most; one that fails gets nothing more, and the others go on.",
            "Exit: 0 everything was published; 1 Redis could not be reached, a notice was refused, "
                + "a line was bad, skipped ones included, or the result could not be written; 2 wrong usage, nothing "
                + "was sent; 130, 143 or 129 interrupted by SIGINT, SIGTERM or SIGHUP, after what was in flight has "
                + "been answered and accounted for. A second signal, more than a second later, ends it at once.",
        ],
        subcommands: Command.subcommands.compactMap { command in
            command.word.map { Program.Subcommand(word: $0, program: command.program) }
        })

    private static let noticeOptions = [
        Option(
            "room", .repeatable(placeholder: "ROOM"), section: "Notice",
            help: "Room to publish to: \(Notice.roomForm)."),
        // The type in the API document's example.
        Option(
            "type", .value(placeholder: "TYPE"), section: "Notice",
            default: .text(NoticeEnvelope.defaultType),
            help: "Type of the notice; with --file of lines without a type."),
        Option(
            "data", .value(placeholder: "JSON|-"), section: "Notice",
            help: "The notice's data, any JSON value, passed on byte for byte; - reads it from stdin."),
    ]

    private static let fileOptions = [
        Option(
            "file", .value(placeholder: "PATH|-"), section: "File",
            help: "Publish each line of a file; - is stdin."),
        // As fast as Redis takes them: a file is mostly sent by hand, once.
        Option(
            "rate", .value(placeholder: "N"), section: "File", default: .described("no limit"),
            help: "At most N notices a second, evenly spaced, 1 to 1000000."),
        // All of it: only an interrupted call has sent a part.
        Option(
            "from-line", .value(placeholder: "N"), section: "File", default: .text("1"),
            help: "Pass over the lines before line N, as the message of an interrupted call says."),
        // Stop: a bad line is a sign of a bad file, and what has been pushed cannot be taken back.
        Option(
            "on-error", .value(placeholder: "stop|skip"), section: "File", default: .text("stop"),
            help:
                "What to do at a bad line or a refused notice: stop sending, or name it and continue. "
                + "Lines before it are sent and accounted for; up to \(PublishWindow.maximumCount) "
                + "notices may be on their way before a refusal is known. The exit code is 1 either "
                + "way."),
    ]

    private static let outputOptions = [
        Option(
            "json", .flag, section: "Output",
            help: "Results on stdout as JSON: one object a room, or one a file."),
        Option(
            "quiet", .flag, section: "Output",
            help: "No progress and no results as text; errors still appear."),
    ]
}
