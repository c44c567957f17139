// The declarations of a node's options: parsing, --help and the reference's tables come from this list. The
// comment above each tells why its default is what it is.

import RedisSchema
import Options
import Redis

extension Configuration {
    /// The gateway as a program.
    static let program = Program(
        name: "gateway", version: Roomcast.version,
        summary: "pushes what is published in Redis to the WebSocket clients of its room",
        variablePrefix: "GATEWAY_", options: options,
        notes: [
            "Durations carry a unit (500ms, 30s, 5m, 24h), sizes too (512B, 64KiB, 1MiB).",
            "SIGTERM drains: readiness goes off, clients are closed with 1001 spread over the drain time, "
                + "then exit 0. A second SIGTERM, more than a second later, ends at once. SIGHUP, SIGUSR1 and SIGUSR2 are "
                + "ignored: there is no configuration file to read again. "
                + "Exit 2: wrong option, value or environment variable, or the command line is lost (no /proc).",
        ])

    /// Every option, by section, in the order of the help.
    static let options: [Option] =
        listenOptions + consoleOptions + redisOptions + linkOptions + accessOptions + clientOptions + limitOptions
        + addressLimitOptions + socketOptions + timeOptions + drainOptions + operationOptions

    private static let listenOptions = [
        // All interfaces: a node usually runs in a container, where loopback would be unreachable.
        Option(
            "listen", .value(placeholder: "HOST:PORT"), section: "Listening", default: .text("0.0.0.0:8080"),
            help: "Address for clients; :8080 is all addresses, IPv6 and IPv4."),
        // Loopback: metrics and readiness are nobody's business outside the machine until somebody says so.
        Option(
            "admin-listen", .value(placeholder: "HOST:PORT|off"), section: "Listening",
            default: .text("127.0.0.1:9090"), help: "Address for metrics, liveness and readiness."),
        // None: an address and localhost are what operators, probes and scrapers use.
        Option(
            "admin-hosts", .value(placeholder: "LIST"), section: "Listening", default: .text(""),
            help: "Names by which that address may be asked, such as node-1.example,gateway; an IP address and "
                + "localhost always may, and nothing else."),
        // One a core: workers share nothing and are bound by send().
        Option(
            "workers", .value(placeholder: "N"), section: "Listening",
            default: .described("number of cores that the process may use"),
            help: "Worker threads, each with its own listener and clients."),
        // A fifth less CPU for a delivery where it works; where it does not, nothing is lost by having asked.
        Option(
            "io-uring", .value(placeholder: "auto|off"), section: "Listening", default: .text("auto"),
            help: "Write to all clients of a turn by io_uring where the kernel allows it, else one by one."),
        // Host name and random digits: unique without a setting, also for two nodes on one host and for
        // restarts.
        Option(
            "node-id", .value(placeholder: "ID"), section: "Listening",
            default: .described("host name, \"-\" and 6 random hex digits"),
            help: "Name of this node among all nodes of one Redis: 1 to 64 characters of A-Z a-z 0-9 . _ -"),
    ]

    private static let consoleOptions = [
        // On: the admin listener is loopback's by default, and the page shows no more than the metrics do.
        Option(
            "console", .value(placeholder: "on|off"), section: "Console", default: .text("on"),
            help: "Serve a web page about all nodes at /console/ of the admin listener."),
        // None: who reaches the admin listener may look, and nothing else until somebody says so.
        Option(
            "admin-key", .value(placeholder: "KEY"), section: "Console", isSecret: true,
            help: "Lets who knows it publish, watch rooms and revoke tokens in the console: \(BearerKey.form). "
                + "Best in the environment."),
    ]

    private static let redisOptions = [
        // Where a Redis that was just installed listens.
        Option(
            "redis", .value(placeholder: "URL"), section: "Redis", default: .text("redis://127.0.0.1:6379"),
            fallbackVariables: ["REDIS_URL"], isSecret: true,
            help: "\(RedisURL.expectedForm)."),
        // Out of the arguments, which every user of the machine can read.
        Option(
            "redis-password", .value(placeholder: "TEXT"), section: "Redis",
            fallbackVariables: ["REDIS_PASSWORD"],
            isSecret: true, isEnvironmentOnly: true, help: "Password, in place of the URL's."),
        // Empty: channels are room:<id> and keys client:<token>, as documented.
        Option(
            "prefix", .value(placeholder: "TEXT"), section: "Redis", default: .text(""),
            help: "Put in front of every channel and key, so that installations can share a Redis."),
        // The most that a request may wait by the contract; a healthy Redis answers in a millisecond.
        Option(
            "redis-timeout", .value(placeholder: "TIME"), section: "Redis", default: .text("2s"),
            help: "Longest wait of a request for Redis, 50ms to 2s; then 503."),
        // A few lost echoes, not one: a fork for a snapshot can stall Redis for a second.
        Option(
            "redis-silence-timeout", .value(placeholder: "TIME"), section: "Redis", default: .text("5s"),
            help: "A connection to Redis without an echo for this long is taken for dead, 1s to 60s."),
        // A client that reloads its page comes back within seconds: no need to leave and join again.
        Option(
            "unsubscribe-grace", .value(placeholder: "TIME"), section: "Redis", default: .text("10s"),
            help: "How long a room stays subscribed after its last client left."),
    ]

    private static let accessOptions = [
        // None: as in the API document, everybody may have a token. Two, so that a key can be changed without a gap.
        Option(
            "issue-key", .value(placeholder: "KEY[,KEY]"), section: "Access", isSecret: true,
            help: "Tokens are issued only to who sends Authorization: Bearer KEY, which is known to your backend "
                + "alone: \(BearerKey.form). Two keys are both taken. Best in the environment.")
    ]

    private static let linkOptions = [
        // Out of the arguments, as the other one. Sentinels have a password of their own, or none.
        Option(
            "sentinel-password", .value(placeholder: "TEXT"), section: "Redis", isSecret: true,
            isEnvironmentOnly: true, help: "Password of the sentinels themselves, if they have one."),
        // Off: a client that knows nothing of it would take the frame for a notice that somebody has published.
        Option(
            "gap-notice", .value(placeholder: "on|off"), section: "Redis", default: .text("off"),
            help: "Tell clients by a frame of type gap when messages may be missing, because the node was away "
                + "from Redis."),
    ]

    private static let clientOptions = [
        // The interval of the API document: clients beat every 20 to 29 s.
        Option(
            "heartbeat-timeout", .value(placeholder: "TIME"), section: "Clients", default: .text("30s"),
            help: "A connection without heartbeat for this long is closed with 4000, 1s to 1h."),
        // Long enough to reconnect after a lunch break in a tunnel, short enough that Redis forgets the gone.
        Option(
            "token-ttl", .value(placeholder: "TIME"), section: "Clients", default: .text("1h"),
            help: "Life of a token after its last heartbeat: heartbeat-timeout and 5s at least, 720h at most."
        ),
        // A page connects within seconds of getting its token; what nobody uses must not fill Redis for an hour.
        Option(
            "unused-token-ttl", .value(placeholder: "TIME"), section: "Clients", default: .text("10m"),
            help: "Life of a token until its first handshake or heartbeat, 1s to 720h; never longer than token-ttl."),
        // Any: the token is the credential, no cookie is read, so another site gains nothing.
        Option(
            "allowed-origins", .value(placeholder: "LIST"), section: "Clients", default: .text("*"),
            help: "Origins of browsers that may connect, such as https://a.example,https://*.b.example:8443,null,"
                + "app://; * is any. A request without Origin is always taken."),
        // None: a header that anybody can send must not choose the address in the records.
        Option(
            "trusted-proxies", .value(placeholder: "LIST"), section: "Clients", default: .text(""),
            help: "Addresses and CIDR blocks of proxies whose X-Forwarded-For is believed."),
    ]

    private static let limitOptions = [
        // As the contract says; nginx allows the same by default.
        Option(
            "maximum-header-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("8KiB"),
            help: "A larger request head is answered by 431; its cookies count apart, up to 16KiB."),
        // As the contract says: clients have nothing to send, so this only bounds memory.
        Option(
            "maximum-message-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("64KiB"),
            help: "A larger message of a client closes its connection with 1009."),
        // Reckoned, because one descriptor a connection is what runs out first.
        Option(
            "maximum-connections", .value(placeholder: "N"), section: "Limits",
            default: .described("90 % of the descriptor limit"),
            help: "Connections of the whole node; further ones are turned away."),
        // Thousands of usual notices, yet a thousand stuck clients cost a gigabyte at most.
        Option(
            "maximum-queue-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("1MiB"),
            help: "A client whose backlog passes this is closed with 1013."),
        // Far above any notice; a slip of a publisher must not fill the queues of ten thousand clients.
        Option(
            "maximum-payload-bytes", .value(placeholder: "SIZE"), section: "Limits", default: .text("16MiB"),
            help: "A larger published payload reaches nobody; it is counted and logged."),
    ]

    /// The first three are off by default: behind an unnamed proxy all clients have one address, and what is a storm
    /// depends on the machine.
    private static let addressLimitOptions = [
        Option(
            "maximum-connections-per-address", .value(placeholder: "N"), section: "Limits",
            default: .described("no limit"),
            help: "WebSockets of one client address (IPv6: of one /64) on this node; further ones get 429."),
        Option(
            "handshake-rate", .value(placeholder: "N"), section: "Limits", default: .described("no limit"),
            help: "WebSocket handshakes a second that this node takes; further ones get 503 with Retry-After."),
        Option(
            "token-rate-per-address", .value(placeholder: "N"), section: "Limits",
            default: .described("no limit"),
            help: "Tokens a second that one client address (IPv6: one /64) gets from this node; then 429."),
        // Above what a node takes of handshakes a second; without a limit anybody fills Redis within a minute.
        Option(
            "token-rate", .value(placeholder: "N"), section: "Limits", default: .text("2000"),
            help: "Tokens a second that this node issues; then 429 with Retry-After. 0 is no limit."),
    ]

    private static let socketOptions = [
        // Several hundred notices, and 0.6 MB/s for a client 200 ms away; a client that stops reading holds 160 KB of
        // kernel memory, where the kernel by itself would give it 4 MB.
        Option(
            "socket-send-buffer", .value(placeholder: "SIZE|auto"), section: "Sockets", default: .text("64KiB"),
            help: "What the kernel keeps for a client before its queue begins (SO_SNDBUF)."),
        // Twice the heartbeat's time: who is silent for 30 s gets his Close frame first, and this long to read it.
        Option(
            "tcp-user-timeout", .value(placeholder: "TIME"), section: "Sockets", default: .text("60s"),
            help: "A connection that takes nothing of what is sent for this long is cut; 0s: as the kernel does."),
        // Heartbeats travel on other connections, so they do not tell that a WebSocket's peer has vanished. Below the
        // minutes after which routers forget a silent connection; and half the user timeout, which ends the probing
        // too (tcp(7)), so that five probes must be lost and not one.
        Option(
            "tcp-keep-alive", .value(placeholder: "TIME"), section: "Sockets", default: .text("30s"),
            help: "A connection on which nothing has come for this long is probed, every quarter of it."),
    ]

    private static let timeOptions = [
        // As the contract says; ends a client that trickles its head byte by byte.
        Option(
            "request-timeout", .value(placeholder: "TIME"), section: "Times", default: .text("10s"),
            help: "Time to send a whole request head; then 408."),
        // Above the 60 s for which nginx keeps an idle connection to an upstream, so that nginx closes first.
        Option(
            "keep-alive-timeout", .value(placeholder: "TIME"), section: "Times", default: .text("75s"),
            help: "How long an HTTP connection may stay idle between two requests."),
        // Spreads reconnects to the other nodes, and fits in the 30 s that orchestrators grant.
        Option(
            "drain-time", .value(placeholder: "TIME"), section: "Times", default: .text("10s"),
            help: "Time over which clients are closed on SIGTERM, 0s to 1h."),
    ]

    private static let drainOptions = [
        // None: a balancer that tries the next node on 503 or a refused connection, as deploy/nginx.conf does, needs
        // no warning.
        Option(
            "drain-delay", .value(placeholder: "TIME"), section: "Times", default: .text("0s"),
            help: "Time between readiness going off and the begin of the drain, 0s to 1h.")
    ]

    private static let operationOptions = [
        // Starts, stops and trouble, no line for a client or a message.
        Option(
            "log-level", .value(placeholder: "debug|info|warning|error"), section: "Log", default: .text("info"),
            help: "The least severe lines that are written."),
        // Read by people first; collectors ask for json.
        Option(
            "log-format", .value(placeholder: "text|json"), section: "Log", default: .text("text"),
            help: "How lines are written."),
    ]
}
