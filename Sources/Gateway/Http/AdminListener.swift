// The operators' door. Runs on the control loop.

import EventLoop
import Network

/// Serves the admin endpoints over connections with places of their own: what strangers do at the clients'
/// port, or at this one, keeps no probe from its answer.
final class AdminListener {
    private let host: ConnectionHost
    private let places: HttpPlaces
    private let endpoints: AdminEndpoints
    private let listener: Listener

    /// - Parameter address: where the node's clients connect.
    init(_ socket: ListeningSocket, node: NodeContext, address: String, loop: EventLoop) {
        let configuration = node.configuration
        let limits = HttpLimits(configuration)
        let host = ConnectionHost(
            loop: loop,
            maximumDelay: max(limits.requestTimeout, limits.keepAliveTimeout, configuration.consolePatience))
        // A new connection is served at once: the longest idle connection goes, and were there none but
        // waiting ones, the one that waits longest.
        let places = HttpPlaces(
            maximumCount: Limits.adminConnectionCount, grace: .zero, givesUpRequests: true)
        let endpoints = AdminEndpoints(node: node, address: address, loop: loop)
        var log = RateLimitedLog(node.log)
        self.host = host
        self.places = places
        self.endpoints = endpoints
        let listener = Listener(
            socket, on: loop,
            onError: {
                if !places.makeRoom() { node.askForRoom() }
                log.warning("accept failed", ["reason": "\($0)"])
            },
            room: { places.room() },
            onAccept: { socket, peer in
                guard places.take() else { return socket.close() }
                HttpConnection(
                    socket: socket, peer: IPAddress(high: peer.high, low: peer.low), host: host,
                    limits: limits,
                    places: places, handler: endpoints, onEnd: {}
                ).start()
            })
        self.listener = listener
        places.onRoom = { [unowned listener] in listener.resume() }
    }
}
