// A worker that serves no port, and clients of it whose other ends a test holds. Confined to one thread.

import EventLoop
import Glibc
import Network
import RedisSchema
import TestSupport
import Testing
import WebSocket

@testable import Gateway

/// A worker, its loop and its clients. Nothing is connected to Redis unless a test starts the registry.
final class WorkerRig {
    let scenario: Scenario
    let node: NodeContext
    let worker: Worker
    private var peers: [TestPeer] = []

    convenience init(_ options: String...) throws { try self.init(options) }

    init(_ options: [String]) throws {
        scenario = try Scenario()
        let configuration = try configuration(["--node-id", "n1", "--workers", "1"] + options)
        let state = NodeState(workerCount: 1, maximumClientCount: 1_000, maximumHttpConnectionCount: 8)
        let log = Log(level: .error, format: .text, nodeID: "n1")
        node = NodeContext(configuration: configuration, log: log, state: state)
        worker = Worker(index: 0, node: node, loop: scenario.loop)
    }

    deinit {
        for peer in peers {
            peer.client.disconnect()
            peer.socket.close()
        }
        worker.registry.stop()
    }

    /// A client that has its rooms, as after a finished handshake.
    ///
    /// - Parameters:
    ///   - isCompressed: whether a WebSocket has negotiated compression.
    ///   - bufferBytes: how much its socket takes before it is full; 0 is the system's default.
    ///   - answers: what it has missed, if it has opted in; empty for a member that has been told already.
    func connect(
        _ rooms: String..., as transport: Transport = .webSocket, isCompressed: Bool = false,
        bufferBytes: Int32 = 0, resumed answers: [RoomAnswer<Message>]? = nil
    ) throws -> TestPeer {
        let pair = try socketPair(bufferBytes: bufferBytes)
        let number = UInt64(peers.count + 1)
        let text = String(number)
        let token = try #require(Token(String(repeating: "A", count: 24 - text.count) + text))
        try #require(node.state.admitClient())
        let kind: Member.Type = transport == .events ? EventStreamClient.self : WebSocketClient.self
        let client = kind.init(
            takingOver: Connection(socket: pair.0, host: worker.host), worker: worker,
            encoding: transport == .events ? .event : isCompressed ? .webSocketDeflated : .webSocketText,
            isOptedIn: answers != nil, token: token, connectionID: number, connectedAt: 1_000,
            address: try #require(IPAddress("192.0.2.1")),
            record: ClientRecord(isLogin: true))
        let peer = TestPeer(client: client, socket: pair.1)
        peers.append(peer)
        if let answers, !answers.isEmpty { client.begin([], answers) }
        worker.connections.add(
            client, worker.rooms.prepare(rooms.compactMap { RoomId($0) }), resumed: answers ?? [])
        return peer
    }

    /// The feed's connection is lost once more.
    func loseSubscriptions() {
        worker.subscriptionsLost(count: worker.feedLossCount &+ 1)
    }

    /// Runs the scenario until peers have received so many bytes. Once, at a test's end.
    func awaitBytes(_ counts: [(peer: TestPeer, count: Int)]) throws {
        scenario.step(
            "everything arrives",
            until: {
                for (peer, _) in counts { peer.read() }
                return counts.allSatisfy { $0.peer.received.count >= $0.count }
            })
        try scenario.run()
    }

    func closedCount(_ reason: CloseReason) -> UInt64 { worker.metrics.closed[reason.rawValue].value }

    /// What the worker has told the subscriber so far, as text. Runs the scenario: once, at a test's end.
    func subscriberMessages() throws -> [String] {
        var texts: [String] = []
        node.feedMailboxes[0].open(on: scenario.loop) { messages in
            for message in messages {
                switch message {
                case .join(let room, _): texts.append("join \(room)")
                case .leave(let room, _): texts.append("leave \(room)")
                case .resume(let request): texts.append("resume \(request.rooms.map(\.room))")
                case .cancelResume: texts.append("cancel resume")
                case .echoTaken(let echo): texts.append("echo \(echo.number)")
                case .stop: texts.append("stop")
                }
            }
        }
        // The mailbox is read before anything else of its turn.
        scenario.then {}
        scenario.then {}
        try scenario.run()
        return texts
    }
}

extension ClientRecord {
    /// The record of an identity `me`.
    init(isLogin: Bool, allowedRooms: [UInt8] = [], order: Int64 = 0) {
        self = [UInt8]("me").withUnsafeBytes { identity in
            allowedRooms.withUnsafeBytes { rooms in
                ClientRecord(
                    identity: identity, isLogin: isLogin, issuedAt: 5, ttlSeconds: 90, allowedRooms: rooms,
                    order: order)
            }
        }
    }
}

/// A client and the other end of its socket.
final class TestPeer {
    let client: Member
    let socket: Socket
    /// Everything that has come so far.
    private(set) var received: [UInt8] = []
    /// The gateway has ended its side.
    private(set) var hasEnded = false

    init(client: Member, socket: Socket) {
        self.client = client
        self.socket = socket
    }

    /// The client reads these bytes now.
    func send(_ bytes: [UInt8]) {
        var bytes = bytes
        bytes.withUnsafeMutableBytes { (client as? WebSocketClient)?.receive($0) }
    }

    func send(_ opcode: Opcode, _ payload: [UInt8] = []) { send(TestPeer.frame(opcode, payload)) }

    /// Reads what is there.
    func read() {
        withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 1) { buffer in
            while true {
                switch socket.read(into: buffer) {
                case .bytes(let count): received += buffer[..<count]
                case .wouldBlock: return
                case .endOfStream, .failed:
                    hasEnded = true
                    return
                }
            }
        }
    }

    /// A masked frame, as a client sends it.
    static func frame(_ opcode: Opcode, _ payload: [UInt8] = []) -> [UInt8] {
        var output: [UInt8] = []
        payload.withUnsafeBytes {
            FrameEncoder.append(
                opcode, payload: $0, maskingKey: MaskingKey(networkOrder: 0x37FA_213D), to: &output)
        }
        return output
    }

    /// An unmasked frame, as the gateway sends it.
    static func answer(_ opcode: Opcode, _ payload: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        payload.withUnsafeBytes { FrameEncoder.append(opcode, payload: $0, to: &output) }
        return output
    }

    static func closing(_ reason: CloseReason) -> [UInt8] {
        var output: [UInt8] = []
        FrameEncoder.appendClose(reason.code, reason: reason.text, to: &output)
        return output
    }
}

/// A message of a room.
///
/// - Parameter deflated: the payload of its compressed frame, if it has one.
func message(
    _ payload: [UInt8], in room: RoomId = RoomId("a")!, order: UInt64 = 1, position: HistoryPosition? = nil,
    deflated: [UInt8]? = nil
) -> Message {
    let frame = deflated?.withUnsafeBytes { SharedBytes.textFrame($0, isCompressed: true) }
    return payload.withUnsafeBytes {
        Message(
            room: room, order: order, receivedAt: .now, isDurable: position != nil, position: position,
            payload: $0, deflated: frame)
    }
}

/// A text frame, as a message of one room comes to its members.
func textFrame(_ payload: [UInt8]) -> SharedBytes { payload.withUnsafeBytes { SharedBytes.textFrame($0) } }

extension RoomTable {
    /// News of a feed that knows of all that the worker has left.
    func subscribed(_ id: RoomId) { subscribed(id, leaveCount: leaveCount) }

    func refused(_ id: RoomId) { refused(id, leaveCount: leaveCount) }
}

extension Worker {
    /// Of the only server.
    var registry: ClientRegistry { shards.all[0].registry }
    /// Of the clients with records there.
    var heartbeats: Heartbeats { shards.all[0].heartbeats }
}
