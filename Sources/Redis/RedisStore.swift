// Commands to Redis, be it one server or a cluster, for those to whom it makes no difference. Loop-confined.

import EventLoop

/// A connection to one server, or one to each master of a cluster, which come back when they are lost. In a cluster a
/// command goes to the master that has its key.
package final class RedisStore {
    package typealias Address = RedisURL.Address
    package typealias Outcome = Result<RedisReply, RedisFailure>

    private enum Way {
        case server(RedisConnection)
        case cluster(ClusterConnection)
    }

    private let way: Way
    /// Whether commands are sent; in a cluster, as soon as one of its masters can be reached.
    package private(set) var isUp = false
    /// Of a cluster: what is wrong with each master.
    private var reasons: [(master: Address, reason: String)] = []
    /// Of a cluster: why nobody tells who its masters are.
    private var trouble: String?
    /// Of a cluster: where batches go.
    private var keylessLane: ClusterLane?

    /// Commands are sent from now on.
    package var onUp: (() -> Void)?
    /// They are not, or an attempt to connect has failed: the reason. Called for each failed attempt.
    package var onDown: ((String) -> Void)?
    /// Something else has changed in a cluster.
    package var onChange: (() -> Void)?
    /// A master to which commands of this connection have gone was lost.
    package var onMasterLost: ((Address, String) -> Void)?
    /// What the server has refused at login, and can be done without.
    package private(set) var refusals: [RefusedCommand] = []

    /// - Parameters: as for `RedisConnection`.
    package init(
        url: RedisURL, clientName: String?, timeout: Duration, silenceTimeout: Duration,
        proof: RedisConnection.Proof, mustBeMaster: Bool, loop: EventLoop
    ) {
        way =
            url.isCluster
            ? .cluster(
                ClusterConnection(
                    url: url, clientName: clientName, timeout: timeout, silenceTimeout: silenceTimeout,
                    proof: proof, loop: loop))
            : .server(
                RedisConnection(
                    url: url, clientName: clientName, timeout: timeout, silenceTimeout: silenceTimeout,
                    proof: proof, mustBeMaster: mustBeMaster, loop: loop))
        listen()
    }

    /// One that sends what it is given and, but for the map of a cluster, no other command. Commands of one slot keep
    /// their order.
    ///
    /// - Parameters: as for `RedisConnection`.
    package init(
        plainTo url: RedisURL, timeout: Duration, answerTimeout: Duration? = nil, mustBeMaster: Bool = false,
        loop: EventLoop
    ) {
        way =
            url.isCluster
            ? .cluster(
                ClusterConnection(
                    url: url, clientName: nil, timeout: timeout, answerTimeout: answerTimeout,
                    silenceTimeout: nil, proof: .login, keepsOrder: true, loop: loop))
            : .server(
                RedisConnection(
                    plainTo: url, timeout: timeout, answerTimeout: answerTimeout, mustBeMaster: mustBeMaster,
                    loop: loop))
        listen()
    }

    private func listen() {
        switch way {
        case .server(let connection):
            connection.onUp = { [unowned self] server in
                self.refusals = server.refusals
                self.isUp = true
                self.onUp?()
            }
            connection.onDown = { [unowned self] reason in
                self.isUp = false
                self.onDown?(reason)
            }
        case .cluster(let cluster):
            cluster.onLane = { [unowned self] in self.watch($0) }
            cluster.onMap = { [unowned self] _ in
                self.trouble = nil
                self.look()
            }
            cluster.onTrouble = { [unowned self] reason in
                self.trouble = reason
                if !self.isUp { self.onDown?(reason) }
            }
            cluster.onChange = { [unowned self] in self.look() }
        }
    }

    package func start() {
        switch way {
        case .server(let connection): connection.start()
        case .cluster(let cluster): cluster.start()
        }
    }

    /// Ends the connections for good; pending commands fail.
    package func stop() {
        switch way {
        case .server(let connection): connection.stop()
        case .cluster(let cluster): cluster.stop()
        }
    }

    /// Whether every server that is known has had its first word.
    package var hasTried: Bool {
        switch way {
        case .server: isUp
        case .cluster(let cluster): cluster.hasTried
        }
    }

    /// Whether the latest failure was the server's word, such as a wrong password, rather than trouble on the way.
    package var isRefused: Bool {
        switch way {
        case .server(let connection): connection.isRefused
        case .cluster(let cluster): cluster.isRefused
        }
    }

    /// The address of this end, in numbers; nil without a connection, and over a Unix socket.
    package var localHost: String? {
        switch way {
        case .server(let connection): connection.localHost
        case .cluster(let cluster): cluster.masters.first(where: \.isUp)?.localHost
        }
    }

    // MARK: Commands

    /// Sends a command; `onReply` is called once. One without a key goes to the same master of a cluster as the one
    /// before if that is up.
    ///
    /// - Parameter key: in a cluster, a command without a key goes to the master that has this one, if that is up: so
    ///   what many publish to one channel keeps its order, as subscribers hear what is published at two masters in any.
    package func send(
        _ command: RedisCommand, near key: [UInt8]? = nil, onReply: @escaping (Outcome) -> Void
    ) {
        switch way {
        case .server(let connection): connection.send(command, onReply: onReply)
        case .cluster(let cluster):
            if let slot = command.slot { return cluster.send(command, slot: slot, onReply: onReply) }
            guard let lane = lane(of: cluster, near: key) ?? keylessLane(of: cluster) else {
                return cluster.send(command, onReply: onReply)
            }
            lane.isUsed()
            guard command.name == "PUBLISH" else { return lane.sendHere(command, onReply: onReply) }
            lane.publish(command, key: key, onReply: onReply)
        }
    }

    /// Sends a command without a key to a master of `masters`, and one with a key where that is.
    package func send(_ command: RedisCommand, at master: Address?, onReply: @escaping (Outcome) -> Void) {
        guard case .cluster(let cluster) = way, let master else { return send(command, onReply: onReply) }
        guard let lane = cluster.lane(at: master) else {
            return onReply(.failure(.unavailable("\(master) is no master any more")))
        }
        lane.isUsed()
        lane.send(command, mayWait: false, onReply: onReply)
    }

    /// Sends commands whose answers are numbers: in a cluster to one of its masters, the same one as before if that is
    /// up.
    ///
    /// - Parameters:
    ///   - key: at first to the master that has this one, if that is up.
    ///   - onNews: as for `RedisConnection`.
    package func send(
        _ batch: RedisBatch, near key: [UInt8]? = nil, onNews: @escaping (RedisBatch.News) -> Void
    ) {
        switch way {
        case .server(let connection): connection.send(batch, onNews: onNews)
        case .cluster(let cluster):
            guard let lane = keylessLane(of: cluster, near: key) else { return onNews(.lost) }
            lane.isUsed()
            lane.publish(batch, key: key, onNews: onNews)
        }
    }

    // MARK: A cluster

    /// The masters, each of which has a share of the keys; nil is the one server.
    package var masters: [Address?] {
        guard case .cluster(let cluster) = way else { return [nil] }
        return cluster.masters.map(\.address)
    }

    func renewMap(onDone: @escaping (Result<ClusterMap, RedisFailure>) -> Void) {
        guard case .cluster(let cluster) = way else { preconditionFailure("one server has no map") }
        cluster.renewMap(onDone: onDone)
    }

    /// Those of them to which commands have gone.
    package var usedMasters: [Address?] {
        guard case .cluster(let cluster) = way else { return [nil] }
        return cluster.usedLanes.map(\.address)
    }

    /// The master that has a key; nil is the one server.
    package func master(of key: [UInt8]) -> Address? {
        guard case .cluster(let cluster) = way else { return nil }
        return cluster.map?.owner(of: HashSlot.of(key))
    }

    /// The way to the master that has a key, if that can be reached or is about to be.
    private func lane(of cluster: ClusterConnection, near key: [UInt8]?) -> ClusterLane? {
        guard let lane = key.flatMap({ cluster.lane(of: HashSlot.of($0)) }), lane.isUp || !lane.hasTried
        else { return nil }
        return lane
    }

    /// Another one if it is lost, or no node of the cluster any more.
    private func keylessLane(of cluster: ClusterConnection, near key: [UInt8]? = nil) -> ClusterLane? {
        if let lane = keylessLane, lane.isUp, cluster.map?.nodes.contains(lane.address) == true {
            return lane
        }
        let near = lane(of: cluster, near: key)
        keylessLane = near?.isUp == true ? near : cluster.masters.filter(\.isUp).randomElement()
        return keylessLane
    }

    private func watch(_ lane: ClusterLane) {
        lane.onUp = { [unowned self, unowned lane] server in
            self.refusals += server.refusals
            self.reasons.removeAll { $0.master == lane.address }
        }
        lane.onDown = { [unowned self, unowned lane] reason in
            self.reasons.removeAll { $0.master == lane.address }
            self.reasons.append((lane.address, reason))
            if lane.hasBeenUsed { self.onMasterLost?(lane.address, reason) }
        }
    }

    /// Looks whether a master is up.
    private func look() {
        guard case .cluster(let cluster) = way else { return }
        let wasUp = isUp
        isUp = cluster.masters.contains(where: \.isUp)
        if isUp != wasUp {
            if isUp { onUp?() } else { onDown?(reason) }
        } else if !isUp, cluster.map != nil, cluster.hasTried {
            onDown?(reason)
        } else {
            onChange?()
        }
    }

    private var reason: String {
        trouble ?? reasons.map { "\($0.master): \($0.reason)" }.joined(separator: "; ")
    }
}
