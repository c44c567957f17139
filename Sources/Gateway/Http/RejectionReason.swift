// The reasons by which refused handshakes are counted. Pure.

/// Why a handshake was refused.
enum RejectionReason: Int, CaseIterable, CustomStringConvertible {
    case invalidHandshake, missingToken, missingRoom, invalidParameters, originNotAllowed, tokenError,
        roomNotAllowed
    case upgradeFailed, roomRefused, publishRefused, tooManyConnections, tooManyOfAddress, tooManyHandshakes,
        draining,
        abandoned

    var description: String {
        switch self {
        case .invalidHandshake: "invalid_handshake"
        case .missingToken: "missing_token"
        case .missingRoom: "missing_room"
        case .invalidParameters: "invalid_parameters"
        case .originNotAllowed: "origin_not_allowed"
        case .tokenError: "token_error"
        case .roomNotAllowed: "room_not_allowed"
        case .upgradeFailed: "upgrade_failed"
        case .roomRefused: "room_refused"
        case .publishRefused: "publish_refused"
        case .tooManyConnections: "too_many_connections"
        case .tooManyOfAddress: "too_many_of_address"
        case .tooManyHandshakes: "too_many_handshakes"
        case .draining: "draining"
        case .abandoned: "abandoned"
        }
    }
}

extension RejectionReason {
    static let twoOrigins = "there is more than one Origin"

    /// What a refused handshake's answer says beside its body, where the reason says it all.
    var detail: String {
        switch self {
        case .invalidHandshake: "the handshake is malformed"
        case .missingToken: "neither a parameter token nor, for a WebSocket, a subprotocol token.<token>"
        case .missingRoom: "parameter roomIds names no room"
        case .invalidParameters: "a parameter is malformed"
        case .originNotAllowed: "the page's origin is not in --allowed-origins"
        case .tokenError: "the token is unknown or has expired"
        case .roomNotAllowed: "the token was issued for other rooms"
        case .upgradeFailed: "Redis did not answer in time"
        case .roomRefused: "Redis refuses the room"
        case .publishRefused: "Redis refuses PUBLISH, and the token's other connection cannot be told"
        case .tooManyConnections: "the node is full"
        case .tooManyOfAddress: "this address has too many connections"
        case .tooManyHandshakes: "too many handshakes in this second"
        case .draining: "the node is going away"
        case .abandoned: "the client has gone"
        }
    }
}
