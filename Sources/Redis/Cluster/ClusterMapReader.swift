// How a process learns which master has each slot of a Redis Cluster. Loop-confined.

import EventLoop

/// Asks a node for the map: over a lane that is up, or else over a connection of its own to the next of the nodes
/// that are known, and then of those that the URL names.
///
/// Asked for again when a node has sent a command elsewhere, when a lane is lost, and every half minute; but no more
/// often than every 100 ms.
final class ClusterMapReader {
    private static let interval = Duration.seconds(30)
    private static let pause = Duration.milliseconds(100)

    private let url: RedisURL
    private let clientName: String?
    private let attemptTime: Duration?
    private let seeds: [RedisURL.Address]
    private let maps: ClusterMaps
    private let loop: EventLoop
    private var map: ClusterMap?
    /// A connection to any node, while no lane is up.
    private var link: RedisLink?
    private var isAsking = false
    private var askedAt = MonotonicInstant(nanoseconds: 0)
    private var timer: Timer?
    private var isStopped = false
    /// What nodes have said, since a map came the last time.
    private var complaints: [(node: String, reason: String, isRefusal: Bool)] = []
    /// Whether a map has come, or every node was asked in vain.
    private(set) var hasTried = false
    /// Whether it is in vain because every node refuses, such as a password.
    private(set) var isRefused = false

    var anyLane: (() -> ClusterLane?)?
    var onAsked: (() -> Void)?
    var onMap: ((ClusterMap) -> Void)?
    /// Every node was asked in vain: what they said.
    var onTrouble: ((String) -> Void)?

    init(url: RedisURL, clientName: String?, attemptTime: Duration?, maps: ClusterMaps, loop: EventLoop) {
        guard case .cluster(let seeds) = url.route else { preconditionFailure("the URL of a cluster") }
        self.url = url
        self.clientName = clientName
        self.attemptTime = attemptTime
        self.seeds = seeds
        self.maps = maps
        self.loop = loop
        timer = Timer(on: loop) { [unowned self] in self.ask() }
    }

    func stop() {
        isStopped = true
        timer?.cancel()
        link?.stop()
    }

    /// Asks soon.
    func refresh() {
        guard !isStopped, !isAsking else { return }
        let pause = askedAt + ClusterMapReader.pause - .now
        if pause > .zero { timer?.start(after: pause) } else { ask() }
    }

    /// Takes a map that a node has corrected, and shares it with the other threads of the process.
    func correct(_ map: ClusterMap) -> ClusterMap {
        self.map = maps.share(map)
        return self.map ?? map
    }

    private func ask() {
        guard !isAsking else { return }
        isAsking = true
        askedAt = .now
        onAsked?()
        guard let lane = anyLane?() else { return askAnyNode() }
        lane.connection.send(ClusterMap.command) { [weak self] result in
            guard let self, !self.isStopped else { return }
            self.isAsking = false
            switch result {
            case .success(let reply):
                guard let map = ClusterMap(reply, askedHost: lane.address.host) else {
                    return self.complain(lane.address, ClusterMapReader.noMap)
                }
                self.take(map)
            case .failure(.refused(let message)): self.complain(lane.address, message)
            case .failure(.unavailable): self.refresh()
            }
        }
    }

    // MARK: Without a lane

    private func askAnyNode() {
        let known = (map?.nodes ?? []).shuffled()
        let nodes = known + seeds.filter { !known.contains($0) }
        let link = RedisLink(
            toAnyOf: nodes, of: url, clientName: clientName, attemptTime: attemptTime, loop: loop)
        self.link = link
        link.onLogin = { [unowned self, unowned link] in self.ask($0, over: link) }
        link.onLost = { [unowned self, unowned link] in self.complain(link.triedServer, $0) }
        link.start()
    }

    private func ask(_ context: RedisContext, over link: RedisLink) {
        guard let server = link.triedServer else { return }
        context.send(ClusterMap.command) { [weak self, weak link] result in
            guard let self, let link, self.link === link else { return }
            switch result {
            case .success(let reply):
                guard let map = ClusterMap(reply, askedHost: server.host) else {
                    return link.drop(reason: ClusterMapReader.noMap)
                }
                self.link = nil
                self.isAsking = false
                link.stop()
                self.take(map)
            case .failure(.refused(let message)): link.drop(reason: message, isRefusal: true)
            case .failure(.unavailable): break
            }
        }
    }

    // MARK: Answers

    static let noMap = "it knows of no master with slots"

    private func take(_ map: ClusterMap) {
        complaints = []
        (hasTried, isRefused) = (true, false)
        self.map = maps.share(map)
        timer?.start(after: ClusterMapReader.interval)
        onMap?(self.map ?? map)
    }

    private func complain(_ server: RedisURL.Address?, _ reason: String) {
        timer?.start(after: ClusterMapReader.interval)
        let node = server.map { "\($0)" } ?? ""
        complaints.removeAll { $0.node == node }
        complaints.append((node, reason, link?.isRefused ?? true))
        let nodes = Set((map?.nodes ?? []) + seeds)
        guard link != nil, complaints.count >= nodes.count else { return }
        hasTried = true
        isRefused = complaints.allSatisfy(\.isRefusal)
        let reasons = complaints.map { "\($0.node): \($0.reason)" }.joined(separator: "; ")
        complaints = []
        onTrouble?("no node of the cluster tells its map: \(reasons)")
    }
}
