import EventLoop
import Glibc
import RedisSchema
import Redis
import TestSupport
import Testing

@testable import Gateway

/// A worker that listens and has a real Redis, but no subscriber: no room is ever subscribed, so a handshake
/// waits once its connection is registered.
private final class Rig {
    let server: RedisServer
    let workers: WorkerRig
    let token = Token("AAAAbbbbCCCCdddd0000-_-_")!
    private let port: UInt16
    private var peer: Socket?
    private(set) var received = ""

    init() throws {
        server = try RedisServer()
        workers = try WorkerRig("--redis", "redis://127.0.0.1:\(server.port)")
        let socket = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        port = socket.port
        workers.worker.start(socket)
        var isIssued = false
        workers.scenario.step(
            "the token is issued",
            until: { [unowned self] in
                if !isIssued {
                    self.workers.worker.registry.issue(self.token, identity: Identity("me")!, isLogin: true)
                    {
                        isIssued = isIssued || $0
                    }
                }
                return isIssued
            })
    }

    deinit {
        for connection in Array(workers.worker.host.connections) { connection.disconnect() }
        peer?.close()
    }

    func step(
        _ name: String, until isDone: @escaping (Rig) throws -> Bool,
        _ action: @escaping (Rig) throws -> Void
    ) {
        workers.scenario.step(
            name, until: { [unowned self] in try isDone(self) }, { [unowned self] in try action(self) })
    }

    func sendHandshake() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        try #require(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
        let peer = Socket(descriptor: descriptor)
        self.peer = peer
        let text =
            "GET /ws?token=\(token.text)&roomIds=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            + "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        _ = Array(text.utf8).withUnsafeBytes { peer.write($0) }
    }

    func read() {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
            if case .bytes(let count) = peer?.read(into: buffer) {
                received += String(decoding: buffer[..<count], as: UTF8.self)
            }
        }
    }

    func isRegistered() throws -> Bool {
        try server.command("HGET", "client:\(token.text)", "node") == .bytes([UInt8]("n1"))
    }

    func tell(_ news: WorkerNews) { workers.node.workerMailboxes[0].post(.news(news)) }
}

@Suite(.serialized) struct UpgradeTests {
    /// What holds a client's token back at the last moment must hold for one that is about to become a
    /// client, too.
    @Test func handshakeUnderWayEndsWithItsToken() throws {
        let rig = try Rig()
        rig.step("the connection is registered", until: { try $0.isRegistered() }) { try $0.sendHandshake() }
        rig.step(
            "the handshake is refused",
            until: {
                $0.read()
                return $0.received.hasSuffix("}")
            }
        ) {
            $0.read()
            #expect($0.received.isEmpty)
            $0.tell(.revoked($0.token))
        }
        try rig.workers.scenario.run()
        #expect(rig.received.hasPrefix("HTTP/1.1 500 "))
        #expect(rig.received.hasSuffix(#"{"data":"Token error"}"#))
        #expect(rig.workers.worker.metrics.rejected[RejectionReason.tokenError.rawValue].value == 1)
        #expect(rig.workers.worker.connections.members.isEmpty)
    }

    /// Not before the new connection is complete; then by the script that writes it.
    @Test func olderConnectionIsNamedUntilTheHandshakeIsComplete() throws {
        let rig = try Rig()
        func field(_ rig: Rig, _ name: String) throws -> String? {
            guard case .bytes(let value) = try rig.server.command("HGET", "client:\(rig.token.text)", name)
            else {
                return nil
            }
            return String(decoding: value, as: UTF8.self)
        }
        rig.step("the connection has its place", until: { try field($0, "allotted") != nil }) {
            try $0.server.command(
                "HSET", "client:\($0.token.text)", "node", "n0", "connection", "41", "order", "5", "rooms",
                "old")
            try $0.sendHandshake()
        }
        rig.step("the record names it", until: { try $0.isRegistered() }) {
            let (node, connection) = (try field($0, "node"), try field($0, "connection"))
            #expect(node == "n0" && connection == "41")
            $0.tell(.subscribed(room: RoomId("a")!, leaveCount: 0))
        }
        try rig.workers.scenario.run()
        #expect(try field(rig, "rooms") == "a")
        #expect(try field(rig, "order") == field(rig, "allotted"))
        #expect(rig.workers.worker.connections.members.count == 1)
    }

    @Test func handshakeOfAnotherTokenGoesOn() throws {
        let rig = try Rig()
        let other = try #require(Token("BBBBbbbbCCCCdddd0000-_-_"))
        rig.step("the connection is registered", until: { try $0.isRegistered() }) { try $0.sendHandshake() }
        rig.step(
            "it is a client",
            until: {
                $0.read()
                return $0.received.hasSuffix("\r\n\r\n")
            }
        ) {
            $0.tell(.revoked(other))
            $0.tell(.subscribed(room: RoomId("a")!, leaveCount: 0))
        }
        try rig.workers.scenario.run()
        #expect(rig.received.hasPrefix("HTTP/1.1 101 "))
        #expect(rig.workers.worker.connections.members.count == 1)
    }
}
