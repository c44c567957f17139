// Commands to a Redis Cluster: each to the master that has its key. Loop-confined.

import EventLoop

/// The counterpart of `RedisConnection`: one connection to each master, called a *lane*, and the map that says which
/// lane a command takes. Every command has one outcome.
///
///     command ── slot of its key ── map ──▶ lane ──▶ answer
///                                            ├── MOVED ──▶ the map is corrected, and the command goes where it says
///                                            ├── ASK ────▶ behind ASKING to that node, this once
///                                            └── TRYAGAIN ▶ once more, a moment later
///
/// A command that was sent and whose lane is lost is not sent again: nobody knows whether it was carried out.
package final class ClusterConnection {
    package typealias Address = RedisURL.Address
    package typealias Outcome = Result<RedisReply, RedisFailure>

    /// Answers that send a command elsewhere or to wait.
    package enum RedirectionKind: String, CaseIterable, Sendable {
        case moved, ask, tryagain, clusterdown

        init(_ redirection: Redirection) {
            self =
                switch redirection {
                case .moved: .moved
                case .ask: .ask
                case .tryAgain: .tryagain
                case .clusterDown: .clusterdown
                }
        }
    }

    /// A command follows so many redirections at most: a cluster that sends it round in circles must not keep it.
    private static let maximumRedirectionCount = 5
    private static let tryAgainPause = Duration.milliseconds(50)

    private let url: RedisURL
    private let clientName: String?
    let timeout: Duration
    private let answerTimeout: Duration
    /// nil for connections that send what they are given and nothing else.
    private let silenceTimeout: Duration?
    private let proof: RedisConnection.Proof
    private let loop: EventLoop
    private let reader: ClusterMapReader
    /// nil where commands of a slot may overtake each other.
    private var order: SlotOrder<Request>?
    /// nil until a node has told it.
    package private(set) var map: ClusterMap?
    private var lanes: [Address: ClusterLane] = [:]
    private var turn = 0
    private var isStopped = false
    /// Nothing was sent over a lane for so long: if its node is no master, it is of no more use.
    var idleTime = Duration.seconds(30)
    /// Commands that are tried again, the first one first.
    private var postponed = Fifo<(dueAt: MonotonicInstant, body: () -> Void)>()
    private var postponedTimer: Timer?

    /// A master has got a lane, which has not begun to connect: for its callbacks.
    package var onLane: ((ClusterLane) -> Void)?
    /// A lane's node is no master any more. Commands that it has been sent still get their answers.
    package var onLaneRetired: ((ClusterLane) -> Void)?
    /// The map is another one, and its masters have their lanes. Given are those that were promoted, perhaps without
    /// the last writes of their predecessors; not those that slots were moved to, with all keys.
    package var onMap: ((_ promoted: Set<Address>) -> Void)?
    /// No map could be got: what each node said.
    package var onTrouble: ((String) -> Void)?
    /// A lane has come up, or it, or an attempt to connect it, was lost.
    package var onChange: (() -> Void)?
    package var onRedirection: ((RedirectionKind) -> Void)?
    /// A node was asked for the map.
    package var onRefresh: (() -> Void)?

    /// - Parameters:
    ///   - url: of the route `cluster`.
    ///   - clientName: shown by CLIENT LIST.
    ///   - timeout: the longest time for a command and its redirections; also the longest wait for an answer.
    ///   - silenceTimeout: as for `RedisConnection`; nil for connections that send what they are given and nothing
    ///     else.
    ///   - keepsOrder: whether commands of one slot keep their order over redirections.
    ///   - maps: shared with others of the process.
    package init(
        url: RedisURL, clientName: String?, timeout: Duration, answerTimeout: Duration? = nil,
        silenceTimeout: Duration?, proof: RedisConnection.Proof = .writes, keepsOrder: Bool = false,
        maps: ClusterMaps = ClusterMaps(), loop: EventLoop
    ) {
        order = keepsOrder ? SlotOrder() : nil
        self.url = url
        self.clientName = clientName
        self.timeout = timeout
        self.answerTimeout = answerTimeout ?? timeout
        self.silenceTimeout = silenceTimeout
        self.proof = proof
        self.loop = loop
        reader = ClusterMapReader(
            url: url, clientName: clientName, attemptTime: silenceTimeout == nil ? timeout : nil, maps: maps,
            loop: loop)
        reader.anyLane = { [unowned self] in self.anyLane }
        reader.onAsked = { [unowned self] in self.onRefresh?() }
        reader.onMap = { [unowned self] in self.take($0) }
        reader.onTrouble = { [unowned self] in self.onTrouble?($0) }
        postponedTimer = Timer(on: loop) { [unowned self] in self.sendPostponed() }
    }

    /// Starts to connect.
    package func start() { reader.refresh() }

    /// Ends all connections for good; pending commands fail.
    package func stop() {
        isStopped = true
        reader.stop()
        for lane in lanes.values { lane.end() }
        postponedTimer?.cancel()
        while let (_, body) = postponed.takeFirst() { body() }
    }

    /// The lanes of the map's masters, in the order of the map.
    package var masters: [ClusterLane] { map.map { $0.masters.compactMap { lanes[$0] } } ?? [] }

    /// The lane of a slot's master; nil while nobody is known to have it.
    package func lane(of slot: Int) -> ClusterLane? { map?.owner(of: slot).flatMap { lanes[$0] } }

    /// The way to a node that is a master, or was one.
    func lane(at address: Address) -> ClusterLane? { lanes[address] }

    /// The lanes over which commands were sent.
    var usedLanes: [ClusterLane] { lanes.values.filter(\.hasBeenUsed) }

    /// Whether the first word of every node was a refusal, such as of a password.
    var isRefused: Bool {
        map == nil ? reader.isRefused : masters.allSatisfy(\.connection.isRefused)
    }

    /// Whether the first attempts are over: a map has come and every master has been tried, or every node was asked
    /// for a map in vain.
    package var hasTried: Bool { map != nil ? masters.allSatisfy(\.hasTried) : reader.hasTried }

    /// Sends a command to the master that has its first key; one without a key to any master.
    ///
    /// - Parameters:
    ///   - slot: where it belongs, if its own key does not say so.
    ///   - mayWait: as for `RedisConnection`.
    ///   - onReply: called once, on the loop; before this returns if nothing can be sent.
    package func send(
        _ command: RedisCommand, slot: Int? = nil, mayWait: Bool = false,
        onReply: @escaping (Outcome) -> Void
    ) {
        loop.assertOnThread()
        guard let slot = slot ?? command.slot else {
            guard let lane = anyLane else {
                refreshSoon()
                return onReply(.failure(.unavailable(unreachable)))
            }
            return lane.connection.send(command, mayWait: mayWait, onReply: onReply)
        }
        guard let lane = lane(of: slot) else {
            refreshSoon()
            return onReply(.failure(.unavailable(unreachable)))
        }
        let request = Request(command, slot, onReply, until: .now + timeout)
        switch order?.enter(request, slot: slot, owner: lane.address) {
        case .go(let address)?: carry(request, to: lanes[address] ?? lane, mayWait: mayWait)
        case .wait?: return
        case .fail(let reason)?: onReply(.failure(.unavailable(reason)))
        case nil: carry(request, to: lane, mayWait: mayWait)
        }
    }

    /// Asks any master for the map now.
    func renewMap(onDone: @escaping (Result<ClusterMap, RedisFailure>) -> Void) {
        guard let lane = anyLane else { return onDone(.failure(.unavailable(unreachable))) }
        lane.connection.send(ClusterMap.command) { [weak self] result in
            onDone(
                result.flatMap { reply in
                    guard let self, let map = ClusterMap(reply, askedHost: lane.address.host) else {
                        return .failure(.refused(ClusterMapReader.noMap))
                    }
                    self.take(self.reader.correct(map))
                    return .success(map)
                })
        }
    }

    /// Commands that may wait leave.
    package func writeWhatWaits() { for lane in lanes.values { lane.connection.writeWhatWaits() } }

    /// Any master's that is up, another one each time.
    private var anyLane: ClusterLane? {
        let up = masters.filter(\.connection.isUp)
        guard !up.isEmpty else { return nil }
        turn += 1
        return up[turn % up.count]
    }

    private var unreachable: String { map == nil ? "no map of the cluster" : "no master for this slot" }

    // MARK: Redirections

    /// A command on its way.
    private struct Request {
        let command: RedisCommand
        let slot: Int
        let onReply: (Outcome) -> Void
        let deadline: MonotonicInstant
        var redirectionCount = 0
        /// Those of its slot that came behind it wait for it.
        var isAlone: Bool { redirectionCount > 0 }

        init(
            _ command: RedisCommand, _ slot: Int, _ onReply: @escaping (Outcome) -> Void,
            until deadline: MonotonicInstant
        ) {
            self.command = command
            self.slot = slot
            self.onReply = onReply
            self.deadline = deadline
        }
    }

    private func carry(
        _ request: Request, to lane: ClusterLane, mayWait: Bool = false, isAsking: Bool = false
    ) {
        guard !lane.hasTried else {
            return transmit(request, to: lane, mayWait: mayWait, isAsking: isAsking)
        }
        lane.whenTried(until: request.deadline) { [weak self] in
            guard let self else { return request.onReply(.failure(.unavailable("not connected"))) }
            self.transmit(request, to: lane, mayWait: mayWait, isAsking: isAsking)
        }
    }

    private func transmit(_ request: Request, to lane: ClusterLane, mayWait: Bool, isAsking: Bool) {
        lane.isUsed()
        if isAsking { lane.connection.send(ClusterConnection.asking) { _ in } }
        lane.connection.send(request.command, mayWait: mayWait) { [weak self] result in
            guard let self else { return request.onReply(result) }
            switch result {
            case .failure(.refused(let message)):
                guard let redirection = Redirection(message, askedHost: lane.address.host) else {
                    return self.finish(request, result)
                }
                self.redirect(redirection, request, lane, message)
            case .failure(.unavailable):
                self.refreshSoon()
                self.finish(request, result)
            case .success: self.finish(request, result)
            }
        }
    }

    private func redirect(
        _ redirection: Redirection, _ request: Request, _ lane: ClusterLane, _ message: String
    ) {
        switch order?.redirected(request, slot: request.slot, isAlone: request.isAlone) {
        case .follow?, nil: follow(redirection, request, lane, message)
        case .wait?: release(request.slot)
        case .fail(let reason)?: finish(request, .failure(.unavailable(reason)))
        }
    }

    private func follow(
        _ redirection: Redirection, _ request: Request, _ lane: ClusterLane, _ message: String
    ) {
        onRedirection?(RedirectionKind(redirection))
        var request = request
        request.redirectionCount += 1
        if case .clusterDown = redirection {
            refreshSoon()
            return finish(request, .failure(.refused(message)), failure: message)
        }
        guard request.redirectionCount <= ClusterConnection.maximumRedirectionCount, .now < request.deadline,
            !isStopped
        else {
            refreshSoon()
            return finish(request, .failure(.unavailable("sent round in the cluster: \(message)")))
        }
        switch redirection {
        case .moved(let slot, let address?):
            if let map { take(reader.correct(map.moved(slot, to: address))) }
            refreshSoon()
            carry(request, to: makeLane(address))
        case .ask(_, let address?): carry(request, to: makeLane(address), isAsking: true)
        case .tryAgain:
            postponed.append(
                (.now + ClusterConnection.tryAgainPause, { [unowned self] in self.carry(request, to: lane) })
            )
            if postponed.count == 1 { postponedTimer?.start(after: ClusterConnection.tryAgainPause) }
        case .moved, .ask, .clusterDown:
            refreshSoon()
            finish(request, .failure(.unavailable(message)))
        }
    }

    /// - Parameter failure: why those behind it must not be sent, if its outcome does not say so.
    private func finish(_ request: Request, _ outcome: Outcome, failure: String? = nil) {
        var failure = failure
        if case .failure(.unavailable(let reason)) = outcome { failure = reason }
        order?.ended(slot: request.slot, isAlone: request.isAlone, failure: failure)
        request.onReply(outcome)
        release(request.slot)
    }

    /// What was gathered behind a redirected command leaves, if it may.
    private func release(_ slot: Int) {
        guard order?.beginRelease(slot: slot) == true else { return }
        let lane = lane(of: slot)
        while let (request, failure) = order?.next(slot: slot, owner: lane?.address) {
            guard failure == nil, let lane else {
                finish(request, .failure(.unavailable(failure ?? unreachable)))
                continue
            }
            carry(request, to: lane)
        }
    }

    private static let asking = RedisCommand([[UInt8]("ASKING")])

    private func sendPostponed() {
        while let next = postponed.first, next.dueAt <= .now {
            postponed.takeFirst()
            next.body()
        }
        if let next = postponed.first { postponedTimer?.start(after: next.dueAt - .now) }
    }

    // MARK: The map

    private func refreshSoon() { if !isStopped { reader.refresh() } }

    private func take(_ new: ClusterMap) {
        guard !isStopped else { return }
        // Also those that this map retires: an idle one has nothing to answer any more.
        defer { dropIdleLanes() }
        let before = map
        guard new != before else { return }
        let promoted = before.map { self.promoted(from: $0, to: new) } ?? []
        map = new
        for address in new.masters { makeLane(address) }
        for lane in lanes.values where lane.isMaster && !new.hasMaster(lane.address) {
            lane.isMaster = false
            onLaneRetired?(lane)
        }
        onMap?(promoted)
    }

    /// Masters with slots whose keys did not come from a master that is there: it had them as their replica, or the
    /// one that had them cannot be reached.
    private func promoted(from before: ClusterMap, to new: ClusterMap) -> Set<Address> {
        let moves = new.moves(since: before).filter { move in
            before.isReplica(move.to, of: move.from) || lanes[move.from]?.isUp != true
        }
        return Set(moves.map(\.to))
    }

    @discardableResult
    private func makeLane(_ address: Address) -> ClusterLane {
        let lane = lanes[address] ?? newLane(address)
        if map?.hasMaster(address) == true, !lane.isMaster {
            lane.isMaster = true
            onLane?(lane)
        }
        lane.connect()
        return lane
    }

    private func newLane(_ address: Address) -> ClusterLane {
        let connection =
            if let silenceTimeout {
                RedisConnection(
                    url: url.node(address), clientName: clientName, timeout: answerTimeout,
                    silenceTimeout: silenceTimeout, proof: proof, loop: loop)
            } else {
                RedisConnection(
                    plainTo: url.node(address), timeout: timeout, answerTimeout: answerTimeout, loop: loop)
            }
        let lane = ClusterLane(address, connection, cluster: self, loop: loop)
        lanes[address] = lane
        return lane
    }

    /// The lane has come up, or was lost: what else has changed is in the next map.
    func laneChanged(_ lane: ClusterLane) {
        if !lane.isUp { refreshSoon() }
        onChange?()
    }

    /// Lanes of nodes that are no masters any more, and to which nothing was sent for long.
    private func dropIdleLanes() {
        for lane in lanes.values where !lane.isMaster && lane.isIdle(for: idleTime) {
            lanes[lane.address] = nil
            lane.end()
        }
    }
}
