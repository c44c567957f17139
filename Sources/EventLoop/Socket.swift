// System calls on sockets, with EINTR and EAGAIN handled here and nowhere else. Any thread.

import Glibc

/// A stream socket's descriptor. A plain value: the owner closes it, once.
public struct Socket: Equatable, Sendable {
    package let descriptor: Int32

    package init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// How a non-blocking transfer went.
    package enum Transfer: Equatable {
        /// This many bytes were moved, at least one.
        case bytes(Int)
        /// Nothing can be moved now: wait until the socket is ready.
        case wouldBlock
        /// The peer has ended its side (reading only).
        case endOfStream
        /// The connection is gone; the `errno` says how.
        case failed(Int32)
    }

    /// Reads what is there into `buffer`.
    package func read(into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .endOfStream }
            if errno != EINTR { return Socket.failure(errno) }
        }
    }

    /// Whether the peer has sent something that is not read yet.
    package var hasUnreadBytes: Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) > 0
    }

    /// Writes as much of `bytes` as the kernel takes.
    package func write(_ bytes: UnsafeRawBufferPointer) -> Transfer {
        while true {
            let count = send(descriptor, bytes.baseAddress, bytes.count, Socket.sendFlags)
            if count >= 0 { return .bytes(count) }
            if errno != EINTR { return Socket.failure(errno) }
        }
    }

    /// Writes as much of `vectors` (at most IOV_MAX, 1024) as the kernel takes.
    package func write(vectors: UnsafeMutableBufferPointer<iovec>) -> Transfer {
        var message = msghdr()
        message.msg_iov = vectors.baseAddress
        message.msg_iovlen = vectors.count
        while true {
            let count = sendmsg(descriptor, &message, Socket.sendFlags)
            if count >= 0 { return .bytes(count) }
            if errno != EINTR { return Socket.failure(errno) }
        }
    }

    /// The address of this end of a connection over TCP, in numbers; nil for another kind of socket.
    package var localHost: String? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // NI_MAXHOST.
        var host = [CChar](repeating: 0, count: 1025)
        let status = withUnsafeMutableBytes(of: &storage) { bytes in
            let address = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
            guard getsockname(descriptor, address, &length) == 0, address.pointee.sa_family != AF_UNIX else {
                return Int32(-1)
            }
            return getnameinfo(address, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST)
        }
        guard status == 0 else { return nil }
        return String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Shows the peer that nothing more will be written; reading continues.
    package func shutdownWriting() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Makes the kernel's send buffer larger by `bytes`, as far as net.core.wmem_max allows: room for a last
    /// word to a peer that has filled it. A buffer that the kernel has let grow beyond that by itself
    /// becomes smaller.
    package func enlargeSendBuffer(byBytes bytes: Int) {
        var size: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 else { return }
        // What is read is twice what was set (socket(7)).
        size = size / 2 + Int32(clamping: bytes)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, length)
    }

    /// Closes the descriptor. Linux has closed it even when close() reports EINTR, so there is nothing to
    /// retry.
    package func close() {
        Glibc.close(descriptor)
    }

    private static let sendFlags = Int32(MSG_NOSIGNAL)

    /// The outcome of a send in the kernel's form: a count of bytes, or a negative `errno`.
    static func transfer(result: Int32) -> Transfer {
        result > 0 ? .bytes(Int(result)) : result == 0 ? .wouldBlock : failure(-result)
    }

    private static func failure(_ code: Int32) -> Transfer {
        code == EAGAIN || code == EWOULDBLOCK ? .wouldBlock : .failed(code)
    }
}
