// The reasons for which connections end: close codes, texts, metric labels. Pure.

import WebSocket

/// How a WebSocket connection ended: by which Close code of ours, by the peer's Close, or without one.
enum CloseReason: Int, CaseIterable, CustomStringConvertible {
    case goingAway, protocolError, invalidPayload, tooManyControlFrames, messageTooBig, slowConsumer
    case heartbeatTimeout, replaced, revoked, closedByPeer, lost

    /// The code of the Close frame that we send first; nil where the peer was first, or gone.
    var code: CloseCode? {
        switch self {
        case .goingAway: .goingAway
        case .protocolError: .protocolError
        case .invalidPayload: .invalidPayload
        case .tooManyControlFrames: .policyViolation
        case .messageTooBig: .messageTooBig
        case .slowConsumer: .tryAgainLater
        case .heartbeatTimeout: .heartbeatTimeout
        case .replaced: .replaced
        case .revoked: .tokenRevoked
        case .closedByPeer, .lost: nil
        }
    }

    /// What the Close frame says besides the code.
    var text: String {
        switch self {
        case .goingAway: "going away"
        case .protocolError: "protocol error"
        case .invalidPayload: "text is not UTF-8"
        case .tooManyControlFrames: "too many control frames or compressed messages"
        case .messageTooBig: "message too big"
        case .slowConsumer: "slow consumer"
        case .heartbeatTimeout: "no heartbeat"
        case .replaced: "replaced by a newer connection"
        case .revoked: "token revoked"
        case .closedByPeer, .lost: ""
        }
    }

    /// The reason for a decoder's failure code.
    init(failure code: CloseCode) {
        switch code {
        case .invalidPayload: self = .invalidPayload
        case .messageTooBig: self = .messageTooBig
        default: self = .protocolError
        }
    }

    /// The label in the metrics: the code, or what stands for it.
    var description: String {
        if let code { return String(code.rawValue) }
        return self == .closedByPeer ? "peer" : "lost"
    }
}
