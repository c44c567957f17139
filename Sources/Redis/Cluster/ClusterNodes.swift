// Which nodes a Redis Cluster has at present. Loop-confined.

import EventLoop

/// Asks for the nodes of a cluster from time to time, for a subscriber that may have to leave its own.
package final class ClusterNodes {
    private let seeds: [RedisURL.Address]
    private let reader: ClusterMapReader
    private var map: ClusterMap?

    /// - Returns: nil for the URL of one server.
    package init?(of url: RedisURL, attemptTime: Duration, loop: EventLoop) {
        guard case .cluster(let seeds) = url.route else { return nil }
        self.seeds = seeds
        reader = ClusterMapReader(
            url: url, clientName: nil, attemptTime: attemptTime, maps: ClusterMaps(), loop: loop)
        reader.onMap = { [unowned self] in self.map = $0 }
        reader.refresh()
    }

    package func stop() { reader.stop() }

    /// Those that it has told of, or those of the URL; first those that are both, in the order of the URL.
    package var all: [RedisURL.Address] {
        guard let nodes = map?.nodes else { return seeds }
        return seeds.filter(nodes.contains) + nodes.filter { !seeds.contains($0) }
    }
}
