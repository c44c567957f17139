// How many descriptors the process has, and what they are for. Used once, at the start.

import Glibc
import Options

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
