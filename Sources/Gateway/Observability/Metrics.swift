// What a node counts. Each part is written by one thread and summed when it is read.

import WebSocket

/// Why a handshake was refused.
enum RejectionReason: Int, CaseIterable, CustomStringConvertible {
    case invalidHandshake, missingToken, missingRoom, invalidParameters, originNotAllowed, tokenError
    case upgradeFailed, tooManyConnections, draining, abandoned

    var description: String {
        switch self {
        case .invalidHandshake: "invalid_handshake"
        case .missingToken: "missing_token"
        case .missingRoom: "missing_room"
        case .invalidParameters: "invalid_parameters"
        case .originNotAllowed: "origin_not_allowed"
        case .tokenError: "token_error"
        case .upgradeFailed: "upgrade_failed"
        case .tooManyConnections: "too_many_connections"
        case .draining: "draining"
        case .abandoned: "abandoned"
        }
    }
}

/// Why a published payload reached nobody.
enum HeldBackReason: Int, CaseIterable, CustomStringConvertible {
    case notUtf8, notJson, tooLarge

    /// nil when nothing speaks against the payload.
    init?(_ payload: UnsafeRawBufferPointer, maximumBytes: Int) {
        guard payload.count <= maximumBytes else {
            self = .tooLarge
            return
        }
        switch PayloadCheck(payload) {
        case .valid: return nil
        case .notUtf8: self = .notUtf8
        case .notJson: self = .notJson
        }
    }

    var description: String {
        switch self {
        case .notUtf8: "not_utf8"
        case .notJson: "not_json"
        case .tooLarge: "too_large"
        }
    }
}

/// How a WebSocket connection ended: by which Close code of ours, by the peer's Close, or without one.
enum CloseReason: Int, CaseIterable, CustomStringConvertible {
    case goingAway, protocolError, invalidPayload, messageTooBig, slowConsumer
    case heartbeatTimeout, replaced, revoked, closedByPeer, lost

    /// The code of the Close frame that we send first; nil where the peer was first, or gone.
    var code: CloseCode? {
        switch self {
        case .goingAway: .goingAway
        case .protocolError: .protocolError
        case .invalidPayload: .invalidPayload
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

/// Written by one worker.
final class WorkerMetrics: Sendable {
    let httpConnections = Counter()
    let clients = Counter()
    let rooms = Counter()
    let framesDelivered = Counter()
    let bytesWritten = Counter()
    let writes = Counter()
    let queueBytes = Counter()
    let tokensIssued = Counter()
    let heartbeats = Counter()
    let heartbeatsRefused = Counter()
    let handshakes = Counter()
    let requestsUnavailable = Counter()
    let redisReconnects = Counter()
    let rejected = RejectionReason.allCases.map { _ in Counter() }
    let closed = CloseReason.allCases.map { _ in Counter() }
    let publishToFlush = Histogram()

    func reject(_ reason: RejectionReason) {
        rejected[reason.rawValue].add(1)
    }

    func close(_ reason: CloseReason) {
        closed[reason.rawValue].add(1)
    }
}

/// Written by the subscriber.
final class SubscriberMetrics: Sendable {
    let messagesReceived = Counter()
    let bytesReceived = Counter()
    let messagesShed = Counter()
    let rooms = Counter()
    let reconnects = Counter()
    let heldBack = HeldBackReason.allCases.map { _ in Counter() }
}

/// Everything that a node counts.
struct Metrics: Sendable {
    let workers: [WorkerMetrics]
    let subscriber = SubscriberMetrics()

    init(workerCount: Int) {
        workers = (0..<workerCount).map { _ in WorkerMetrics() }
    }

    /// A worker's number, summed over the workers.
    func total(_ counter: (WorkerMetrics) -> Counter) -> UInt64 {
        workers.reduce(0) { $0 + counter($1).value }
    }
}
