// One load process: holds its share of the clients, on one loop and one thread, as the coordinator orders.

import EventLoop
import Glibc
import Network
import WebSocket

/// The clients of one process and what they have received.
final class Holder {
    /// A client's place: it outlives the connections of a client that leaves and comes back.
    struct Seat {
        /// The client's number in the whole run.
        let number: Int
        let rooms: [Int]
        /// Path and query of its handshake; nil without a token.
        var target: String?
        var client: LoadClient?
        /// What a lost connection has left to the next one.
        var continuation: Continuation?
    }

    /// A server that answers pipelined requests one by one, one a turn of a busy loop, still keeps up with
    /// the heartbeats of so many.
    private static let clientsPerHttpConnection = 128
    private static let maximumHttpConnectionCount = 64
    /// The numbers of clients' own HTTP connections begin behind those of all WebSockets: other source
    /// addresses.
    private static let ownHttpNumbers = 1_000_000

    let loop: EventLoop
    let plan: HolderPlan
    let board: SharedBoard
    let check: DeliveryCheck
    /// Every connection reads into this; frames are decoded in place.
    let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    /// For the compressed messages of all connections.
    private(set) lazy var inflater = Inflater()
    let destinations: [Destination]
    private let failoverDestinations: [Destination]
    var seats: [Seat]
    /// What ended connections have come to.
    var endedDeliveries = DeliveryCounts()
    var report = HolderReport()
    private(set) var openCount = 0

    private let onNews: (HolderNews) -> Void
    private let httpClients: [HttpClient]
    private var tokenFetch: TokenFetch?
    private var heartbeats: HeartbeatRing?
    private var connecting: ConnectPhase?
    private(set) var churn: Churn?
    private(set) var failover: Failover?
    private var settling: SettlePhase?

    var assignment: RoomAssignment { plan.load.assignment }

    /// - Throws: when a gateway's name cannot be resolved.
    init(
        _ plan: HolderPlan, board: SharedBoard, loop: EventLoop, onNews: @escaping (HolderNews) -> Void
    ) throws(SystemError) {
        self.plan = plan
        self.board = board
        self.loop = loop
        self.onNews = onNews
        check = DeliveryCheck(plan, board: board)
        let destinations = try Holder.resolve(plan.load.gateways)
        self.destinations = destinations
        failoverDestinations = try Holder.resolve(plan.load.failover)
        let numbers = stride(from: plan.process, to: plan.clientCount, by: plan.processCount)
        seats = numbers.map { Seat(number: $0, rooms: plan.load.assignment.rooms(ofClient: $0)) }
        httpClients = Holder.httpClients(plan, seats, destinations, loop)
        loop.onTurnEnd = { [unowned self] in
            self.check.publish()
            return false
        }
    }

    deinit { readBuffer.deallocate() }

    /// A few for all seats, or one for each, to the gateway that it is connected to.
    private static func httpClients(
        _ plan: HolderPlan, _ seats: [Seat], _ destinations: [Destination], _ loop: EventLoop
    ) -> [HttpClient] {
        if plan.load.heartbeatConnections == .own {
            return seats.map {
                let number = ownHttpNumbers + $0.number / destinations.count
                return HttpClient(destinations[$0.number % destinations.count], number: number, loop: loop)
            }
        }
        let wanted = seats.count / clientsPerHttpConnection
        return (0..<min(maximumHttpConnectionCount, max(destinations.count, wanted))).map {
            HttpClient(destinations[$0 % destinations.count], loop: loop)
        }
    }

    private static func resolve(_ addresses: [String]) throws(SystemError) -> [Destination] {
        var destinations: [Destination] = []
        for text in addresses {
            guard let endpoint = Endpoint(text) else { throw SystemError(EINVAL, "resolve \(text)") }
            destinations.append(try Destination(endpoint))
        }
        return destinations
    }

    /// Fetches the tokens, or makes the targets of servers that want none.
    func prepare() {
        guard plan.load.tokenRule == .gateway, !seats.isEmpty else {
            for index in seats.indices {
                seats[index].target = RoomName.path(plan.load.path, rooms: seats[index].rooms, run: plan.run)
            }
            return onNews(.prepared(TokenReport()))
        }
        let run = String(plan.run, radix: 16)
        let names = seats.map { "load-\(run)-\($0.number)" }
        let fetch = TokenFetch(
            names: names, issueKey: plan.load.issueKey, clients: httpClients,
            hasOwnClients: plan.load.heartbeatConnections == .own, loop: loop
        ) { [unowned self] in self.takeTokens() }
        tokenFetch = fetch
        fetch.start()
    }

    func connect() {
        let all = tokenFetch?.tokens ?? []
        let tokens = all.compactMap { $0 }
        if plan.load.hasHeartbeats, !tokens.isEmpty {
            // A client of its own for each token, in the same order.
            let own = zip(all, httpClients).compactMap { token, client in token.map { _ in client } }
            let clients = plan.load.heartbeatConnections == .own ? own : httpClients
            heartbeats = HeartbeatRing(tokens: tokens, clients: clients, loop: loop)
        }
        tokenFetch = nil
        let phase = ConnectPhase(self) { [unowned self] report in
            self.connecting = nil
            if self.plan.load.window > 0 {
                self.check.reportCompletions(
                    window: self.plan.load.window, receiverCounts: report.receiverCounts)
            }
            self.onNews(.connected(report))
        }
        connecting = phase
        phase.start()
    }

    func startRun() {
        if !failoverDestinations.isEmpty { failover = Failover(self, to: failoverDestinations) }
        guard plan.load.churnRate > 0 else { return }
        churn = Churn(self, ratePerSecond: Double(plan.load.churnRate) / Double(plan.processCount))
    }

    func settle(publishedCount: Int) {
        churn?.stop()
        let phase = SettlePhase(self, publishedCount: publishedCount) { [unowned self] in
            self.onNews(.settled(self.finalReport(publishedCount)))
        }
        settling = phase
        phase.start()
    }

    /// Opens a new connection for a seat.
    ///
    /// - Throws: when no descriptor or port is left.
    func dial(_ seatIndex: Int) throws(SystemError) {
        let number = seats[seatIndex].number
        try dial(seatIndex, destinations[number % destinations.count], number: number / destinations.count)
    }

    /// Opens a new connection for a seat, to one of several destinations.
    ///
    /// - Parameter number: the connection's number among those to this destination.
    /// - Throws: when no descriptor or port is left.
    func dial(_ seatIndex: Int, _ destination: Destination, number: Int) throws(SystemError) {
        let seat = seats[seatIndex]
        guard var target = seat.target else { return }
        if plan.load.isDurable { target += "&since=\(seat.continuation?.track.since ?? "")" }
        let socket = try destination.dial(number: number)
        seats[seatIndex].client = LoadClient(
            socket, seat: seatIndex, rooms: seat.rooms, isSlow: seat.number < plan.load.slowCount,
            isEventStream: plan.load.isEventStream(client: seat.number), target: target,
            host: destination.host, continuing: seat.continuation, holder: self)
    }

    /// A connection stands.
    func opened(_ client: LoadClient) {
        openCount += 1
        board.setOpenCount(openCount, process: plan.process)
        if let connecting {
            connecting.opened(client)
        } else if let failover, failover.expects(client.seat) {
            failover.returned(client)
        } else {
            churn?.returned(client)
        }
    }

    /// A connection, or the attempt at one, is over.
    ///
    /// - Parameter wait: how long the gateway asks not to be asked again; nil when it does not.
    func ended(_ client: LoadClient, in phase: LoadClient.Phase, reason: String, wait: Duration? = nil) {
        switch phase {
        case .connecting, .handshaking:
            seats[client.seat].client = nil
            if let connecting {
                connecting.refused(client.seat, reason: reason, wait: wait)
            } else if let failover, failover.expects(client.seat) {
                failover.refused(client.seat, reason: reason, wait: wait)
            } else {
                churn?.refused(client.seat, reason: reason, wait: wait)
            }
        case .leaving:
            countClosed()
            churn?.left(client)
        case .open where failover != nil && !client.isSlow:
            countClosed()
            // Heartbeats would still go to the gateway that is gone.
            if failover?.report.firstLossAt == 0 { moveHttpClients() }
            failover?.lost(client, reason: reason)
        case .open:
            // It stays in its seat: what it does not receive from now on is lost.
            countClosed()
            if client.isSlow {
                report.slowCloses[reason, default: 0] += 1
            } else {
                report.serverCloses[reason, default: 0] += 1
            }
        case .ended: break
        }
    }

    private func countClosed() {
        openCount -= 1
        board.setOpenCount(openCount, process: plan.process)
    }

    private func moveHttpClients() {
        for (index, http) in httpClients.enumerated() {
            http.move(to: failoverDestinations[index % failoverDestinations.count])
        }
    }

    private func takeTokens() {
        guard let tokenFetch else { return }
        for index in seats.indices {
            guard let token = tokenFetch.tokens[index] else { continue }
            let rooms = seats[index].rooms.map { RoomName.text(room: $0, run: plan.run) }
            let names = rooms.joined(separator: ",")
            let path = plan.load.isEventStream(client: seats[index].number) ? "/events" : plan.load.path
            seats[index].target = "\(path)?token=\(token)&roomIds=\(names)"
        }
        onNews(.prepared(tokenFetch.report))
    }

    private func finalReport(_ publishedCount: Int) -> HolderReport {
        report.deliveries = check.strays
        report.deliveries += endedDeliveries
        for seat in seats {
            guard let client = seat.client else { continue }
            if client.isSlow {
                report.slowCount += 1
            } else {
                // Of one that is on its way out only the gaps count.
                report.deliveries += client.counts(
                    ofMessages: client.phase == .leaving || client.isPending ? 0 : publishedCount)
            }
        }
        report.measuredCount = check.measuredCount
        report.latency = check.latency
        report.failover = failover?.report
        report.heartbeatCount = heartbeats?.count ?? 0
        report.heartbeatFailures = heartbeats?.failures ?? [:]
        report.httpConnectionCount = httpClients.reduce(0) { $0 + $1.connectionCount }
        return report
    }
}
