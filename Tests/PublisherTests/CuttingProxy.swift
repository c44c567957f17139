// Between the publisher and Redis: lets through what it is told to, and then cuts.
import EventLoop
import Foundation
import Synchronization

/// Forwards one connection after another to a server, each on a thread of its own.
///
/// A connection with a bound is cut when the server has answered more than that: what is beyond has been
/// carried out, and its answers are lost.
final class CuttingProxy: Sendable {
    let port: Int
    private let serverPort: Int
    private let listener: Int32
    private let bounds: [Int]
    private let accepted = Atomic<Int>(0)

    /// How many connections there have been.
    var connectionCount: Int { accepted.load(ordering: .relaxed) }

    /// - Parameter bounds: for each connection how many bytes of answers pass; later ones have no bound.
    init(to serverPort: Int, passing bounds: [Int]) throws {
        let socket = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        port = Int(socket.port)
        listener = socket.descriptor
        self.serverPort = serverPort
        self.bounds = bounds
        _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK)
        Thread.detachNewThread { [weak self, listener] in
            while case let client = accept(listener, nil, nil), client >= 0 { self?.serve(client) }
            close(listener)
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve(_ client: Int32) {
        let number = accepted.add(1, ordering: .relaxed).oldValue
        let bound = number < bounds.count ? bounds[number] : Int.max
        let server = Self.connect(to: serverPort)
        Thread.detachNewThread {
            Self.copy(from: client, to: server, bound: .max)
            shutdown(server, Int32(SHUT_WR))
        }
        Thread.detachNewThread {
            Self.copy(from: server, to: client, bound: bound)
            // The descriptors stay with the other thread until it ends, too; a test is short.
            shutdown(client, Int32(SHUT_RDWR))
            shutdown(server, Int32(SHUT_RDWR))
        }
    }

    private static func connect(to port: Int) -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return descriptor
    }

    private static func copy(from source: Int32, to target: Int32, bound: Int) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var passedBytes = 0
        while case let count = recv(source, &buffer, buffer.count, 0), count > 0 {
            let passing = min(count, bound - passedBytes)
            var sent = 0
            while sent < passing {
                let step = buffer.withUnsafeBytes {
                    send(target, $0.baseAddress! + sent, passing - sent, Int32(MSG_NOSIGNAL))
                }
                guard step > 0 else { return }
                sent += step
            }
            passedBytes += passing
            if passing < count { return }
        }
    }
}
