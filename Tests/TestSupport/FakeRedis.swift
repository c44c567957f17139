// A server that sends what a test wants, on a free port of loopback: for all that no Redis would send.

import EventLoop
import Foundation
import Redis
import Synchronization

/// Plays a script to each connection, one after another, on a thread of its own. It ends with this object.
package final class FakeRedis: Sendable {
    package let port: Int
    private let state: FakeRedisState

    /// - Parameter play: what each connection gets; the connection is closed when it returns, or throws.
    package init(_ play: @escaping @Sendable (FakeConnection) throws -> Void) throws {
        let socket = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        port = Int(socket.port)
        state = FakeRedisState(listener: socket.descriptor)
        // Blocking, for a thread that does nothing else.
        _ = fcntl(socket.descriptor, F_SETFL, 0)
        let state = state
        Thread { state.serve(play) }.start()
    }

    deinit { state.stop() }

    package var url: RedisURL {
        get throws { try RedisURL("redis://127.0.0.1:\(port)") }
    }

    /// How many connections there have been.
    package var connectionCount: Int { state.connectionCount }
}

/// The end of a connection that is played to. Confined to the server's thread.
package final class FakeConnection {
    private let descriptor: Int32
    private var received: [UInt8] = []
    /// The first one is 0.
    package let number: Int

    fileprivate init(descriptor: Int32, number: Int) {
        self.descriptor = descriptor
        self.number = number
    }

    /// Waits until this text has come, and forgets everything up to its end.
    ///
    /// - Returns: what has come in front of it.
    /// - Throws: `NeverHappened` when the client is gone, or silent for far too long.
    @discardableResult
    package func expect(_ text: String) throws -> String {
        let wanted = Array(text.utf8)
        while true {
            if received.count >= wanted.count {
                for start in 0...(received.count - wanted.count)
                where received[start..<(start + wanted.count)].elementsEqual(wanted) {
                    let before = String(decoding: received[..<start], as: UTF8.self)
                    received.removeFirst(start + wanted.count)
                    return before
                }
            }
            guard try receive() else { throw NeverHappened(description: "never came: \(text)") }
        }
    }

    /// Waits for the next command: its name and arguments; nil when the client is gone.
    package func command() throws -> [String]? {
        while true {
            if let (arguments, byteCount) = FakeConnection.parse(received) {
                received.removeFirst(byteCount)
                return arguments
            }
            guard try receive() else { return nil }
        }
    }

    /// The first command of an array of bulk strings, and its length; nil until it is complete.
    private static func parse(_ bytes: [UInt8]) -> ([String], Int)? {
        var position = 0
        func number() -> Int? {
            guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            defer { position = end + 1 }
            return Int(String(decoding: bytes[(position + 1)..<(end - 1)], as: UTF8.self))
        }
        guard position < bytes.count, let count = number() else { return nil }
        var arguments: [String] = []
        for _ in 0..<count {
            guard position < bytes.count, let length = number(), position + length + 2 <= bytes.count else {
                return nil
            }
            arguments.append(String(decoding: bytes[position..<(position + length)], as: UTF8.self))
            position += length + 2
        }
        return (arguments, position)
    }

    package func send(_ text: String) { send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) {
        var sentCount = 0
        while sentCount < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress! + sentCount, $0.count - sentCount, Int32(MSG_NOSIGNAL))
            }
            // A client that has ended the connection has seen enough.
            guard count > 0 else { return }
            sentCount += count
        }
    }

    /// Each byte by itself.
    package func sendInBytes(_ bytes: [UInt8]) {
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        for byte in bytes { send([byte]) }
    }

    /// Sends nothing more, and waits for the client to end.
    package func end() {
        shutdown(descriptor, Int32(SHUT_WR))
        while (try? receive()) == true {}
    }

    /// Waits for the client to end; returns false if it does not for far longer than any healthy wait.
    package func awaitEnd() -> Bool {
        do { while try receive() {} } catch { return false }
        return true
    }

    private func receive() throws -> Bool {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 20_000) > 0 else { throw NeverHappened(description: "the client is silent") }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        received += buffer[..<count]
        return true
    }
}

private final class FakeRedisState: Sendable {
    private struct Sockets {
        var open: Int32?
        var isStopping = false
        var count = 0
    }

    private let listener: Int32
    private let sockets = Mutex(Sockets())

    init(listener: Int32) { self.listener = listener }

    var connectionCount: Int { sockets.withLock { $0.count } }

    func serve(_ play: (FakeConnection) throws -> Void) {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { break }
            let number: Int? = sockets.withLock { sockets in
                guard !sockets.isStopping else { return nil }
                sockets.open = descriptor
                sockets.count += 1
                return sockets.count - 1
            }
            if let number { try? play(FakeConnection(descriptor: descriptor, number: number)) }
            sockets.withLock { $0.open = nil }
            close(descriptor)
            if number == nil { break }
        }
        close(listener)
    }

    func stop() {
        sockets.withLock { sockets in
            sockets.isStopping = true
            if let open = sockets.open { shutdown(open, Int32(SHUT_RDWR)) }
        }
        // Wakes `accept`.
        shutdown(listener, Int32(SHUT_RDWR))
    }
}
