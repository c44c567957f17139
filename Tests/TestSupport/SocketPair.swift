// Two connected sockets. Any thread.

import EventLoop
import Glibc

/// Two connected, non-blocking stream sockets; the caller closes them.
///
/// - Parameter bufferBytes: how much the first one takes before it is full; 0 is the system's default.
package func socketPair(bufferBytes: Int32 = 0) throws -> (Socket, Socket) {
    var descriptors: [Int32] = [0, 0]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &descriptors) == 0 else { throw SystemError(errno, "socketpair") }
    if bufferBytes > 0 {
        var size = bufferBytes
        setsockopt(descriptors[0], SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    return (Socket(descriptor: descriptors[0]), Socket(descriptor: descriptors[1]))
}
