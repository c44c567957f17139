// How much a peer that stops reading or falls silent may cost the kernel. Pure value, any thread.

import Glibc
import System

/// Options of a listening socket that the sockets accepted there inherit, at no system call for each of
/// them.
package struct AcceptedSocketOptions: Equatable, Sendable {
    /// Bytes that the kernel keeps for a peer (it doubles the number for its own bookkeeping, and caps it at
    /// net.core.wmem_max); nil lets it grow up to net.ipv4.tcp_wmem, 4 MB by default.
    let sendBufferBytes: Int?
    /// How long sent bytes may stay unacknowledged, or unsent because of a closed window; zero is the
    /// kernel's default, a quarter of an hour.
    let userTimeout: Duration
    /// How long a peer may be silent before the kernel probes it, in whole seconds.
    let keepAliveTime: Duration

    /// A probe that is lost costs a quarter of the time, and three of them the connection; with a user
    /// timeout that time decides instead of the count (tcp(7)).
    private static let probesPerKeepAliveTime = 4
    private static let probeCount: Int32 = 3

    /// - Parameters:
    ///   - sendBufferBytes: nil for the kernel's default.
    ///   - userTimeout: to the millisecond; zero for the kernel's own.
    ///   - keepAliveTime: 1 s to 9 hours, the kernel's own limit.
    package init(
        sendBufferBytes: Int? = nil, userTimeout: Duration = .zero, keepAliveTime: Duration = .seconds(60)
    ) {
        self.sendBufferBytes = sendBufferBytes
        self.userTimeout = userTimeout
        self.keepAliveTime = keepAliveTime
    }

    /// Level, name and value of each option to set.
    var values: [(level: Int32, name: Int32, value: Int32)] {
        let tcp = Int32(IPPROTO_TCP)
        let idleSeconds = Int(clamping: keepAliveTime.components.seconds)
        let probeSeconds = max(1, idleSeconds / AcceptedSocketOptions.probesPerKeepAliveTime)
        var values: [(level: Int32, name: Int32, value: Int32)] = [
            // A frame is a whole message: never wait for more to fill a segment.
            (tcp, TCP_NODELAY, 1),
            // Finds a peer whose host has vanished although nothing is sent to it.
            (SOL_SOCKET, SO_KEEPALIVE, 1),
            (tcp, TCP_KEEPIDLE, Int32(clamping: idleSeconds)),
            (tcp, TCP_KEEPINTVL, Int32(clamping: probeSeconds)),
            (tcp, TCP_KEEPCNT, AcceptedSocketOptions.probeCount),
            (tcp, TCP_USER_TIMEOUT, Int32(clamping: userTimeout.wholeMilliseconds)),
        ]
        if let sendBufferBytes { values.append((SOL_SOCKET, SO_SNDBUF, Int32(clamping: sendBufferBytes))) }
        return values
    }
}
