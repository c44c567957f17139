// The limits of a whole node, over all its workers. Any thread.

import EventLoop
import Network
import Synchronization

/// Counts by client address, and the rate of handshakes.
///
/// The kernel spreads the connections of one address over the workers as it likes, so a share for each
/// worker would refuse clients that are within the limit. Workers therefore ask one place, as they do for
/// the number of connections (`NodeState`). A lock is held for one look into a table, once for a handshake
/// or a token and never for a message; a limit that is not set takes no lock.
final class Admission: Sendable {
    /// The decision about a handshake.
    enum Verdict: Equatable {
        case admitted
        /// The address has as many connections as it may have.
        case tooManyOfAddress
        /// The node has taken as many handshakes as it may take in a second.
        case tooManyHandshakes(retryAfterSeconds: Int)
    }

    private let maximumPerAddress: Int?
    private let handshakeLimit: RateLimit?
    private let tokenLimit: RateLimit?
    private let connections = Mutex(AddressCounts())
    private let handshakes = Mutex(NodeRate())
    private let tokens = Mutex(AddressRates())
    private let nodeTokenLimit: RateLimit?
    private let nodeTokens = Mutex(NodeRate())

    init(_ configuration: Configuration) {
        maximumPerAddress = configuration.maximumConnectionsPerAddress
        handshakeLimit = configuration.handshakeRate.map(RateLimit.init)
        tokenLimit = configuration.tokenRatePerAddress.map(RateLimit.init)
        nodeTokenLimit = configuration.tokenRate.map(RateLimit.init)
    }

    /// Decides about a handshake; release an admitted one when its connection, or the attempt, is over.
    func admit(_ address: IPAddress, now: MonotonicInstant = .now) -> Verdict {
        if let maximumPerAddress,
            !connections.withLock({ $0.admit(address.subscriber, maximum: maximumPerAddress) })
        {
            return .tooManyOfAddress
        }
        guard let handshakeLimit, let seconds = handshakes.withLock({ $0.take(handshakeLimit, now: now) })
        else {
            return .admitted
        }
        release(address)
        return .tooManyHandshakes(retryAfterSeconds: seconds)
    }

    /// Gives an admitted connection's place back.
    func release(_ address: IPAddress) {
        guard maximumPerAddress != nil else { return }
        connections.withLock { $0.release(address.subscriber) }
    }

    /// Whether the address may get a token now.
    func mayHaveToken(_ address: IPAddress, now: MonotonicInstant = .now) -> Bool {
        guard let tokenLimit else { return true }
        return tokens.withLock { $0.take(address.subscriber, tokenLimit, now: now) }
    }

    /// Takes one out of the tokens that the node may issue.
    ///
    /// - Returns: nil, or the whole seconds after which to come back.
    func takeToken(now: MonotonicInstant = .now) -> Int? {
        guard let nodeTokenLimit else { return nil }
        return nodeTokens.withLock { $0.take(nodeTokenLimit, now: now) }
    }
}
