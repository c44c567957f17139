// The server's side of the opening handshake (RFC 6455 section 4.2). An immutable value, any thread.

import Bytes
import HTTP

/// Which check of a handshake has failed, in their order; the answer is 400.
package enum HandshakeError: Error, Equatable, Sendable {
    case method, httpVersion, upgrade, connection
    /// A handshake of another protocol version: the answer names ours in `Sec-WebSocket-Version`.
    case unsupportedVersion
    case key
}

extension HandshakeError: CustomStringConvertible {
    /// One line of ASCII for the author of a client or the owner of a proxy.
    package var description: String {
        switch self {
        case .method: "the handshake is not a GET request"
        case .httpVersion:
            "the handshake came as HTTP/1.0: a proxy in front must speak HTTP/1.1 (nginx: proxy_http_version 1.1)"
        case .upgrade:
            "no Upgrade: websocket: not a handshake, or a proxy in front does not pass the field on "
                + "(nginx: proxy_set_header Upgrade $http_upgrade)"
        case .connection:
            "Connection does not list upgrade: a proxy in front does not pass it on "
                + "(nginx: proxy_set_header Connection upgrade)"
        case .unsupportedVersion: "Sec-WebSocket-Version is not 13, once"
        case .key: "Sec-WebSocket-Key is not 16 bytes in base64, once"
        }
    }
}

/// A checked request to switch to the WebSocket protocol.
///
/// Checked: GET, HTTP/1.1, `Upgrade` lists websocket and `Connection` lists upgrade (any case), version 13,
/// one key of 16 base64 bytes, in this order. Extensions that are not accepted are ignored, which is how a
/// server declines them.
package struct WebSocketHandshake: Sendable {
    /// The protocol version of RFC 6455, as it stands in `Sec-WebSocket-Version`.
    package static let version = "13"
    private static let versionText: StaticString = "13"
    private static let acceptSuffix: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    private static let keyBytes = 24

    /// The value of `Sec-WebSocket-Accept`.
    package let acceptValue: String
    /// What `Sec-WebSocket-Protocol` offers, in the client's order of preference.
    package let offeredSubprotocols: [String]
    /// Set if either end may compress its messages from now on.
    package let compression: PermessageDeflate?

    /// Checks `head`.
    /// - Parameter acceptsCompression: Whether an offer of compression is accepted.
    /// - Throws: `unsupportedVersion` if only the version, or what stands behind it in the order, is wrong.
    package init(_ head: HttpRequestHead, acceptsCompression: Bool = false) throws(HandshakeError) {
        let fields = head.fields
        guard head.method == .get else { throw .method }
        guard head.versionMinor >= 1 else { throw .httpVersion }
        guard fields.list("Upgrade", contains: "websocket") else { throw .upgrade }
        guard fields.list("Connection", contains: "upgrade") else { throw .connection }
        guard fields.count(of: "Sec-WebSocket-Version") == 1,
            fields.first("Sec-WebSocket-Version", { $0.equals(WebSocketHandshake.versionText.rawBytes) })
                == true
        else {
            throw .unsupportedVersion
        }
        guard fields.count(of: "Sec-WebSocket-Key") == 1,
            let accept = fields.first("Sec-WebSocket-Key", WebSocketHandshake.acceptValue(forKey:)),
            let accept
        else { throw .key }
        acceptValue = accept
        offeredSubprotocols = fields.items(of: "Sec-WebSocket-Protocol")
        compression = acceptsCompression ? PermessageDeflate(offersOf: fields) : nil
    }

    /// Appends the 101 response; frames follow it.
    /// - Parameters:
    ///   - subprotocol: One of `offeredSubprotocols`, or nil for none.
    ///   - fields: Further fields, if any.
    package func appendResponse(
        subprotocol: String? = nil, fields: [HttpResponseField] = [], to output: inout [UInt8]
    ) {
        HttpResponse.appendStatusLine(.switchingProtocols, to: &output)
        output.append("Upgrade: websocket\r\nConnection: Upgrade\r\n")
        HttpResponse.append(HttpResponseField("Sec-WebSocket-Accept", acceptValue), to: &output)
        if let subprotocol {
            precondition(
                offeredSubprotocols.contains(subprotocol), "the client did not offer this subprotocol")
            HttpResponse.append(HttpResponseField("Sec-WebSocket-Protocol", subprotocol), to: &output)
        }
        if let compression {
            HttpResponse.append(
                HttpResponseField("Sec-WebSocket-Extensions", compression.answer), to: &output)
        }
        for field in fields { HttpResponse.append(field, to: &output) }
        output.append("\r\n")
    }

    /// The accept value for a key: base64 of the SHA-1 of the key's text and a fixed suffix; nil for a key
    /// that is not 22 characters of the alphabet and `==`.
    ///
    /// The four spare bits of the 22nd character may be set: clients that draw random characters instead of
    /// random bytes set them, and nothing decodes the key.
    static func acceptValue(forKey key: UnsafeRawBufferPointer) -> String? {
        guard key.count == keyBytes, key.suffix(2).allSatisfy({ $0 == UInt8(ascii: "=") }),
            key.dropLast(2).allSatisfy({ Base64.value(of: $0) != nil })
        else { return nil }
        let suffix = acceptSuffix.rawBytes
        return withUnsafeTemporaryAllocation(byteCount: keyBytes + suffix.count, alignment: 1) { text in
            text.copyMemory(from: key)
            UnsafeMutableRawBufferPointer(rebasing: text[keyBytes...]).copyMemory(from: suffix)
            return Sha1.withDigest(of: UnsafeRawBufferPointer(text), Base64.encode)
        }
    }
}
