// What a link to Redis is at, and what it does next. Pure: sockets, timers, clock and chance are the link's.

import EventLoop

/// The state of a link. Each event returns what the link has to do; an event that does not fit the phase
/// does nothing.
///
///     idle, waiting         attempt ──▶ asking (behind sentinels) or resolving
///     asking                named ──▶ resolving                      lost ──▶ waiting
///     resolving             resolved ──▶ connecting                  lost, dropped ──▶ waiting
///     connecting            connected ──▶ loggingIn                  lost ──▶ connecting (the name's next address)
///                                                                    lost ──▶ waiting, dropped ──▶ leaving
///     loggingIn             login complete ──▶ proving               lost ──▶ waiting, dropped ──▶ leaving
///     proving               confirmed ──▶ proven                     lost ──▶ waiting, dropped ──▶ leaving
///     proven                                                         lost ──▶ waiting, dropped ──▶ leaving
///     leaving               lost ──▶ waiting
///     all of them           stopped ──▶ stopped, for good
///
/// *Dropped* is also a timeout, a refused login and a new master elsewhere. A connection that is dropped
/// ends when hiredis says so, perhaps a little later: until then the link is leaving it.
struct RedisLinkState {
    typealias Address = RedisURL.Address

    enum Route: Equatable {
        /// To the next of these with each attempt.
        case anyOf([Address])
        /// To the server that the sentinels name.
        case master
    }

    enum Phase: Equatable {
        case idle
        /// For the next attempt.
        case waiting
        /// The sentinels, for the master.
        case asking
        /// The host's name, without blocking the loop.
        case resolving(Address)
        case connecting(Address)
        case loggingIn(Address)
        /// Logged in, and of use when `missing` has come.
        case proving(Address, missing: String)
        /// Its user has seen it work.
        case proven(Address, since: MonotonicInstant)
        case leaving(Address, provenSince: MonotonicInstant?, isFollowing: Bool)
        case stopped
    }

    /// In the order in which they are sent.
    enum LoginCommand: String, CaseIterable {
        case authenticate = "AUTH"
        case select = "SELECT"
        case setName = "CLIENT SETNAME"
        /// Only where the server must be a master.
        case askRole = "ROLE"
    }

    enum Action: Equatable {
        case nothing
        case askSentinels
        /// Resolve the server's host, within this time.
        case resolve(Address, within: Duration)
        /// Start the time that a connection has with its login, and connect.
        case connect(Address)
        case logIn(asksRole: Bool)
        /// The user's turn.
        case handOver
        case endTimeout
        case close(String)
        /// Clear what is left of the attempt, arrange the next one, and report the reason.
        case retry(String, startsOver: Bool)
        /// Make the attempt that is arranged sooner.
        case hasten
        case stop
    }

    /// An attempt that takes longer is given up: hiredis 0.14 has no timeout of its own, and a host that
    /// drops packets would hold the link for minutes.
    static let attemptTime = Duration.seconds(2)
    /// A name server that is away, or slow, is not the server's fault: looking up has a time of its own.
    static let lookUpTime = Duration.seconds(10)
    /// A connection that ends sooner does not prove the server well: the waits keep growing.
    static let provingTime = Duration.seconds(2)

    private var route: Route
    /// What a login sends before ROLE.
    private let login: [LoginCommand]
    private let attemptTime: Duration
    private let lookUpTime: Duration
    private(set) var phase = Phase.idle
    private var triedServer: Address?
    /// The master by the latest word, for the next attempt: some sentinels may still name the one before.
    private var announcedMaster: Address?
    /// Behind sentinels always: for seconds after a switch a sentinel may not know of it. Otherwise since
    /// the server has refused a write.
    private var mustBeMaster: Bool
    /// Addresses of the server's name that this attempt has not tried.
    private var otherAddresses: [Address] = []
    private var presentAddress: Address?
    /// Why the addresses before could not be reached.
    private var complaints: [String] = []
    /// The one that has worked comes first, as long as the name has it.
    private var provenAddress: Address?
    /// Attempts since a connection was of use: each begins with another address of the name.
    private var failedCount = 0
    /// What the server has refused at login, and can be done without.
    private(set) var refusals: [RefusedCommand] = []

    /// - Parameters:
    ///   - login: what a login sends, but for ROLE.
    ///   - mustBeMaster: whether a replica is refused from the beginning.
    init(
        _ route: Route, login: [LoginCommand] = [.setName],
        attemptTime: Duration = RedisLinkState.attemptTime,
        lookUpTime: Duration = RedisLinkState.lookUpTime, mustBeMaster: Bool = false
    ) {
        self.route = route
        self.login = login
        self.attemptTime = attemptTime
        self.lookUpTime = lookUpTime
        self.mustBeMaster = mustBeMaster || route == .master
    }

    // MARK: The way to a server

    /// The link is started, or has waited long enough.
    mutating func attempt() -> Action {
        guard phase == .idle || phase == .waiting else { return .nothing }
        switch route {
        case .anyOf(let addresses):
            let tried = triedServer.flatMap { addresses.firstIndex(of: $0) }
            return resolve(addresses[tried.map { ($0 + 1) % addresses.count } ?? 0])
        case .master:
            if let announcedMaster { return resolve(announcedMaster) }
            phase = .asking
            return .askSentinels
        }
    }

    /// What the next attempt is to choose from; nothing leaves it as it is.
    mutating func offer(_ addresses: [Address]) { if !addresses.isEmpty { route = .anyOf(addresses) } }

    /// A sentinel has named the master.
    mutating func named(_ master: Address) -> Action {
        guard phase == .asking else { return .nothing }
        return resolve(announcedMaster ?? master)
    }

    private mutating func resolve(_ server: Address) -> Action {
        announcedMaster = nil
        triedServer = server
        phase = .resolving(server)
        refusals = []
        return .resolve(server, within: lookUpTime)
    }

    /// - Parameter addresses: the server's in numbers, at least one, or the path of its socket.
    mutating func resolved(_ addresses: [Address]) -> Action {
        guard case .resolving(let server) = phase else { return .nothing }
        phase = .connecting(server)
        let known = addresses.filter { $0 == provenAddress } + addresses.filter { $0 != provenAddress }
        let start = failedCount % known.count
        otherAddresses = Array(known[start...] + known[..<start])
        complaints = []
        return connectToNext()
    }

    private mutating func connectToNext() -> Action {
        let address = otherAddresses.removeFirst()
        presentAddress = address
        return .connect(address)
    }

    mutating func connected() -> Action {
        guard case .connecting(let server) = phase else { return .nothing }
        phase = .loggingIn(server)
        return login.isEmpty && !mustBeMaster ? loggedIn() : .logIn(asksRole: mustBeMaster)
    }

    /// - Parameter role: what the server says to ROLE.
    mutating func accepted(_ command: LoginCommand, role: String? = nil) -> Action {
        switch command {
        case .authenticate, .select, .setName: command == login.last && !mustBeMaster ? loggedIn() : .nothing
        case .askRole:
            switch role {
            case "master": loggedIn()
            // As Redis calls it.
            case "slave": refuse("the server is a replica, not a master")
            // Of no Redis: a server that is the only one is taken as it is.
            default: route == .master ? refuse("the server is no master but a \(role ?? "?")") : loggedIn()
            }
        }
    }

    mutating func refused(_ command: LoginCommand, _ message: String) -> Action {
        let isMissed =
            switch command {
            case .authenticate, .select: true
            // A name is for people who look at CLIENT LIST.
            case .setName: !RefusedCommand.concernsOnlyItself(message)
            // The only server that the URL names, if it does not report its role, is taken as it is.
            case .askRole: route == .master
            }
        guard !isMissed else { return refuse("\(command.rawValue): \(message)") }
        if case .loggingIn = phase { refusals.append(RefusedCommand(command.rawValue, message)) }
        return command == .askRole ? loggedIn() : accepted(command)
    }

    private mutating func refuse(_ reason: String) -> Action {
        if case .loggingIn = phase { leave(reason) } else { .nothing }
    }

    private mutating func loggedIn() -> Action {
        guard case .loggingIn(let server) = phase else { return .nothing }
        phase = .proving(server, missing: RedisLinkState.connection)
        return .handOver
    }

    /// The link is of use only when this has come, too.
    mutating func await(_ missing: String) {
        guard case .proving(let server, _) = phase else { return }
        phase = .proving(server, missing: missing)
    }

    mutating func confirmed(now: MonotonicInstant) -> Action {
        guard case .proving(let server, _) = phase else { return .nothing }
        failedCount = 0
        provenAddress = presentAddress
        phase = .proven(server, since: now)
        return .endTimeout
    }

    // MARK: The end of a connection or attempt

    /// The time of the attempt is over.
    ///
    /// - Parameter inHandshake: whether the server is there, and has not answered in TLS.
    mutating func timedOut(inHandshake: Bool = false) -> Action {
        switch phase {
        case .resolving(let server): leave(late("address of \(server.host)", lookUpTime))
        // The end of this one is the beginning of the next.
        case .connecting where !otherAddresses.isEmpty: .close(lateConnection(inHandshake))
        case .connecting, .loggingIn: leave(lateConnection(inHandshake))
        case .proving(_, let missing): leave(late(missing, attemptTime))
        case .idle, .waiting, .asking, .proven, .leaving, .stopped: .nothing
        }
    }

    private func lateConnection(_ inHandshake: Bool) -> String {
        inHandshake
            ? "\(late("TLS handshake", attemptTime)); \(TLSPeer.portHint)"
            : late(RedisLinkState.connection, attemptTime)
    }

    private func late(_ missing: String, _ time: Duration) -> String {
        "no \(missing) within \(time.wholeMilliseconds) ms"
    }

    /// The user wants another connection than the one that it has.
    mutating func dropped(_ reason: String) -> Action { leave(reason) }

    /// The user wants another connection soon: this one works, and leads to the wrong place, or has the wrong
    /// login.
    ///
    /// - Parameter mustBeMaster: whether only a master is taken from now on.
    mutating func renewed(_ reason: String, mustBeMaster: Bool) -> Action {
        if mustBeMaster { self.mustBeMaster = true }
        return leave(reason, isFollowing: true)
    }

    /// The server takes no writes: from now on only a master is taken.
    mutating func droppedReplica(_ reason: String) -> Action {
        mustBeMaster = true
        return leave(reason)
    }

    /// The sentinels have a new master: any other server is left at once, and this one is tried first.
    mutating func follow(_ master: Address) -> Action {
        guard route == .master, phase != .stopped, server != master else { return .nothing }
        announcedMaster = master
        return phase == .waiting ? .hasten : leave("the master is now \(master)", isFollowing: true)
    }

    private mutating func leave(_ reason: String, isFollowing: Bool = false) -> Action {
        switch phase {
        case .resolving:
            phase = .waiting
            return .retry(reason, startsOver: isFollowing)
        case .connecting(let server), .loggingIn(let server), .proving(let server, _):
            phase = .leaving(server, provenSince: nil, isFollowing: isFollowing)
            return .close(reason)
        case .proven(let server, let since):
            phase = .leaving(server, provenSince: since, isFollowing: isFollowing)
            return .close(reason)
        case .idle, .waiting, .asking, .leaving, .stopped: return .nothing
        }
    }

    /// The connection has ended, or the attempt has failed.
    mutating func lost(_ reason: String, now: MonotonicInstant) -> Action {
        let startsOver: Bool
        var hasWorked = false
        switch phase {
        case .idle, .waiting, .stopped: return .nothing
        case .connecting where !otherAddresses.isEmpty:
            complain(reason)
            return connectToNext()
        case .asking, .resolving, .connecting, .loggingIn, .proving: startsOver = false
        case .proven(_, let since):
            startsOver = now - since >= RedisLinkState.provingTime
            hasWorked = true
        case .leaving(_, let since, let isFollowing):
            hasWorked = since != nil
            startsOver = isFollowing || since.map { now - $0 >= RedisLinkState.provingTime } ?? false
        }
        if case .connecting = phase { complain(reason) }
        let reason = complaints.count > 1 ? complaints.joined(separator: "; ") : reason
        complaints = []
        if !hasWorked { failedCount += 1 }
        phase = .waiting
        return .retry(reason, startsOver: startsOver)
    }

    private mutating func complain(_ reason: String) {
        guard let presentAddress else { return }
        complaints.append("\(presentAddress): \(reason)")
    }

    mutating func stopped() -> Action {
        phase = .stopped
        return .stop
    }

    /// What an attempt lacks unless its user says otherwise.
    private static let connection = "connection"

    /// The server of the present attempt or connection, as it was named.
    var server: Address? {
        switch phase {
        case .idle, .waiting, .asking, .stopped: nil
        case .resolving(let server), .connecting(let server), .loggingIn(let server),
            .proving(let server, _),
            .proven(let server, _), .leaving(let server, _, _):
            server
        }
    }
}

/// A command that the server has refused, with its message.
package struct RefusedCommand: Equatable, Sendable {
    package let command: String
    package let message: String

    init(_ command: String, _ message: String) {
        self.command = command
        self.message = message
    }

    /// Whether a refusal is about the one command: its right is missing, or the server does not know it. Other
    /// refusals, such as of a login or while data is loaded, are about every command.
    package static func concernsOnlyItself(_ message: String) -> Bool {
        if message.hasPrefix("NOPERM") { return true }
        return message.hasPrefix("ERR ") && !message.contains("max number of clients")
    }
}
