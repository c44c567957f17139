import Foundation
import Testing

@testable import Redis

/// A server that answers every connection with the same bytes, whatever it is asked.
private final class CannedServer: Sendable {
    let port: Int
    private let listener: Int32

    /// - Parameter closes: whether a connection ends behind the bytes; otherwise it stays open and silent.
    init(_ answer: String, closes: Bool = false) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try #require(bind(listener, generic, length) == 0 && listen(listener, 8) == 0)
                try #require(getsockname(listener, generic, &length) == 0)
            }
        }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread {
            var connections: [Int32] = []
            // accept fails when deinit shuts the listener down.
            while case let connection = accept(listener, nil, nil), connection >= 0 {
                _ = answer.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
                // The write side only: closing with unread bytes would reset the connection.
                if closes { shutdown(connection, Int32(SHUT_WR)) }
                connections.append(connection)
            }
            for connection in connections { close(connection) }
            close(listener)
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    func url(_ credentials: String = "", _ database: String = "") throws -> RedisURL {
        try RedisURL("redis://\(credentials)127.0.0.1:\(port)\(database)")
    }
}

@Suite struct RedisPipelineTests {
    private let timeout = Duration.seconds(10)

    @Test func repliesComeInOrderWithTheirTypes() throws {
        let server = try CannedServer(
            "+PONG\r\n:7\r\n$3\r\na\r\n\r\n-NOPERM no\r\n$-1\r\n*2\r\n:1\r\n*1\r\n$0\r\n\r\n")
        let pipeline = try RedisPipeline(to: server.url(), timeout: timeout)
        for _ in 0..<6 { try pipeline.append([Array("ANY".utf8)]) }
        #expect(pipeline.pendingCount == 6)
        #expect(try pipeline.nextReply() == .bytes(Array("PONG".utf8)))
        #expect(try pipeline.nextReply() == .integer(7))
        #expect(try pipeline.nextReply() == .bytes(Array("a\r\n".utf8)))
        #expect(try pipeline.nextReply() == .refused("NOPERM no"))
        #expect(try pipeline.nextReply() == .null)
        #expect(try pipeline.nextReply() == .array([.integer(1), .array([.bytes([])])]))
        #expect(pipeline.pendingCount == 0)
        withExtendedLifetime(server) {}
    }

    @Test func logInAndSelectTakeTheirReplies() throws {
        let server = try CannedServer("+OK\r\n+OK\r\n:1\r\n")
        let pipeline = try RedisPipeline(to: server.url("user:pw@", "/2"), timeout: timeout)
        try pipeline.append([Array("PUBLISH".utf8)])
        #expect(try pipeline.nextReply() == .integer(1))
        withExtendedLifetime(server) {}
    }

    @Test func refusedLoginTellsTheServersAnswer() throws {
        let server = try CannedServer("-WRONGPASS invalid\r\n")
        let url = try server.url(":hunter2@")
        let error = #expect(throws: RedisPipelineError.self) { try RedisPipeline(to: url, timeout: timeout) }
        #expect(error == .loginRefused(command: "AUTH", answer: "WRONGPASS invalid"))
        #expect(error?.description.contains("hunter2") == false)

        let other = try CannedServer("-ERR DB index is out of range\r\n")
        let database = try other.url("", "/99")
        #expect(
            throws: RedisPipelineError.loginRefused(command: "SELECT", answer: "ERR DB index is out of range")
        ) {
            try RedisPipeline(to: database, timeout: timeout)
        }
        withExtendedLifetime((server, other)) {}
    }

    @Test func closedConnectionIsLost() throws {
        let server = try CannedServer(":1\r\n", closes: true)
        let pipeline = try RedisPipeline(to: server.url(), timeout: timeout)
        for _ in 0..<2 { try pipeline.append([Array("ANY".utf8)]) }
        #expect(try pipeline.nextReply() == .integer(1))
        #expect(throws: RedisPipelineError.lost("Server closed the connection")) { try pipeline.nextReply() }
        #expect(pipeline.pendingCount == 1)
        withExtendedLifetime(server) {}
    }

    @Test func silenceIsLostAfterTheTimeout() throws {
        let server = try CannedServer("")
        let pipeline = try RedisPipeline(to: server.url(), timeout: .milliseconds(50))
        try pipeline.append([Array("ANY".utf8)])
        #expect(throws: RedisPipelineError.lost("no answer in time")) { try pipeline.nextReply() }
        withExtendedLifetime(server) {}
    }

    @Test func whatIsNoRedisIsLost() throws {
        let server = try CannedServer("HTTP/1.1 400 Bad Request\r\n")
        let pipeline = try RedisPipeline(to: server.url(), timeout: timeout)
        try pipeline.append([Array("ANY".utf8)])
        let error = #expect(throws: RedisPipelineError.self) { try pipeline.nextReply() }
        #expect(error?.description.contains("protocol error") == true)
        withExtendedLifetime(server) {}
    }

    @Test func missingServerIsUnreachable() throws {
        let url = try RedisURL("unix:///nonexistent/redis.sock")
        #expect(throws: RedisPipelineError.unreachable("\(url): No such file or directory")) {
            try RedisPipeline(to: url, timeout: timeout)
        }
    }
}
