// Listening sockets: made before the threads start, served by one loop each.

import CLibevent
import Glibc

/// A bound, listening TCP socket that no loop serves yet.
package struct ListeningSocket: Sendable, CustomStringConvertible {
    package let descriptor: Int32
    /// The address it is bound to, with the port that the kernel chose when 0 was asked for.
    package let host: String
    package let port: UInt16

    /// The kernel caps this at net.core.somaxconn (4096 by default); a storm of reconnections needs all of it.
    private static let backlog: Int32 = 4096

    /// Whether other sockets may listen on the same address, over which the kernel then spreads connections.
    package enum Sharing {
        case exclusive
        /// The first of several: fails if anybody listens on the address already, another process of ours included.
        case first
        /// One more beside the first.
        case further
    }

    /// Binds and listens.
    ///
    /// - Parameters:
    ///   - host: an IPv4 or IPv6 address, or a name that resolves to one (blocks while it is resolved).
    ///   - options: what the sockets accepted here inherit.
    /// - Throws: the failing call with the address in its name.
    package init(
        host: String, port: UInt16, sharing: Sharing, options: AcceptedSocketOptions = AcceptedSocketOptions()
    ) throws(SystemError) {
        let name = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, String(port), &hints, &list)
        guard result == 0, let address = list?.pointee else {
            throw SystemError(EINVAL, "resolve \(name): \(String(cString: gai_strerror(result)))")
        }
        defer { freeaddrinfo(list) }

        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.ai_family, type, 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket \(name)") }
        do throws(SystemError) {
            try ListeningSocket.set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            if sharing == .further { try ListeningSocket.set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            for option in options.values {
                try ListeningSocket.set(descriptor, option.level, option.name, option.value)
            }
            guard bind(descriptor, address.ai_addr, address.ai_addrlen) == 0 else {
                throw SystemError(errno, "bind \(name)")
            }
            // Set between bind and listen it admits others without having been admitted itself.
            if sharing == .first { try ListeningSocket.set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            guard listen(descriptor, ListeningSocket.backlog) == 0 else {
                throw SystemError(errno, "listen \(name)")
            }
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.host = host
        self.port = ListeningSocket.boundPort(of: descriptor)
    }

    /// `host:port`, an IPv6 address in brackets.
    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private static func set(
        _ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32
    ) throws(SystemError) {
        var value = value
        guard setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            throw SystemError(errno, "setsockopt \(level)/\(name)")
        }
    }

    private static func boundPort(of descriptor: Int32) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        withUnsafeMutableBytes(of: &storage) { bytes in
            _ = getsockname(descriptor, bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
        }
        // sin_port and sin6_port stand at the same place: bytes 2 and 3, in network order.
        return withUnsafeBytes(of: &storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    }
}

/// The other end of an accepted connection: an IPv6 address, or an IPv4 address mapped into one (::ffff:a.b.c.d),
/// as two big-endian halves.
package struct PeerAddress: Equatable, Sendable {
    package let high: UInt64
    package let low: UInt64

    init(_ address: UnsafePointer<sockaddr>) {
        let bytes = UnsafeRawPointer(address)
        if Int32(address.pointee.sa_family) == AF_INET6 {
            high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        } else {
            high = 0
            low = 0xffff_0000_0000
                | UInt64(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        }
    }
}

/// Serves a listening socket on a loop: accepts and hands over. Loop-confined.
package final class Listener {
    /// How long accepting pauses when the process or the system is out of descriptors or memory: long enough not to
    /// spin (a full backlog keeps the socket ready), short enough that nobody waits for a free slot for long.
    private static let pause = Duration.milliseconds(100)

    private let listener: OpaquePointer
    private let onAccept: (Socket, PeerAddress) -> Void
    private let onError: (SystemError) -> Void
    private var resumeTimer: Timer?

    /// Takes over `socket` and closes it in the end.
    package init(
        _ socket: ListeningSocket, on loop: EventLoop, onError: @escaping (SystemError) -> Void,
        onAccept: @escaping (Socket, PeerAddress) -> Void
    ) {
        self.onAccept = onAccept
        self.onError = onError
        let flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC
        // A backlog of 0 tells libevent that the socket listens already.
        let listener = evconnlistener_new(loop.base, nil, nil, flags, 0, socket.descriptor)
        precondition(listener != nil, "evconnlistener_new: out of memory")
        self.listener = listener!
        // Unretained: `deinit` frees the listener before this object goes.
        let context = Unmanaged.passUnretained(self).toOpaque()
        evconnlistener_set_cb(
            self.listener,
            { _, descriptor, address, _, context in
                Unmanaged<Listener>.fromOpaque(context!).takeUnretainedValue().accept(descriptor, address!)
            }, context)
        evconnlistener_set_error_cb(self.listener) { _, context in
            Unmanaged<Listener>.fromOpaque(context!).takeUnretainedValue().fail(errno)
        }
        resumeTimer = Timer(on: loop) { [unowned self] in evconnlistener_enable(self.listener) }
    }

    deinit {
        evconnlistener_free(listener)
    }

    /// Accepts what the kernel has queued already: closing a listener resets the connections that wait in it.
    package func acceptQueued() {
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        var storage = sockaddr_storage()
        while true {
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            withUnsafeMutablePointer(to: &storage) { storage in
                storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    let descriptor = accept4(evconnlistener_get_fd(listener), address, &length, flags)
                    if descriptor >= 0 { accept(descriptor, address) } else { length = 0 }
                }
            }
            if length == 0 { return }
        }
    }

    private func accept(_ descriptor: Int32, _ address: UnsafeMutablePointer<sockaddr>) {
        onAccept(Socket(descriptor: descriptor), PeerAddress(address))
    }

    private func fail(_ code: Int32) {
        evconnlistener_disable(listener)
        resumeTimer?.start(after: Listener.pause)
        onError(SystemError(code, "accept"))
    }
}
