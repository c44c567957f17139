// Where the node's clients connect, as the node says it to people. Pure value, any thread.

import Network

/// `host:port` for a report: what is bound, and where that is every address of the machine (`0.0.0.0`), one
/// that others can use.
struct ReportedAddress: Sendable {
    private let bound: String
    private let hostName: String

    /// - Parameters:
    ///   - bound: `host:port` as the node has bound it.
    ///   - hostName: names the machine when its connection to Redis says nothing of its address.
    init(bound: String, hostName: String) {
        self.bound = bound
        self.hostName = hostName
    }

    /// - Parameter localHost: the node's own end of its connection to Redis: the address over which the
    ///   other nodes' network is reached. nil without a connection, or over a Unix socket.
    func text(localHost: String?) -> String {
        guard let endpoint = Endpoint(bound), let host = IPAddress(endpoint.host), host.isUnspecified else {
            return bound
        }
        guard let localHost, let local = IPAddress(localHost), !local.isLoopback else {
            return "\(hostName):\(endpoint.port)"
        }
        return local.isV4 ? "\(local):\(endpoint.port)" : "[\(local)]:\(endpoint.port)"
    }
}
