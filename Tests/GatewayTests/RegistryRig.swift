// A worker's registry on a real Redis, led through steps.

import EventLoop
import Glibc
import Network
import Redis
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

/// A worker's registry on a real Redis.
final class RegistryRig {
    let server: RedisServer
    let scenario: Scenario
    let worker: Worker
    let token = Token("AAAAbbbbCCCCdddd0000-_-_")!
    var outcomes: [String] = []
    /// Of the connections that were attached.
    var orders: [Int64] = []
    var pending: [Bool] = []
    private(set) var upCount = 0
    private let begin = MonotonicInstant.now

    let registry: ClientRegistry
    var key: String { "client:\(token.text)" }

    /// - Parameter renewalPause: another than a worker's.
    init(_ options: String..., renewalPause: Duration? = nil) throws {
        server = try RedisServer()
        scenario = try Scenario()
        let configuration = try configuration(
            [
                "--redis", "redis://127.0.0.1:\(server.port)", "--node-id", "n1", "--workers", "1",
                "--token-ttl", "60s",
            ] + options)
        let state = NodeState(workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        let log = Log(level: .error, format: .text, nodeID: "n1")
        let node = NodeContext(configuration: configuration, log: log, state: state)
        worker = Worker(index: 0, node: node, loop: scenario.loop)
        if let renewalPause {
            registry = ClientRegistry(
                node: node, worker: 0, renewalPause: renewalPause, loop: scenario.loop)
        } else {
            registry = worker.shards.all[0].registry
        }
        registry.onUp = { [unowned self] _ in self.upCount += 1 }
        up(count: 1) { [unowned self] in self.registry.start() }
    }

    deinit { registry.stop() }

    func up(count: Int, _ action: @escaping () throws -> Void) {
        scenario.step("redis is up", until: { [unowned self] in self.upCount == count }, action)
    }

    /// Does something that has one outcome, and waits for it.
    func ask(_ action: @escaping (RegistryRig) throws -> Void) {
        var before = 0
        let isThere = { [unowned self] in self.outcomes.count > before }
        scenario.step("an outcome", until: isThere) { [unowned self] in
            before = self.outcomes.count
            try action(self)
        }
    }

    func issue(isLogin: Bool = true, identity: String = "me", allowedRooms: String...) {
        let allowedRooms = allowedRooms.compactMap { RoomId($0) }
        ask { rig in
            rig.registry.issue(
                rig.token, identity: Identity(identity)!, isLogin: isLogin, allowedRooms: allowedRooms
            ) { rig.outcomes.append("issued \($0)") }
        }
    }

    func renew(after action: @escaping () throws -> Void = {}) {
        ask { rig in
            try action()
            rig.registry.renew(rig.token) { rig.outcomes.append("\($0)") }
        }
    }

    /// Renews as a part of a step.
    func renewSoon() {
        registry.renew(token) { [unowned self] in self.outcomes.append("\($0)") }
    }

    func attach(
        connection: UInt64 = 7, rooms: [String] = ["a", "b"], after action: @escaping () throws -> Void = {}
    ) {
        ask { rig in
            try action()
            let rooms = rooms.compactMap { RoomId($0) }
            rig.registry.attach(
                rig.token, connectionID: connection, connectedAt: 1_000, address: "192.0.2.1", rooms: rooms
            ) { attachment in
                guard case .attached(let registration) = attachment else {
                    return rig.outcomes.append("\(attachment)")
                }
                let record = registration.record
                rig.orders.append(record.order)
                rig.pending.append(registration.isPending)
                let rooms =
                    record.allowedRooms.isEmpty ? [] : [String(decoding: record.allowedRooms, as: UTF8.self)]
                let identity = String(decoding: record.identity, as: UTF8.self)
                let parts = [identity, "\(record.isLogin)", "\(record.ttlSeconds)"] + rooms
                rig.outcomes.append(parts.joined(separator: " "))
            }
        }
    }

    func remaining(after action: @escaping () throws -> Void = {}) {
        ask { rig in
            try action()
            rig.registry.remaining(rig.token) { remaining in
                if case .milliseconds(let left) = remaining {
                    rig.outcomes.append((1...60_000).contains(left) ? "some" : "\(left)")
                } else {
                    rig.outcomes.append("\(remaining)")
                }
            }
        }
    }

    /// Confirms the connection 7.
    func confirm(
        restoring: Bool = false, allowedRooms: String = "", after action: @escaping () throws -> Void = {}
    ) {
        ask { rig in
            try action()
            try rig.confirm(7, order: 50, restoring: restoring, allowedRooms: allowedRooms)
        }
    }

    /// Confirms a connection as the whole of a step.
    func confirm(_ connection: UInt64, order: Int64, restoring: Bool = false, allowedRooms: String = "")
        throws
    {
        var descriptors: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0)
        let client = WebSocketClient(
            takingOver: Connection(socket: Socket(descriptor: descriptors[0]), host: worker.host),
            worker: worker, encoding: .webSocketText,
            token: token, connectionID: connection, connectedAt: 1_000, address: IPAddress("192.0.2.1")!,
            record: ClientRecord(isLogin: false, allowedRooms: [UInt8](allowedRooms), order: order))
        registry.confirm(client, restoring: restoring) { [unowned self] confirmation in
            self.outcomes.append(confirmation.map { "\($0)" } ?? "none")
            client.disconnect()
            close(descriptors[1])
        }
    }

    func set(_ fields: String...) throws {
        try server.command(bytes: (["HSET", key] + fields).map { Array($0.utf8) })
    }

    func field(_ name: String) throws -> String? {
        guard case .bytes(let value) = try server.command("HGET", key, name) else { return nil }
        return String(decoding: value, as: UTF8.self)
    }

    func expect(_ name: String, _ value: String) throws {
        let found = try field(name)
        #expect(found == value)
    }

    /// How many calls of scripts and PINGs Redis has had: what the link asks by itself has one of them at least.
    func callCount() throws -> Int {
        guard case .bytes(let text) = try server.command("INFO", "commandstats") else { return -1 }
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\r\n")
        let counts = ["ping", "eval", "evalsha"].compactMap { name in
            lines.first { $0.hasPrefix("cmdstat_\(name):calls=") }
                .flatMap { Int($0.drop { $0 != "=" }.dropFirst().prefix { $0.isNumber }) }
        }
        return counts.reduce(0, +)
    }

    /// Whether the key lives for so many seconds, or has done since the rig began: a busy machine may take its time.
    func expectLife(_ seconds: Int64, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let left = try self.seconds()
        let shortest = seconds - (MonotonicInstant.now - begin).components.seconds - 1
        #expect((shortest...seconds).contains(left), "\(left) s", sourceLocation: sourceLocation)
    }

    /// The key's remaining life, to the next second.
    func seconds() throws -> Int64 {
        guard case .integer(let left) = try server.command("PTTL", key) else { return -3 }
        return left < 0 ? left : (left + 999) / 1_000
    }
}
