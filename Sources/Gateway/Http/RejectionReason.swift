// The reasons by which refused handshakes are counted. Pure.

/// Why a handshake was refused.
enum RejectionReason: Int, CaseIterable, CustomStringConvertible {
    case invalidHandshake, missingToken, missingRoom, invalidParameters, originNotAllowed, tokenError, roomNotAllowed
    case upgradeFailed, roomRefused, tooManyConnections, tooManyOfAddress, tooManyHandshakes, draining, abandoned

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
        case .tooManyConnections: "too_many_connections"
        case .tooManyOfAddress: "too_many_of_address"
        case .tooManyHandshakes: "too_many_handshakes"
        case .draining: "draining"
        case .abandoned: "abandoned"
        }
    }
}
