// A worker's command connection and the scripts that run over it. Loop-confined.

import EventLoop
import RedisSchema
import Redis

/// Calls scripts by their digests, and reports to the node what Redis refuses.
final class RegistryLink {
    typealias Outcome = Result<RedisReply, RedisFailure>

    private let connection: any CommandLink
    /// Of the master of a cluster; nil for the only server.
    private let address: RedisURL.Address?
    private let log: Log
    private let control: Mailbox<ControlNotice>
    private let role: RedisRole
    private let keys: Keys
    private var renewals = RenewalBatch(maximumCount: Limits.renewalBatchCount)
    private let renewalPause: Duration
    private var renewalTimer: Timer?
    /// By the number of the script; nil until Redis has taken it.
    private var digests = [RedisArgument?](repeating: nil, count: RegistryScript.allCases.count)
    /// When the next refusal of a command is reported to the node, which decides whether it is news.
    private var nextRefusalAt: [String: MonotonicInstant] = [:]

    var onUp: ((RedisConnection.Server) -> Void)?
    var onDown: ((String) -> Void)?
    /// Redis has refused a call of a script.
    var onScriptRefused: (() -> Void)?

    /// - Parameters:
    ///   - renewalPause: how long renewals wait for others.
    ///   - address: of the master that `link` leads to; nil for the only server.
    init(
        node: NodeContext, worker: Int, renewalPause: Duration, link: any CommandLink,
        address: RedisURL.Address?,
        loop: EventLoop
    ) {
        let configuration = node.configuration
        log = node.log
        control = node.controlMailbox
        role = .worker(worker)
        keys = Keys(prefix: configuration.prefix)
        self.renewalPause = renewalPause
        connection = link
        self.address = address
        connection.onNewPassword = { [unowned self] refusal in
            if let refusal { self.tell(refusal: refusal, of: "AUTH") }
        }
        renewalTimer = Timer(on: loop) { [unowned self] in self.renewalPauseEnds() }
        connection.onUp = { [unowned self] in self.isUp($0) }
        connection.onDown = { [unowned self] in self.isDown($0) }
    }

    /// The node's own address on the way to Redis; nil without a connection.
    var localHost: String? { connection.localHost }

    func start() { connection.start() }

    func stop() {
        renewalTimer?.cancel()
        connection.stop()
    }

    /// The sentinels name this master.
    func follow(_ master: RedisURL.Address) { connection.follow(master) }

    /// Whether commands are sent; otherwise they fail at once.
    var isUp: Bool { connection.isUp }

    /// The connection is made again at once: it leads to another server than it should.
    func renew(reason: String) { connection.renew(reason: reason) }

    /// Sends a command whose refusal is reported by the caller.
    func sendQuietly(_ command: RedisCommand, onReply: @escaping (Outcome) -> Void) {
        connection.send(command, onReply: onReply)
    }

    /// Sends a command.
    ///
    /// - Parameter name: the command that a refusal is reported for.
    func send(_ command: RedisCommand, named name: String, onReply: @escaping (Outcome) -> Void) {
        connection.send(command) { [unowned self] result in
            if case .failure(.refused(let message)) = result { self.tell(refusal: message, of: name) }
            onReply(result)
        }
    }

    /// A call of a script, and how much of it says which one.
    struct Call {
        fileprivate let script: RegistryScript
        fileprivate let command: RedisCommand
        fileprivate let startBytes: Int
    }

    /// A call on a token's record.
    func call(
        _ script: RegistryScript, _ token: Token, argumentCount: Int,
        _ arguments: (inout RedisCommand) -> Void
    ) -> Call {
        call(script, argumentCount: argumentCount + 1) { command in
            command.append(byteCount: keys.clientBytes) { keys.appendClient(token, to: &$0) }
            arguments(&command)
        }
    }

    /// A call on any key.
    func call(_ script: RegistryScript, key: [UInt8], arguments: [RedisArgument]) -> Call {
        call(script, argumentCount: arguments.count + 1) { command in
            command.append(key)
            for argument in arguments { command.append(argument) }
        }
    }

    /// A call by the script's digest, or by its source until Redis has it.
    private func call(
        _ script: RegistryScript, argumentCount: Int, _ arguments: (inout RedisCommand) -> Void
    ) -> Call {
        var command = RedisCommand(argumentCount: argumentCount + 3, capacityBytes: 480)
        if let digest = digests[script.rawValue] {
            command.append("EVALSHA")
            command.append(digest)
        } else {
            command.append("EVAL")
            command.append([UInt8](script.source))
        }
        let startBytes = command.byteCount
        command.append("1")
        arguments(&command)
        return Call(script: script, command: command, startBytes: startBytes)
    }

    /// Runs a script. If Redis has forgotten it, its source goes along this once, by which Redis knows it
    /// again: the digest stays what it is.
    func send(_ call: Call, mayWait: Bool = false, onDone: @escaping (Outcome) -> Void) {
        connection.send(call.command, mayWait: mayWait) { [unowned self] result in
            guard case .failure(.refused(let message)) = result else { return onDone(result) }
            let isDigestRefused = RegistryLink.isDigestRefused(message)
            guard message.hasPrefix("NOSCRIPT") || isDigestRefused, call.startBytes > 0 else {
                self.tell(refusal: message, of: "\(call.script)")
                onDone(result)
                self.onScriptRefused?()
                return
            }
            if isDigestRefused { self.forgetDigests(message) }
            let source = [UInt8](call.script.source)
            let command = call.command.replacingStart(call.startBytes, by: [[UInt8]("EVAL"), source])
            self.send(Call(script: call.script, command: command, startBytes: 0), onDone: onDone)
        }
    }

    /// Sends a renewal, perhaps together with others that come within a few milliseconds.
    ///
    /// Those that wait are sent already, but for the write: they stand in the connection's output buffer between
    /// the commands before and behind them, and any command that does not wait takes them along. So Redis sees
    /// all commands of this worker in the order of the calls: an attachment or a confirmation finds the record as
    /// it would without the pause. For other workers and nodes, whose revocations among them, it is as if the
    /// heartbeat had come a little later. Its timeout runs meanwhile, and if the connection ends, it fails like
    /// every command without an answer.
    func sendRenewal(_ call: Call, onDone: @escaping (Outcome) -> Void) {
        guard isUp else { return send(call, onDone: onDone) }
        let action = renewals.add()
        if action == .leave { renewalTimer?.start(after: renewalPause) }
        send(call, mayWait: action == .wait, onDone: onDone)
        // Some may wait on the way to another master, which has had no part in this.
        if action == .leave, address != nil { connection.writeWhatWaits() }
    }

    private func renewalPauseEnds() {
        guard renewals.pauseEnds() else { return }
        renewalTimer?.start(after: renewalPause)
        connection.writeWhatWaits()
    }

    /// Whether Redis knows the script and may not call it by its digest.
    private static func isDigestRefused(_ message: String) -> Bool {
        RefusedCommand.concernsOnlyItself(message) && message.lowercased().contains("evalsha")
    }

    /// From now on the source goes along, until the next connection.
    private func forgetDigests(_ message: String) {
        for index in digests.indices where digests[index] != nil { digests[index] = nil }
        control.post(.redisLacks(command: "EVALSHA", message))
    }

    // MARK: The connection

    private func isUp(_ server: RedisConnection.Server) {
        control.post(.redisServer(server, isOnly: address == nil))
        // In a cluster all masters count.
        if address == nil { control.post(.redisUp(role)) }
        // One script may have been loaded by another worker; loading is idempotent, and the digest is
        // needed.
        for script in RegistryScript.allCases {
            digests[script.rawValue] = nil
            let load = RedisCommand([[UInt8]("SCRIPT"), [UInt8]("LOAD"), [UInt8](script.source)])
            connection.send(load) { [weak self] result in
                switch result {
                case .success(let reply): self?.digests[script.rawValue] = reply.bytes.map { Array($0) }
                // The source goes with each call.
                case .failure(.refused(let message)):
                    self?.control.post(.redisLacks(command: "SCRIPT LOAD", message))
                case .failure(.unavailable): break
                }
            }
        }
        onUp?(server)
    }

    private func isDown(_ reason: String) {
        renewalTimer?.cancel()
        renewals = RenewalBatch(maximumCount: Limits.renewalBatchCount)
        control.post(.redisDown(role, address.map { "\($0): \(reason)" } ?? reason))
        onDown?(reason)
    }

    private func tell(refusal message: String, of name: String) {
        log.debug("redis refused a command", ["command": name, "reason": message])
        let now = MonotonicInstant.now
        guard nextRefusalAt[name].map({ now >= $0 }) ?? true else { return }
        nextRefusalAt[name] = now + Limits.refusalReportInterval
        control.post(.redisRefused(command: name, message))
    }
}
