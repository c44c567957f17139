// Where the master is at present, by the word of a sentinel. Loop-confined.

import EventLoop

/// Asks the sentinels in turn, each over a connection of its own, until one names the master:
///
///     resolve ──▶ connect ──▶ AUTH, SENTINEL GET-MASTER-ADDR-BY-NAME ──▶ named
///        │          └── unreachable ──▶ the name's next address
///        └────────────┴──────── refused, unknown, or 500 ms ──────────▶ the next sentinel
final class MasterFinder {
    typealias Outcome = Result<RedisURL.Address, RedisFailure>

    /// For each sentinel: they are near, have nothing else to do, and there are others to ask.
    private static let patience = Duration.milliseconds(500)

    private let loop: EventLoop
    private let masterName: String
    private let authArguments: [String]?
    private let tls: TLSContext?
    private let lookup: AddressLookup
    /// The one that answered last comes first.
    private var sentinels: [RedisURL.Address]
    private var askedCount = 0
    private var complaints: [String] = []
    private var context: RedisContext?
    /// Of the present sentinel's name, those that were not tried.
    private var addresses: ArraySlice<RedisURL.Address> = []
    private var isConnected = false
    private var named: RedisURL.Address?
    private var timer: PatienceTimer?
    private var onDone: ((Outcome) -> Void)?

    init(_ sentinels: RedisURL.Sentinels, loop: EventLoop) {
        self.loop = loop
        self.sentinels = sentinels.addresses
        masterName = sentinels.masterName
        authArguments = sentinels.authArguments
        tls = sentinels.tls
        lookup = AddressLookup(on: loop)
        timer = PatienceTimer(
            MasterFinder.patience, loop: loop, hasNews: { [unowned self] in self.context?.hasNews ?? false },
            onExpiry: { [unowned self] in
                let isShakingHands = self.context?.isShakingHands ?? false
                self.giveUp("no answer within 500 ms" + (isShakingHands ? "; \(TLSPeer.portHint)" : ""))
            })
    }

    /// Starts to ask. Not while it is asking already.
    ///
    /// - Parameter onDone: called once, unless it is cancelled before.
    func find(onDone: @escaping (Outcome) -> Void) {
        precondition(self.onDone == nil, "one question at a time")
        self.onDone = onDone
        askedCount = 0
        complaints = []
        askNext()
    }

    /// Stops to ask; not to be called from a reply.
    func cancel() {
        onDone = nil
        timer?.cancel()
        lookup.cancel()
        context?.close(reason: "cancelled")
    }

    private var sentinel: RedisURL.Address { sentinels[askedCount - 1] }

    private func askNext() {
        guard askedCount < sentinels.count else {
            let reason = "no sentinel names the master \(masterName): " + complaints.joined(separator: "; ")
            return finish(.failure(.unavailable(reason)))
        }
        askedCount += 1
        named = nil
        timer?.start()
        lookup.start(sentinel) { [unowned self] result in
            switch result {
            case .success(let addresses):
                self.addresses = addresses[...]
                self.connectToNext()
            case .failure(let failure): self.complain(failure.reason)
            }
        }
    }

    private func connectToNext() {
        guard let address = addresses.popFirst() else { return }
        isConnected = false
        do throws(RedisFailure) {
            context = try RedisContext.connect(
                to: address, securedFor: sentinel.peer(securedBy: tls), on: loop,
                onConnect: { [unowned self] in
                    self.isConnected = true
                    self.ask()
                },
                onEnd: { [weak self] reason in self?.ended(reason) })
        } catch {
            if addresses.isEmpty { complain(error.reason) } else { connectToNext() }
        }
    }

    private func ask() {
        guard let context else { return }
        if let authArguments {
            context.send(RedisCommand((["AUTH"] + authArguments).map { [UInt8]($0) })) {
                [weak self] result in
                if case .failure(.refused(let message)) = result { self?.giveUp("AUTH: \(message)") }
            }
        }
        context.send(MasterQuestion.command(masterName)) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let reply):
                self.named = MasterQuestion.address(in: reply)
                self.giveUp("knows no such master")
            case .failure(.refused(let message)): self.giveUp(message)
            case .failure(.unavailable): break
            }
        }
    }

    /// Has heard enough of this sentinel, or too little.
    private func giveUp(_ reason: String) {
        addresses = []
        if let context {
            context.close(reason: reason)
        } else {
            lookup.cancel()
            complain(reason)
        }
    }

    private func ended(_ reason: String) {
        context = nil
        guard onDone != nil else { return }
        if !isConnected, !addresses.isEmpty { return connectToNext() }
        guard let named else { return complain(reason) }
        let sentinel = sentinels.remove(at: askedCount - 1)
        sentinels.insert(sentinel, at: 0)
        finish(.success(named))
    }

    private func complain(_ reason: String) {
        complaints.append("\(sentinel): \(reason)")
        askNext()
    }

    private func finish(_ outcome: Outcome) {
        timer?.cancel()
        let onDone = onDone
        self.onDone = nil
        onDone?(outcome)
    }
}

/// The question that every sentinel answers, and its answer. Pure.
enum MasterQuestion {
    static func command(_ masterName: String) -> RedisCommand {
        RedisCommand(arguments(masterName))
    }

    static func arguments(_ masterName: String) -> [RedisArgument] {
        ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName].map { [UInt8]($0) }
    }

    /// The master's address; nil when the sentinel does not know the name.
    static func address(in reply: RedisReply) -> RedisURL.Address? {
        guard reply.count == 2, let host = reply[0].string, let port = reply[1].string else { return nil }
        return address(host: host, port: port)
    }

    static func address(host: String, port: String) -> RedisURL.Address? {
        guard let port = Int(port), (1...65535).contains(port), !host.isEmpty else { return nil }
        return .tcp(host: host, port: port)
    }
}
