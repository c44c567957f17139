// Listening sockets: made before the threads start, served by one loop each.

import CLibevent
import Glibc

/// A bound, listening TCP socket that no loop serves yet.
package struct ListeningSocket: Sendable, CustomStringConvertible {
    package let descriptor: Int32
    /// The address it is bound to, never a name, with the port that the kernel chose when 0 was asked for.
    package let host: String
    package let port: UInt16

    /// The kernel caps this at net.core.somaxconn (4096 by default); a storm of reconnections needs all of
    /// it.
    private static let backlog: Int32 = 4096

    /// Whether other sockets may listen on the same address, over which the kernel then spreads connections.
    package enum Sharing {
        case exclusive
        /// The first of several: fails if a socket listens on the address already, even one of our own
        /// process.
        case first
        /// One more beside the first.
        case further
    }

    /// Binds and listens: on all addresses, IPv6 and IPv4, if no host is given; of a name on the first of
    /// its addresses that this machine has.
    ///
    /// - Parameters:
    ///   - host: an IPv4 or IPv6 address, a name that resolves to some (blocks while it is resolved), or
    ///     empty.
    ///   - options: what the sockets accepted here inherit.
    /// - Throws: the failing call with the address in its name.
    package init(
        host: String, port: UInt16, sharing: Sharing,
        options: AcceptedSocketOptions = AcceptedSocketOptions()
    ) throws(SystemError) {
        // An IPv6 socket takes IPv4, too; a kernel without IPv6 has IPv4 alone.
        let hosts = host.isEmpty ? ["::", "0.0.0.0"] : [host]
        try self.init(firstOf: hosts, port: port, sharing: sharing, options: options)
    }

    /// As above, on the first of several hosts that works.
    init(
        firstOf hosts: [String], port: UInt16, sharing: Sharing, options: AcceptedSocketOptions
    ) throws(SystemError) {
        var failure: SystemError?
        for host in hosts {
            let list = try ListeningSocket.addresses(of: host, port: port)
            defer { freeaddrinfo(list) }
            for address in sequence(first: list, next: { $0.pointee.ai_next }) {
                let name = ListeningSocket.numericHost(address.pointee)
                do throws(SystemError) {
                    descriptor = try ListeningSocket.listening(
                        on: address.pointee, "\(ListeningSocket.text(name, port))", sharing, options)
                    self.host = name
                    self.port = ListeningSocket.boundPort(of: descriptor)
                    return
                } catch {
                    // The first of several says most: the others are only tried because of it.
                    failure = failure ?? error
                    guard ListeningSocket.isForeign(error) else { throw error }
                }
            }
        }
        throw failure ?? SystemError(EADDRNOTAVAIL, "listen")
    }

    /// Whether an address belongs to another machine, or to a family that this one does not support. An
    /// address in use must not be skipped: a second gateway on `localhost` would start beside the first, on
    /// an address that no one expects.
    private static func isForeign(_ error: SystemError) -> Bool {
        [EADDRNOTAVAIL, EAFNOSUPPORT, EPROTONOSUPPORT, ENODEV].contains(error.code)
    }

    private static func addresses(of host: String, port: UInt16) throws(SystemError) -> UnsafeMutablePointer<
        addrinfo
    > {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, String(port), &hints, &list)
        guard result == 0, let list else {
            throw SystemError(
                EINVAL, "resolve \(text(host, port)): \(String(cString: gai_strerror(result)))")
        }
        return list
    }

    /// A socket that listens on one address.
    private static func listening(
        on address: addrinfo, _ name: String, _ sharing: Sharing, _ options: AcceptedSocketOptions
    ) throws(SystemError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.ai_family, type, 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket \(name)") }
        do throws(SystemError) {
            try set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            // Whatever net.ipv6.bindv6only says: `::` is all addresses, as its readers expect.
            if address.ai_family == AF_INET6 { try set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
            if sharing == .further { try set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            for option in options.values { try set(descriptor, option.level, option.name, option.value) }
            guard bind(descriptor, address.ai_addr, address.ai_addrlen) == 0 else {
                throw SystemError(errno, "bind \(name)")
            }
            // Set between bind and listen it admits others without having been admitted itself.
            if sharing == .first { try set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            guard listen(descriptor, backlog) == 0 else { throw SystemError(errno, "listen \(name)") }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func numericHost(_ address: addrinfo) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(NI_MAXHOST)) { buffer in
            let result = getnameinfo(
                address.ai_addr, address.ai_addrlen, buffer.baseAddress, socklen_t(buffer.count), nil, 0,
                NI_NUMERICHOST)
            precondition(result == 0, "an address of getaddrinfo has a numeric form")
            return String(cString: buffer.baseAddress!)
        }
    }

    private static func text(_ host: String, _ port: UInt16) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// `host:port`, an IPv6 address in brackets.
    package var description: String { ListeningSocket.text(host, port) }

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

/// The other end of an accepted connection: an IPv6 address, or an IPv4 address mapped into one
/// (::ffff:a.b.c.d), as two big-endian halves.
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
            low =
                0xffff_0000_0000
                | UInt64(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        }
    }
}

/// Serves a listening socket on a loop: accepts and hands over. Loop-confined.
package final class Listener: SocketWatcher {
    /// The connections that one turn accepts: a storm waits in the kernel, and connected clients do not wait
    /// for it.
    package static let maximumAcceptCount = 64

    /// How long accepting pauses if the process or the system is out of descriptors or memory, or its owner
    /// out of room: long enough not to spin (a full backlog keeps the socket ready), short enough that no
    /// client waits long for a free slot.
    private static let pause = Duration.milliseconds(100)

    /// The result of one call of accept.
    enum Outcome {
        case accepted(Socket, PeerAddress)
        case nothingQueued
        /// Interrupted, or of a connection that has gone again or whose network is in trouble: the next call
        /// may succeed.
        case lost
        case failed(SystemError)
    }

    private let onAccept: (Socket, PeerAddress) -> Void
    private let onError: (SystemError) -> Void
    private let room: () -> Int
    private var timer: Timer?
    /// Set while the listener is closing: until when what is queued is waited for, and what runs then.
    private var closing: (deadline: MonotonicInstant, onClosed: () -> Void)?
    /// The system call; a test may replace it to inject errors.
    var acceptNext: (Socket) -> Outcome = Listener.accept

    /// Takes over `socket` and closes it in the end.
    ///
    /// - Parameter room: how many connections its owner has room for. Asked when at least one waits, or may
    ///   wait; with 0 those that wait stay in the kernel's queue until `resume`, or until it is asked again.
    package init(
        _ socket: ListeningSocket, on loop: EventLoop, onError: @escaping (SystemError) -> Void,
        room: @escaping () -> Int = { Listener.maximumAcceptCount },
        onAccept: @escaping (Socket, PeerAddress) -> Void
    ) {
        self.onAccept = onAccept
        self.onError = onError
        self.room = room
        super.init(socket: Socket(descriptor: socket.descriptor), loop: loop)
        timer = Timer(on: loop) { [unowned self] in self.goOn() }
    }

    deinit {
        close()
    }

    /// Accepts what the kernel has queued already, then closes: to close at once would reset the connections
    /// that wait in the queue.
    ///
    /// - Parameters:
    ///   - patience: how long they may wait for descriptors where there are none.
    ///   - onClosed: runs once, perhaps before this returns; the listener may go then.
    package func closeWhenEmpty(patience: Duration, onClosed: @escaping () -> Void) {
        loop.assertOnThread()
        closing = (.now + patience, onClosed)
        // An empty queue is not reported: from here on a timer asks.
        watchReadability(false)
        acceptQueued()
    }

    package override func socketIsReadable() { acceptQueued() }

    /// There may be room again.
    package func resume() {
        loop.assertOnThread()
        guard isWatching, closing == nil else { return }
        timer?.cancel()
        watchReadability(true)
    }

    /// Accepts a turn's share.
    private func acceptQueued() {
        let count = min(room(), Listener.maximumAcceptCount)
        guard count > 0 else { return pause() }
        for _ in 0..<count where isWatching {
            switch acceptNext(socket) {
            case .accepted(let socket, let peer): onAccept(socket, peer)
            case .lost: break
            case .nothingQueued: return finishClosing()
            case .failed(let error): return fail(error)
            }
        }
        if closing != nil { tryAgain(after: .zero) }
    }

    /// Out of descriptors or memory: the queued connections wait until there are some.
    private func fail(_ error: SystemError) {
        pause()
        onError(error)
    }

    private func pause() {
        watchReadability(false)
        tryAgain(after: Listener.pause)
    }

    private func tryAgain(after pause: Duration) {
        guard isWatching else { return }
        if let closing, MonotonicInstant.now >= closing.deadline { return finishClosing() }
        timer?.start(after: pause)
    }

    private func goOn() {
        guard isWatching else { return }
        if closing == nil { watchReadability(true) } else { acceptQueued() }
    }

    private func finishClosing() {
        guard let closing else { return }
        self.closing = nil
        close()
        closing.onClosed()
    }

    private func close() {
        guard isWatching else { return }
        stopWatching()
        socket.close()
    }

    private static func accept(_ listening: Socket) -> Outcome {
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        var storage = sockaddr_storage()
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let descriptor = accept4(listening.descriptor, address, &length, flags)
                guard descriptor >= 0 else {
                    let code = errno
                    // The kernel wants a descriptor before it looks into its queue.
                    if code == EMFILE || code == ENFILE, !isQueued(listening) { return .nothingQueued }
                    return outcome(ofError: code)
                }
                return .accepted(Socket(descriptor: descriptor), PeerAddress(address))
            }
        }
    }

    /// Whether a connection waits to be accepted.
    private static func isQueued(_ listening: Socket) -> Bool {
        var entry = pollfd(fd: listening.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) != 0
    }

    /// Linux reports errors of the connection itself by accept(2), whose page names them.
    static func outcome(ofError code: Int32) -> Outcome {
        switch code {
        case EAGAIN: .nothingQueued
        case EINTR, ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP,
            ENETUNREACH, EPERM:
            .lost
        default: .failed(SystemError(code, "accept"))
        }
    }
}
