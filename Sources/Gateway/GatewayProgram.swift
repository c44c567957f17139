// From the command line to a running node. Runs on the main thread.

import EventLoop
import Glibc
import Options

/// The process: reads its configuration, prepares the process for it, and runs a node until it has drained.
enum GatewayProgram {
    /// Exit status for a wrong option, value or environment variable.
    private static let usageStatus: Int32 = 2
    /// Exit status when the node cannot start: an address in use, no threads.
    private static let startStatus: Int32 = 1

    static func run() {
        // hiredis writes without MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
        do throws(UsageError) {
            switch try Configuration.read(Array(CommandLine.arguments.dropFirst())) {
            case .print(let text): print(text, terminator: "")
            case .run(let configuration): try run(configuration)
            }
        } catch {
            fail("\(error)", usageStatus)
        }
    }

    private static func run(_ configuration: Configuration) throws(UsageError) {
        if configuration.isRedisPasswordInArguments { ProcessArguments.hidePasswords() }
        let limits = try ConnectionLimits(configuration, descriptors: DescriptorLimit.raise())
        let log = Log(level: configuration.logLevel, format: configuration.logFormat, nodeID: configuration.nodeId)
        do throws(SystemError) {
            try Node(configuration, limits: limits, log: log).run()
        } catch {
            fail("cannot start: \(error)", startStatus)
        }
    }

    private static func fail(_ message: String, _ status: Int32) {
        StandardError.write(Array("gateway: \(message)\n".utf8))
        exit(status)
    }
}

/// The process's limit of open descriptors.
enum DescriptorLimit {
    /// Raises the soft limit to the hard one, which any process may; returns what holds then.
    static func raise() -> Int {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }
}

/// How many connections the node takes, from its descriptor limit and its settings.
struct ConnectionLimits: Equatable {
    /// Of ten descriptors nine may be WebSockets; the rest is for requests, Redis, listeners and logs.
    private static let clientShare = 0.9
    /// Listeners, loops, links to Redis, and some for what libraries open now and then.
    private static let reservedCount = 32
    private static let reservedPerWorker = 6
    private static let minimumHttpConnectionCount = 16

    let descriptors: Int
    let clients: Int
    /// Requests, and handshakes on their way.
    let httpConnections: Int

    /// - Throws: when the configuration asks for more connections than there are descriptors.
    init(_ configuration: Configuration, descriptors: Int) throws(UsageError) {
        let reserved = Self.reservedCount + Self.reservedPerWorker * configuration.workerCount
        let available = descriptors - reserved - Self.minimumHttpConnectionCount
        let wanted = configuration.maximumConnectionCount ?? min(available, Int(Double(descriptors) * Self.clientShare))
        guard wanted >= 1, wanted <= available else {
            throw UsageError(
                "--maximum-connections: \(wanted) is more than the descriptor limit of \(descriptors) allows, "
                    + "expected at most \(max(0, available)) (or a higher limit: ulimit -n, LimitNOFILE)")
        }
        self.descriptors = descriptors
        clients = wanted
        httpConnections = descriptors - reserved - wanted
    }
}

/// The arguments as `ps` shows them.
enum ProcessArguments {
    /// Overwrites the password of every Redis URL among the arguments, in the process's own memory.
    static func hidePasswords() {
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[index] else { continue }
            let bytes = UnsafeMutableBufferPointer(start: argument, count: strlen(argument))
            hidePassword(in: bytes)
        }
    }

    /// Stars in place of what stands between the user and the last `@` of a URL's authority.
    static func hidePassword(in text: UnsafeMutableBufferPointer<CChar>) {
        let bytes = text.map { UInt8(bitPattern: $0) }
        guard let scheme = bytes.firstRange(of: "://".utf8), let at = bytes.lastIndex(of: UInt8(ascii: "@")),
            at > scheme.upperBound,
            let colon = bytes[scheme.upperBound..<at].firstIndex(of: UInt8(ascii: ":"))
        else { return }
        for index in (colon + 1)..<at { text[index] = CChar(UInt8(ascii: "*")) }
    }
}
