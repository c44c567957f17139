// How many connections the descriptor limit allows. Used once, at the start.

import Options

/// The connections of a node, from its descriptor limit and its settings.
///
///     descriptors = clients + httpConnections + adminConnections + what the node has open itself
///
/// The listeners for clients take no connection beyond the first two parts, so that the other two always
/// have descriptors.
struct ConnectionLimits: Equatable {
    /// WebSockets may take nine of ten descriptors; the rest is for requests, Redis, listeners and logs.
    private static let clientShare = 0.9
    /// Standard streams, the admin listener, the loops of control and feed, links to Redis, to a sentinel and
    /// to the service manager.
    static let ownCount = 19
    /// These, and nearly as many for handovers, name servers, the log and files that libraries open now and
    /// then.
    static let reservedCount = 36
    /// A loop (6), its listener, its io_uring, its link to Redis, and the connection that it accepts to
    /// refuse it.
    private static let reservedPerWorker = 10
    private static let minimumHttpConnectionsPerWorker = 4
    private static let minimumHttpConnectionCount = 16

    let descriptors: Int
    let clients: Int
    /// Requests, and handshakes on their way.
    let httpConnections: Int

    /// - Throws: when the configuration asks for more connections than there are descriptors.
    init(_ configuration: Configuration, descriptors: Int) throws(UsageError) {
        let workers = configuration.workerCount
        let reserved = Self.reservedCount + Self.reservedPerWorker * workers + Limits.adminConnectionCount
        let minimumHttp = max(
            Self.minimumHttpConnectionCount, Self.minimumHttpConnectionsPerWorker * workers)
        let available = descriptors - reserved - minimumHttp
        let wanted =
            configuration.maximumConnectionCount
            ?? min(available, Int(Double(descriptors) * Self.clientShare))
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
