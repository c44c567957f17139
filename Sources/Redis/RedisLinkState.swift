// What a link to Redis is at, and what it does next. Pure: sockets, timers, clock and chance are the link's.

import EventLoop

/// The state of a link. Each event returns what the link has to do; an event that does not fit the phase
/// does nothing.
///
///     idle, waiting         attempt ──▶ asking (behind sentinels) or resolving
///     asking                named ──▶ resolving                      lost ──▶ waiting
///     resolving             resolved ──▶ connecting                  lost, dropped ──▶ waiting
///     connecting            connected ──▶ loggingIn                  lost ──▶ waiting, dropped ──▶ leaving
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
        /// Start the time that an attempt has, and resolve the server's host.
        case resolve(Address)
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
    /// A connection that ends sooner does not prove the server well: the waits keep growing.
    static let provingTime = Duration.seconds(2)

    private let route: Route
    /// What a login sends before ROLE.
    private let login: [LoginCommand]
    private let attemptTime: Duration
    private(set) var phase = Phase.idle
    private var attemptCount = 0
    /// The master by the latest word, for the next attempt: some sentinels may still name the one before.
    private var announcedMaster: Address?
    /// Behind sentinels always: for seconds after a switch a sentinel may not know of it. Otherwise since
    /// the server has refused a write.
    private var mustBeMaster: Bool

    /// - Parameter login: what a login sends, but for ROLE.
    init(
        _ route: Route, login: [LoginCommand] = [.setName],
        attemptTime: Duration = RedisLinkState.attemptTime
    ) {
        self.route = route
        self.login = login
        self.attemptTime = attemptTime
        mustBeMaster = route == .master
    }

    // MARK: The way to a server

    /// The link is started, or has waited long enough.
    mutating func attempt() -> Action {
        guard phase == .idle || phase == .waiting else { return .nothing }
        attemptCount += 1
        switch route {
        case .anyOf(let addresses): return resolve(addresses[(attemptCount - 1) % addresses.count])
        case .master:
            if let announcedMaster { return resolve(announcedMaster) }
            phase = .asking
            return .askSentinels
        }
    }

    /// A sentinel has named the master.
    mutating func named(_ master: Address) -> Action {
        guard phase == .asking else { return .nothing }
        return resolve(announcedMaster ?? master)
    }

    private mutating func resolve(_ server: Address) -> Action {
        announcedMaster = nil
        phase = .resolving(server)
        return .resolve(server)
    }

    /// - Parameter address: the server's in numbers, or the path of its socket.
    mutating func resolved(_ address: Address) -> Action {
        guard case .resolving(let server) = phase else { return .nothing }
        phase = .connecting(server)
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
            role == "master" ? loggedIn() : refuse("the server is no master but a \(role ?? "?")")
        }
    }

    mutating func refused(_ command: LoginCommand, _ message: String) -> Action {
        // The only server that the URL names, if it does not report its role, is taken as it is.
        command == .askRole && route != .master ? loggedIn() : refuse("\(command.rawValue): \(message)")
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
        phase = .proven(server, since: now)
        return .endTimeout
    }

    // MARK: The end of a connection or attempt

    /// The time of the attempt is over.
    mutating func timedOut() -> Action {
        switch phase {
        case .resolving, .connecting, .loggingIn: leave(late(RedisLinkState.connection))
        case .proving(_, let missing): leave(late(missing))
        case .idle, .waiting, .asking, .proven, .leaving, .stopped: .nothing
        }
    }

    private func late(_ missing: String) -> String {
        "no \(missing) within \(attemptTime.wholeMilliseconds) ms"
    }

    /// The user wants another connection than the one that it has.
    mutating func dropped(_ reason: String) -> Action { leave(reason) }

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
        switch phase {
        case .idle, .waiting, .stopped: return .nothing
        case .asking, .resolving, .connecting, .loggingIn, .proving: startsOver = false
        case .proven(_, let since): startsOver = now - since >= RedisLinkState.provingTime
        case .leaving(_, let since, let isFollowing):
            startsOver = isFollowing || since.map { now - $0 >= RedisLinkState.provingTime } ?? false
        }
        phase = .waiting
        return .retry(reason, startsOver: startsOver)
    }

    mutating func stopped() -> Action {
        phase = .stopped
        return .stop
    }

    /// What an attempt lacks unless its user says otherwise.
    private static let connection = "connection"

    /// The server of the present attempt or connection.
    private var server: Address? {
        switch phase {
        case .idle, .waiting, .asking, .stopped: nil
        case .resolving(let server), .connecting(let server), .loggingIn(let server),
            .proving(let server, _),
            .proven(let server, _), .leaving(let server, _, _):
            server
        }
    }
}
