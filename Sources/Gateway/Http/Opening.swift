// How a connection that gets notices begins: what it speaks, and the head of the answer to its request. Pure.

import HTTP
import WebSocket

/// What a request for notices asks for, once it has the form of one.
enum Opening {
    case webSocket(WebSocketHandshake)
    /// With the token of its `Authorization: Bearer`, and the fields of every answer to the request.
    case events(token: String?, fields: [HttpResponseField])

    /// What the answer to an event stream says; its body ends with the connection.
    static let eventFields = [
        HttpResponseField("Content-Type", "text/event-stream"), Answer.noStore,
        // nginx passes on at once what comes.
        HttpResponseField("X-Accel-Buffering", "no"),
    ]

    var encoding: Encoding {
        switch self {
        case .webSocket(let handshake):
            handshake.compression == nil ? .webSocketText : .webSocketDeflated
        case .events: .event
        }
    }

    /// The class of the connection's member.
    var memberType: Member.Type {
        switch self {
        case .webSocket: WebSocketClient.self
        case .events: EventStreamClient.self
        }
    }

    /// The token, maybe empty, if it comes beside the query.
    var offeredToken: Substring? {
        switch self {
        case .webSocket(let handshake): Subprotocol.token(in: handshake.offeredSubprotocols)
        case .events(let token, _): token.map { $0[...] }
        }
    }

    /// The answer to a request that is granted.
    ///
    /// - Parameter date: the line of a Date field.
    func response(date: [UInt8]) -> [UInt8] {
        var response: [UInt8] = []
        response.reserveCapacity(512)
        switch self {
        case .webSocket(let handshake):
            handshake.appendResponse(
                subprotocol: Subprotocol.selected(of: handshake.offeredSubprotocols), to: &response)
        case .events(_, let fields):
            HttpResponse.append(
                .ok, fields: Opening.eventFields + fields, body: "", isEndless: true, connection: .close,
                date: date, to: &response)
            response += EventBlock.opening
        }
        return response
    }
}
