// The client's side of the opening handshake (RFC 6455 section 4.1): load tests and tests of the gateway.
// An immutable value, any thread.

import Bytes
import HTTP

/// Why a response does not open the connection.
package enum ClientHandshakeError: Error, Equatable, Sendable {
    /// The server did not answer 101; its status code.
    case refused(statusCode: Int)
    /// A 101 without the right `Upgrade`, `Connection` or `Sec-WebSocket-Accept`, or with an extension or
    /// subprotocol that the client did not ask for.
    case malformed
}

/// One client's attempt: the request it sends, and the check of what comes back.
package struct ClientHandshake: Sendable {
    /// How many random bytes a key is made from.
    package static let nonceBytes = 16

    private let key: String
    private let acceptValue: String?
    private let offersCompression: Bool

    /// - Parameters:
    ///   - nonce: 16 random bytes, fresh for each connection.
    ///   - offersCompression: Whether the server may compress its messages, each for itself.
    package init(nonce: UnsafeRawBufferPointer, offersCompression: Bool = false) {
        self.offersCompression = offersCompression
        precondition(nonce.count == ClientHandshake.nonceBytes, "a key is made from 16 bytes")
        var key = Base64.encode(nonce)
        acceptValue = key.withUTF8 { WebSocketHandshake.acceptValue(forKey: UnsafeRawBufferPointer($0)) }
        self.key = key
    }

    /// Appends the GET request.
    /// - Parameters:
    ///   - target: Path and query, percent-encoded: visible ASCII.
    ///   - host: Host and, unless it is the scheme's own, port.
    package func appendRequest(
        target: String, host: String, fields: [HttpResponseField] = [], to output: inout [UInt8]
    ) {
        precondition(target.utf8.first == UInt8(ascii: "/"), "a target begins with a slash")
        precondition(target.utf8.allSatisfy(Ascii.isVisible), "a target is percent-encoded")
        output.append("GET ")
        output.append(contentsOf: target.utf8)
        output.append(" HTTP/1.1\r\n")
        HttpResponse.append(HttpResponseField("Host", host), to: &output)
        output.append("Upgrade: websocket\r\nConnection: Upgrade\r\n")
        HttpResponse.append(HttpResponseField("Sec-WebSocket-Key", key), to: &output)
        HttpResponse.append(
            HttpResponseField("Sec-WebSocket-Version", WebSocketHandshake.version), to: &output)
        if offersCompression {
            HttpResponse.append(
                HttpResponseField("Sec-WebSocket-Extensions", PermessageDeflate.offer), to: &output)
        }
        for field in fields { HttpResponse.append(field, to: &output) }
        output.append("\r\n")
    }

    /// Checks the server's answer; on return frames follow the head.
    /// - Returns: Whether the server has accepted compression.
    @discardableResult
    package func verify(_ head: HttpResponseHead) throws(ClientHandshakeError) -> Bool {
        guard head.statusCode == HttpStatus.switchingProtocols.rawValue else {
            throw .refused(statusCode: head.statusCode)
        }
        let fields = head.fields
        guard fields.list("Upgrade", contains: "websocket"), fields.list("Connection", contains: "upgrade"),
            fields.values(of: "Sec-WebSocket-Accept") == [acceptValue],
            fields.count(of: "Sec-WebSocket-Protocol") == 0
        else { throw .malformed }
        let accepted = PermessageDeflate.isAccepted(fields)
        guard accepted == nil || accepted == true && offersCompression else { throw .malformed }
        return accepted ?? false
    }
}
