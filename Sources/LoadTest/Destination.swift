// A server's address, and non-blocking connections to it. Any thread.

import EventLoop
import Glibc
import Network

/// An address that was resolved once.
struct Destination {
    /// As it stands in the Host field.
    let host: String
    private let address: sockaddr_storage
    private let length: socklen_t
    private let isLoopback: Bool

    /// Ephemeral ports run out at 28,232 for one pair of addresses (net.ipv4.ip_local_port_range), less
    /// those that wait after a close; on loopback every address of 127/8 is ours to connect from.
    private static let connectionsPerSource = 20_000
    /// The first source is 127.0.0.2: 127.0.0.1 stays free for everything else.
    private static let firstSource: UInt32 = 0x7F00_0002
    /// linux/in.h: bind() leaves the port to connect(), which then picks one that is free for this pair.
    private static let bindAddressNoPort: Int32 = 24

    /// Resolves a name or reads an address; blocks.
    ///
    /// - Throws: when there is no such host.
    init(_ endpoint: Endpoint) throws(SystemError) {
        host = endpoint.description
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(endpoint.host, String(endpoint.port), &hints, &list)
        guard result == 0, let found = list?.pointee else {
            throw SystemError(EINVAL, "resolve \(endpoint): \(String(cString: gai_strerror(result)))")
        }
        defer { freeaddrinfo(list) }
        var storage = sockaddr_storage()
        withUnsafeMutableBytes(of: &storage) {
            $0.copyMemory(from: UnsafeRawBufferPointer(start: found.ai_addr, count: Int(found.ai_addrlen)))
        }
        address = storage
        length = found.ai_addrlen
        isLoopback = found.ai_family == AF_INET && withUnsafeBytes(of: storage) { $0[4] == 127 }
    }

    /// Begins to connect; the socket becomes writable when it has, or has failed.
    ///
    /// - Parameter number: the connection's number among those to this address; on loopback it chooses the
    ///   source. nil leaves it to the kernel.
    /// - Throws: when no descriptor, no port or no route is left.
    func dial(number: Int?) throws(SystemError) -> Socket {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(Int32(address.ss_family), type, 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket") }
        let socket = Socket(descriptor: descriptor)
        if isLoopback, let number, !bindSource(descriptor, number / Destination.connectionsPerSource) {
            let code = errno
            socket.close()
            throw SystemError(code, "bind")
        }
        let result = withUnsafeBytes(of: address) {
            connect(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), length)
        }
        if result != 0 && errno != EINPROGRESS {
            let code = errno
            socket.close()
            throw SystemError(code, "connect")
        }
        return socket
    }

    /// How a connection attempt ended: 0, or the errno.
    static func connectError(_ socket: Socket) -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return errno }
        return code
    }

    private func bindSource(_ descriptor: Int32, _ sourceIndex: Int) -> Bool {
        var on: Int32 = 1
        setsockopt(
            descriptor, Int32(IPPROTO_IP), Destination.bindAddressNoPort, &on,
            socklen_t(MemoryLayout<Int32>.size))
        var source = sockaddr_in()
        source.sin_family = sa_family_t(AF_INET)
        source.sin_addr.s_addr = (Destination.firstSource + UInt32(sourceIndex)).bigEndian
        return withUnsafePointer(to: &source) { source in
            source.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
