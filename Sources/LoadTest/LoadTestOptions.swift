// The declarations of the load test's options; the comment above each gives the reason for its default.

import RedisSchema
import Options
import Redis
import RedisOptions

/// The load test as a program.
enum LoadTestOptions {
    static let program = Program(
        name: "loadtest", version: Roomcast.version,
        summary: "holds WebSocket clients, publishes, checks every delivery and measures",
        usage: [
            "--gateway HOST:PORT[,HOST:PORT ...] [--redis URL] [--clients N] [--rate N | --window N] "
                + "[options]"
        ],
        variablePrefix: "LOADTEST_",
        options: targetOptions + RedisTLSOptions.options(section: "Target") + clientOptions + messageOptions
            + timeOptions + outputOptions,
        notes: [
            "Without --rate and --window nothing is published: idle connections are measured.",
            "Exit: 0 every message arrived once, in order and intact, and every connection stood; "
                + "1 one did not; 2 wrong usage; 3 no client could connect, or Redis could not be reached.",
        ])

    private static let targetOptions = [
        Option(
            "gateway", .value(placeholder: "LIST"), section: "Target",
            help: "Addresses of the gateways, HOST:PORT, separated by commas; clients go round them."),
        // None: a gateway that goes away is a failure of the run.
        Option(
            "failover", .value(placeholder: "LIST"), section: "Target", default: .text(""),
            help: "Gateways to which clients go at once, with their tokens, when theirs ends the connection."
        ),
        // Where a Redis that was just installed listens.
        Option(
            "redis", .value(placeholder: "URL"), section: "Target", default: .text("redis://127.0.0.1:6379"),
            fallbackVariables: ["REDIS_URL"], isSecret: true,
            help: "Where to publish: \(RedisURL.expectedForm)."),
        // None: most tests have a Redis without a password, or one in the URL.
        Option(
            "redis-password-file", .value(placeholder: "FILE"), section: "Target",
            help: "File with the password of Redis, read at every login; replaces the URL's."),
        // Empty: channels are room:<id>, as documented.
        Option(
            "prefix", .value(placeholder: "TEXT"), section: "Target", default: .text(""),
            help: "What stands in front of every channel; the same as the gateways' --prefix."),
        // The gateways' own rule; none is for other WebSocket servers.
        Option(
            "token", .value(placeholder: "gateway|none"), section: "Target", default: .text("gateway"),
            help: "Whether each client fetches a token first."),
        // None: nodes issue tokens to anyone unless an option says otherwise.
        Option(
            "issue-key", .value(placeholder: "KEY"), section: "Target", isSecret: true,
            help: "The gateways' issue key, without which they may refuse tokens. Best in the environment."),
        Option(
            "path", .value(placeholder: "PATH"), section: "Target",
            help: "With --token none: what clients ask for, such as /sub/{room}."),
        Option(
            "publish-url", .value(placeholder: "URL"), section: "Target",
            help: "Publish by HTTP POST instead of Redis: http://HOST:PORT/pub/{room}."),
        // What an operator wants to know of the server: CPU seconds and memory.
        Option(
            "pids", .value(placeholder: "LIST"), section: "Target", default: .text(""),
            help: "Processes on this machine whose CPU time and memory are measured."),
    ]

    private static let clientOptions = [
        // Enough to see something, small enough for any laptop.
        Option(
            "clients", .value(placeholder: "N"), section: "Clients", default: .text("1000"),
            help: "Connections to hold, 1 to 1000000."),
        Option(
            "rooms", .value(placeholder: "N"), section: "Clients", default: .text("1"),
            help: "Rooms; client i is in room i mod N."),
        Option(
            "rooms-per-client", .value(placeholder: "1|2"), section: "Clients", default: .text("1"),
            help: "With 2, also in room (i + 1) mod N."),
        // Below what one gateway worker takes, so that connecting does not fail by itself.
        Option(
            "connect-rate", .value(placeholder: "N"), section: "Clients", default: .text("2000"),
            help: "New connections a second, over all processes."),
        // A process holds 20,000 descriptors in many an installation.
        Option(
            "processes", .value(placeholder: "N"), section: "Clients",
            default: .described("one for each 15000 connections"),
            help: "Processes that hold the clients, 1 to 64."),
        // As the API asks of every client; a run beyond 30 s would lose its connections without.
        Option(
            "heartbeats", .value(placeholder: "on|off"), section: "Clients", default: .text("on"),
            help: "Each client with a token beats every 25 s."),
        // What fan-out costs shows better without them; browsers have a connection each.
        Option(
            "heartbeat-connections", .value(placeholder: "shared|own"), section: "Clients",
            default: .text("shared"),
            help: "With own, each client fetches its token and beats over a kept-alive connection of its "
                + "own, as browsers do; with shared, over a few for all."),
        // What the API is about; event streams are for clients that WebSockets do not reach.
        Option(
            "transport", .value(placeholder: "websocket|events|mixed"), section: "Clients",
            default: .text("websocket"),
            help: "What clients connect with; with mixed, every other one takes an event stream."),
        // Off, as at the gateway; browsers ask for it always.
        Option(
            "compression", .flag, section: "Clients",
            help:
                "Clients ask for compressed messages (permessage-deflate); a gateway that declines refuses them."
        ),
        Option(
            "slow", .value(placeholder: "N"), section: "Clients", default: .text("0"),
            help: "The first N clients stop reading once connected."),
        Option(
            "churn", .value(placeholder: "N"), section: "Clients", default: .text("0"),
            help: "Clients a second that leave and come back."),
    ]

    private static let messageOptions = [
        // A short notice.
        Option(
            "payload", .value(placeholder: "SIZE"), section: "Messages", default: .text("128B"),
            help: "Size of each message, \(LoadPayload.minimumBytes)B at least."),
        Option(
            "rate", .value(placeholder: "N"), section: "Messages",
            help: "Publish N messages a second (0.2: one each 5 s), evenly spaced, over all rooms in turn."),
        Option(
            "window", .value(placeholder: "N"), section: "Messages",
            help: "Publish as fast as the clients keep up: at most N messages that not all receivers have."),
        Option(
            "durable", .flag, section: "Messages",
            help:
                "Publish durably (FCALL) to clients that resume: with --failover they get what they missed."
        ),
        Option(
            "messages", .value(placeholder: "N"), section: "Messages",
            help: "End after N messages instead of --duration (warm-up not counted)."),
    ]

    private static let timeOptions = [
        // Caches, page faults and TCP windows settle within it.
        Option(
            "warmup", .value(placeholder: "TIME"), section: "Times", default: .text("2s"),
            help: "Time to publish before the figures count; deliveries are checked all the same."),
        Option(
            "duration", .value(placeholder: "TIME"), section: "Times", default: .text("10s"),
            help: "Length of the measured phase, 100ms to 24h."),
        // Many times the latency of a healthy gateway.
        Option(
            "settle", .value(placeholder: "TIME"), section: "Times", default: .text("5s"),
            help: "Longest wait for what is missing at the end, and for a full window to move."),
    ]

    private static let outputOptions = [
        Option("json", .flag, section: "Output", help: "One JSON object on stdout instead of the table."),
        Option("quiet", .flag, section: "Output", help: "No progress on stderr."),
    ]
}
