// The ways in which notices reach clients. Pure.

/// What the connection of a client speaks.
enum Transport: Int, CaseIterable, CustomStringConvertible {
    case webSocket, events

    /// The label in the metrics.
    var description: String {
        switch self {
        case .webSocket: "websocket"
        case .events: "events"
        }
    }
}

extension Encoding {
    /// The transport of the connections that use the encoding.
    var transport: Transport {
        switch self {
        case .webSocketText, .webSocketDeflated: .webSocket
        case .event: .events
        }
    }

    /// Whether its connections learn where they resume from the transport itself.
    var carriesPositions: Bool { self == .event }
}
