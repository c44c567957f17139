// How a connection to Redis is secured: the values of the options --redis-ca and its like. Pure values, in
// every build; what carries them out is in builds with the trait TLS only.

import EventLoop

/// Whom to trust, and whom to be.
package struct TLSSettings: Sendable, Equatable {
    /// A PEM file of the authorities that the server's certificate may come from; nil is the system's.
    package let authorityPath: String?
    /// PEM files of the certificate and key that the server is shown, if it asks for one.
    package let certificatePath: String?
    package let keyPath: String?
    /// The name that the server's certificate must have; nil is the host by which the server is known.
    package let serverName: String?
    /// Whether the server's certificate is checked at all.
    package let isVerified: Bool

    package init(
        authorityPath: String? = nil, certificatePath: String? = nil, keyPath: String? = nil,
        serverName: String? = nil, isVerified: Bool = true
    ) {
        self.authorityPath = authorityPath
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.serverName = serverName
        self.isVerified = isVerified
    }
}

/// Why no connection can be secured: a file that cannot be read, or is not what it should be.
package struct TLSFailure: Error, Equatable, CustomStringConvertible {
    /// With the file's path; holds nothing that is in the file.
    package let description: String
}

/// With whom a connection is secured.
struct TLSPeer {
    /// What to look at when a server does not answer in TLS.
    static let portHint = "does the port speak TLS?"

    let context: TLSContext
    /// The name or address by which the server is known.
    let host: String

    /// What the server's certificate must be for. A name may end in the root's dot, an address in an interface.
    var certifiedHost: String {
        let known = context.settings.serverName ?? host
        return HostAddresses.isNumeric(known)
            ? String(known.prefix { $0 != "%" }) : known.hasSuffix(".") ? String(known.dropLast()) : known
    }
}

/// How a transfer went, secured or not.
enum TLSTransfer: Equatable {
    /// This many bytes were moved, at least one; for a handshake none, and it is complete.
    case bytes(Int)
    /// Nothing can be moved until something comes, or the socket takes more.
    case wouldBlock
    /// The peer has ended its side properly.
    case endOfStream
    /// The connection is of no use any more: why.
    case failed(String)
}

extension TLSTransfer {
    init(_ transfer: Socket.Transfer) {
        self =
            switch transfer {
            case .bytes(let count): .bytes(count)
            case .wouldBlock: .wouldBlock
            case .endOfStream: .endOfStream
            case .failed(let code): .failed(SystemError.message(of: code))
            }
    }
}
