// The declarations of a node's options: parsing, --help and the reference's tables come from this list. The
// comment above each option gives the reason for its default.

import Options
import Redis
import RedisOptions
import RedisSchema

extension Configuration {
    /// The gateway as a program.
    static let program = Program(
        name: "gateway", version: Roomcast.version,
        summary: "pushes what is published in Redis to the clients of its room",
        variablePrefix: "GATEWAY_", options: options,
        notes: [
            "Durations carry a unit (500ms, 30s, 5m, 24h), sizes too (512B, 64KiB, 1MiB).",
            "SIGTERM drains the node: readiness goes off, the node closes its clients with 1001 spread over the drain "
                + "time, and exits with 0. A second SIGTERM, more than a second later, ends it at once. It ignores SIGHUP, "
                + "SIGUSR1 and SIGUSR2, as there is no configuration file to read again. Exit 2: an option, a value or an "
                + "environment variable is wrong, or the command line cannot be read (no /proc); 1: the node cannot start.",
        ])

    /// Every option, by section, in the order of the help.
    static let options: [Option] =
        listenOptions + consoleOptions + redisOptions + linkOptions
        + RedisTLSOptions.options(section: "Redis") + accessOptions + clientOptions
        + compressionOptions + limitOptions
        + addressLimitOptions + socketOptions + timeOptions + drainOptions + operationOptions

    private static let listenOptions = [
        // All interfaces: a node usually runs in a container, where loopback would be unreachable.
        Option(
            "listen", .value(placeholder: "HOST:PORT"), section: "Listening", default: .text("0.0.0.0:8080"),
            help: "Address for clients; :8080 listens on all addresses, IPv6 and IPv4."),
        // Loopback: metrics and readiness stay on the machine until an operator decides otherwise.
        Option(
            "admin-listen", .value(placeholder: "HOST:PORT|off"), section: "Listening",
            default: .text("127.0.0.1:9090"), help: "Address for metrics, liveness and readiness."),
        // Empty: operators, probes and scrapers use an address or localhost.
        Option(
            "admin-hosts", .value(placeholder: "LIST"), section: "Listening", default: .text(""),
            help:
                "Host names that requests to that address may use, such as node-1.example,gateway, besides IP "
                + "addresses and localhost."),
        // Threads as there are cores: the feed's is one of them, and a single worker shares its own with the
        // feed. One more costs each message of a small room a wake-up, and competes with Redis.
        Option(
            "workers", .value(placeholder: "N"), section: "Listening",
            default: .described("one less than the cores that the process may use, at least 1"),
            help: "Worker threads, each with its own listener and clients."),
        // Where it works, a delivery takes a fifth less CPU; where it does not, trying costs nothing.
        Option(
            "io-uring", .value(placeholder: "auto|off"), section: "Listening", default: .text("auto"),
            help:
                "Use io_uring to write to all clients of a turn at once, if the kernel allows it; otherwise, and "
                + "with off, write to one client after the other."),
        // Host name and random digits: unique without a setting, even for two nodes on one host and after a
        // restart.
        Option(
            "node-id", .value(placeholder: "ID"), section: "Listening",
            default: .described("host name, \"-\" and 6 random hex digits"),
            help:
                "Name of this node, unique among the nodes of one Redis: 1 to 64 characters of A-Z a-z 0-9 . _ -"
        ),
    ]

    private static let consoleOptions = [
        // On: the admin listener is on loopback by default, and the page shows no more than the metrics do.
        Option(
            "console", .value(placeholder: "on|off"), section: "Console", default: .text("on"),
            help: "Serve a web page about all nodes at /console/ of the admin listener."),
        // Unset: the console only shows things until an operator sets a key.
        Option(
            "admin-key", .value(placeholder: "KEY"), section: "Console", isSecret: true,
            help:
                "Key for POST /api/publish, and for the console before it publishes, watches a room or revokes a token: "
                + "\(BearerKey.form). Without a key nobody can do any of these. Best set in the environment."
        ),
    ]

    private static let redisOptions = [
        // A freshly installed Redis listens there.
        Option(
            "redis", .value(placeholder: "URL"), section: "Redis", default: .text("redis://127.0.0.1:6379"),
            fallbackVariables: ["REDIS_URL"], isSecret: true,
            help: "\(RedisURL.expectedForm)."),
        // Not an argument: every user of the machine can read those.
        Option(
            "redis-password", .value(placeholder: "TEXT"), section: "Redis",
            fallbackVariables: ["REDIS_PASSWORD"],
            isSecret: true, isEnvironmentOnly: true, help: "Password of Redis; replaces the one in the URL."),
        // None: a password that never changes is as well in the environment.
        Option(
            "redis-password-file", .value(placeholder: "FILE"), section: "Redis",
            help:
                "File with the password of Redis, read at every login and looked at while connected; replaces the ones "
                + "in the URL and in the environment."),
        // Empty: channels are room:<id> and keys client:<token>, as documented.
        Option(
            "prefix", .value(placeholder: "TEXT"), section: "Redis", default: .text(""),
            help: "Prefix of every channel and key, so that several installations can share one Redis."),
        // The contract allows a request to wait this long; a healthy Redis answers in a millisecond.
        Option(
            "redis-timeout", .value(placeholder: "TIME"), section: "Redis", default: .text("2s"),
            help: "How long a request waits for Redis before it gets 503, 50ms to 2s."),
        // Several lost echoes, not one: a fork for a snapshot can stall Redis for a second.
        Option(
            "redis-silence-timeout", .value(placeholder: "TIME"), section: "Redis", default: .text("5s"),
            help: "Give up a connection to Redis that has sent nothing for this long, 1s to 60s."),
        // A client that reloads its page comes back within seconds and finds the room still subscribed.
        Option(
            "unsubscribe-grace", .value(placeholder: "TIME"), section: "Redis", default: .text("10s"),
            help: "How long a room stays subscribed after its last client has left."),
    ]

    private static let accessOptions = [
        // Unset: by the API document anyone can get a token. Two, so that a key can be changed without a
        // gap.
        Option(
            "issue-key", .value(placeholder: "KEY[,KEY]"), section: "Access", isSecret: true,
            help:
                "Issue tokens only to requests with Authorization: Bearer KEY, which only your backend knows: "
                + "\(BearerKey.form). Of two keys, either is accepted. Best set in the environment.")
    ]

    private static let linkOptions = [
        // Not an argument, like the other one. Sentinels may have a password of their own.
        Option(
            "sentinel-password", .value(placeholder: "TEXT"), section: "Redis", isSecret: true,
            isEnvironmentOnly: true, help: "Password of the sentinels themselves."),
        // Off: a client that does not know these frames would take one for a published notice.
        Option(
            "gap-notice", .value(placeholder: "on|off"), section: "Redis", default: .text("off"),
            help:
                "Send clients a frame of type gap when they may have missed messages because the node had lost "
                + "Redis."),
        // The shortest that publishers may choose: a longer one would take a history that has run out for one
        // that is whole, and lose in silence; a shorter one only reports more losses than there are.
        Option(
            "history-age", .value(placeholder: "TIME"), section: "Durable rooms", default: .text("10m"),
            help:
                "The shortest time for which any publisher keeps durable notices, 10m to 720h. Clients that come "
                + "back to a room that was silent for longer are told that notices may be missing."),
        // 100,000 notices of 128 bytes, or 30 s of 10 MB/s: what storms of clients come back for is read once.
        Option(
            "history-cache", .value(placeholder: "SIZE"), section: "Durable rooms", default: .text("32MiB"),
            help: "Memory for recent durable notices, so that clients resume without reading from Redis."),
    ]

    private static let clientOptions = [
        // The interval of the API document: clients beat every 20 to 29 s.
        Option(
            "heartbeat-timeout", .value(placeholder: "TIME"), section: "Clients", default: .text("30s"),
            help: "Close a connection with 4000 after this long without a heartbeat, 1s to 1h."),
        // As the API document says. Pongs need a client that answers Pings, which every WebSocket library
        // does, but clients that only know the document send requests anyway.
        Option(
            "heartbeat", .value(placeholder: "request|pong"), section: "Clients", default: .text("request"),
            help:
                "What counts as a heartbeat: GET /heartbeat, or also the answer to the node's Ping, so that "
                + "clients need not send any."),
        // Less than the patience of usual proxies, 60 s, and with heartbeats by Pong than the timeout, 30 s.
        Option(
            "ping-interval", .value(placeholder: "TIME|off"), section: "Clients", default: .text("25s"),
            help:
                "Send a Ping when nothing was sent for this long, 1s to 1h, so that no proxy takes the "
                + "connection for dead. With heartbeat pong: always this often, and at least 2s less than "
                + "heartbeat-timeout."),
        // Long enough to reconnect after a lunch break in a tunnel, short enough to keep Redis free of stale
        // tokens.
        Option(
            "token-ttl", .value(placeholder: "TIME"), section: "Clients", default: .text("1h"),
            help:
                "Life of a token after its last heartbeat: at least heartbeat-timeout and 5s, at most 720h."
        ),
        // A page connects within seconds of getting its token; unused tokens must not fill Redis for an
        // hour.
        Option(
            "unused-token-ttl", .value(placeholder: "TIME"), section: "Clients", default: .text("10m"),
            help:
                "Life of a token until its first handshake or heartbeat, 1s to 720h; never longer than token-ttl."
        ),
        // Any: the token is the only credential and no cookie is read, so another site gains nothing.
        Option(
            "allowed-origins", .value(placeholder: "LIST"), section: "Clients", default: .text("*"),
            help:
                "Origins from which browsers may connect, such as https://a.example,https://*.b.example:8443,null,"
                + "app://; * allows any. A request without Origin is always accepted."),
        // Empty: anyone can send the header, so it must not decide the address in the records.
        Option(
            "trusted-proxies", .value(placeholder: "LIST"), section: "Clients", default: .text(""),
            help: "Addresses and CIDR blocks of the proxies whose X-Forwarded-For is trusted."),
    ]

    private static let compressionOptions = [
        // Off: it costs CPU time here and in every client, and what balancers and logs see is no longer readable.
        Option(
            "compression", .value(placeholder: "on|off"), section: "Clients", default: .text("off"),
            help:
                "Compress notices for the WebSocket clients that ask for it (permessage-deflate), each notice once. "
                + "Only in builds with the package trait Compression."),
        // What is smaller fits into one packet as it is.
        Option(
            "compression-minimum-bytes", .value(placeholder: "SIZE"), section: "Clients",
            default: .text("256B"),
            help: "Leave smaller payloads as they are: 1B to 1MiB, or a number of bytes."),
    ]

    private static let limitOptions = [
        // As the contract says; nginx allows the same by default.
        Option(
            "maximum-header-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("8KiB"),
            help: "Answer a larger request head with 431; cookies count separately, up to 16KiB."),
        // As the contract says. Clients have nothing to send, so this only bounds memory.
        Option(
            "maximum-message-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("64KiB"),
            help: "Close a connection with 1009 if its client sends a larger message."),
        // Computed from the descriptor limit, because descriptors run out first.
        Option(
            "maximum-connections", .value(placeholder: "N"), section: "Limits",
            default: .described("90 % of the descriptor limit"),
            help: "WebSockets and event streams of the whole node; it refuses further ones."),
        // Holds thousands of usual notices, yet a thousand stuck clients cost a gigabyte at most.
        Option(
            "maximum-queue-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("1MiB"),
            help: "Close a client with 1013 when more than this waits for it."),
        // Far above any notice; one mistake of a publisher must not fill the queues of ten thousand clients.
        Option(
            "maximum-payload-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("16MiB"),
            help: "Drop a larger published payload, count it and log it: no one receives it."),
    ]

    /// The first three are off by default: behind a proxy that is not listed all clients have one address,
    /// and what a node can take depends on the machine.
    private static let addressLimitOptions = [
        Option(
            "maximum-connections-per-address", .value(placeholder: "N"), section: "Limits",
            default: .described("no limit"),
            help:
                "Connections that one client address (IPv6: one /64) may have on this node; further ones get 429."
        ),
        Option(
            "handshake-rate", .value(placeholder: "N"), section: "Limits", default: .described("no limit"),
            help:
                "Handshakes a second that this node accepts; further ones get 503 with Retry-After."
        ),
        Option(
            "token-rate-per-address", .value(placeholder: "N"), section: "Limits",
            default: .described("no limit"),
            help:
                "Tokens a second that this node issues to one client address (IPv6: one /64); further requests get "
                + "429."),
        // More than a node can take handshakes; without a limit anyone could fill Redis within a minute.
        Option(
            "token-rate", .value(placeholder: "N"), section: "Limits", default: .text("2000"),
            help:
                "Tokens a second that this node issues; further requests get 429 with Retry-After. 0 is no limit."
        ),
    ]

    private static let socketOptions = [
        // Several hundred notices, and 0.6 MB/s for a client 200 ms away. A client that stops reading holds
        // 160 KB of kernel memory; by default the kernel would let it hold 4 MB.
        Option(
            "socket-send-buffer", .value(placeholder: "SIZE|auto"), section: "Sockets",
            default: .text("64KiB"),
            help: "How much the kernel buffers for a client before the node queues for it (SO_SNDBUF)."),
        // Twice the heartbeat timeout: a client that is silent for 30 s gets its Close frame first and has
        // time to read it.
        Option(
            "tcp-user-timeout", .value(placeholder: "TIME"), section: "Sockets", default: .text("60s"),
            help: "Cut a connection that has acknowledged nothing for this long; 0s leaves it to the kernel."
        ),
        // Heartbeats travel on other connections, so they do not show that a WebSocket's peer has vanished.
        // Shorter than the minutes after which routers forget a silent connection; and half the user
        // timeout, which ends the probing, too (tcp(7)), so that five probes must be lost and not one.
        Option(
            "tcp-keep-alive", .value(placeholder: "TIME"), section: "Sockets", default: .text("30s"),
            help:
                "Probe a connection that has been silent for this long, and again every quarter of that time."
        ),
    ]

    private static let timeOptions = [
        // As the contract says. Ends a client that sends its head byte by byte.
        Option(
            "request-timeout", .value(placeholder: "TIME"), section: "Times", default: .text("10s"),
            help: "How long a client may take to send a request head before it gets 408."),
        // Above the 60 s for which nginx keeps an idle connection to an upstream, so that nginx closes
        // first.
        Option(
            "keep-alive-timeout", .value(placeholder: "TIME"), section: "Times", default: .text("75s"),
            help: "How long an HTTP connection may stay idle between two requests."),
        // Spreads reconnects to the other nodes, and fits in the 30 s that orchestrators grant.
        Option(
            "drain-time", .value(placeholder: "TIME"), section: "Times", default: .text("10s"),
            help: "Time over which SIGTERM spreads the closing of clients, 0s to 1h."),
    ]

    private static let drainOptions = [
        // Zero: a balancer that tries the next node after a 503 or a refused connection, as
        // deploy/nginx.conf does, needs no warning.
        Option(
            "drain-delay", .value(placeholder: "TIME"), section: "Times", default: .text("0s"),
            help: "How long after readiness has gone off the drain begins, 0s to 1h.")
    ]

    private static let operationOptions = [
        // Starts, stops and trouble, but no line for a client or a message.
        Option(
            "log-level", .value(placeholder: "debug|info|warning|error"), section: "Log",
            default: .text("info"),
            help: "Write lines of this level and above."),
        // People read the log first; collectors take json.
        Option(
            "log-format", .value(placeholder: "text|json"), section: "Log", default: .text("text"),
            help: "Form of the log's lines."),
    ]
}
