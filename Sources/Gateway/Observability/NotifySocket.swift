// Reports states to the service manager by the protocol of sd_notify(3): a datagram of assignments to the
// socket that the environment names. Runs on the control loop, a few times in a node's life.

import EventLoop
import Glibc

/// The socket on which a service manager listens for states.
struct NotifySocket {
    /// systemd names the socket in this variable, unless the unit does not ask for states.
    static let variable = "NOTIFY_SOCKET"

    private let address: sockaddr_un
    private let length: socklen_t

    /// - Parameter value: an absolute path, or `@` and a name in the abstract namespace (unix(7)).
    /// - Throws: when it is neither, or longer than a Unix address can be.
    init(_ value: String) throws(SystemError) {
        let call = "\(NotifySocket.variable) \(value)"
        guard value.hasPrefix("/") || value.hasPrefix("@"), value.utf8.count > 1 else {
            throw SystemError(EAFNOSUPPORT, call)
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(value.utf8)
        // An abstract name begins with a zero byte and ends where the address does, a path ends with a zero
        // byte.
        if name[0] == UInt8(ascii: "@") { name[0] = 0 } else { name.append(0) }
        guard name.count <= MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError(ENAMETOOLONG, call)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        self.address = address
        length = socklen_t(MemoryLayout.size(ofValue: address.sun_family) + name.count)
    }

    /// Sends one datagram, unless the manager's queue is full.
    ///
    /// - Parameter assignments: such as `READY=1`; none contains a line feed.
    /// - Returns: false when the queue is full: to be sent again later.
    /// - Throws: when the socket is gone.
    func send(_ assignments: [String]) throws(SystemError) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket") }
        defer { close(descriptor) }
        let text = Array(assignments.joined(separator: "\n").utf8)
        var address = address
        let length = length
        var sent = -1
        repeat {
            sent = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, text, text.count, NotifySocket.flags, $0, length)
                }
            }
        } while sent < 0 && errno == EINTR
        if sent < 0, errno == EAGAIN { return false }
        guard sent >= 0 else { throw SystemError(errno, "sendto \(NotifySocket.variable)") }
        return true
    }

    private static let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
}
