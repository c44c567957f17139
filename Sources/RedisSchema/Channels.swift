// The names in Redis that gateways and publishers agree on: channels and keys, all behind one optional
// prefix, so that several installations can share a Redis.

import Redis

/// Names of the pub/sub channels.
package struct Channels: Sendable {
    /// The form of a prefix, for error messages.
    package static let prefixForm = "at most 64 bytes without control characters and without room:"

    /// The prefix of a room's id.
    package let roomPrefix: [UInt8]
    private let gatewayPrefix: [UInt8]

    /// - Parameter prefix: of every name; empty by default, so that rooms are `room:<id>`.
    package init(prefix: String = "") {
        roomPrefix = Array((prefix + "room:").utf8)
        gatewayPrefix = Array((prefix + "gateway:").utf8)
    }

    /// Whether a text may be the prefix of all names: empty, or of the same characters as an identity.
    ///
    /// With the prefix `room:x:` every name would be a room of an installation without a prefix: a client
    /// there that joins `x:gateway:n1` would receive tokens. No other prefix makes names of the two the
    /// same, because neither a node's id nor a token nor a reply's id can have a colon, and every name of
    /// ours has one after its prefix. Further inside, `room:` is refused because the library for Redis takes
    /// what follows its first one for the room.
    package static func isPrefix(_ text: String) -> Bool {
        text.utf8.count <= 64 && (text.isEmpty || Identity(text) != nil)
            && !text.utf8.contains("room:".utf8)
    }

    /// The channel to which a room's notices are published.
    package func room(_ id: RoomId) -> [UInt8] { roomPrefix + id.bytes }

    /// A node's own channel: always subscribed, it anchors the subscription and carries control messages to
    /// the node.
    package func gateway(_ nodeId: String) -> [UInt8] { gatewayPrefix + Array(nodeId.utf8) }

    /// A channel for the answers to one question to nodes. It is never a node's own channel: a node's id has
    /// no colon.
    package func reply(_ id: ReplyId) -> [UInt8] { gatewayPrefix + Array("reply:\(id)".utf8) }

    /// The room of a channel; nil if it is not the channel of a room.
    package func room(ofChannel channel: [UInt8]) -> RoomId? {
        channel.withUnsafeBytes { room(ofChannel: $0) }
    }

    /// The room of a channel; nil if it is not the channel of a room.
    package func room(ofChannel channel: UnsafeRawBufferPointer) -> RoomId? {
        let prefixBytes = roomPrefix.count
        guard channel.count > prefixBytes, channel.prefix(prefixBytes).elementsEqual(roomPrefix) else {
            return nil
        }
        return RoomId(UnsafeRawBufferPointer(rebasing: channel[prefixBytes...]))
    }
}

/// Names of the keys.
package struct Keys: Sendable {
    private let clientPrefix: [UInt8]
    private let nodePrefix: [UInt8]
    private let oncePrefix: [UInt8]
    /// The set of the ids of all nodes, `roomcast:nodes`; nodes remove ids without a report now and then.
    package let nodes: [UInt8]
    /// The name of the present history of all rooms, `epoch`; made and replaced by nodes. In a Redis Cluster each slot
    /// has its own.
    package let epoch: [UInt8]

    /// - Parameter prefix: of every name; empty by default, so that records are `client:<token>`.
    package init(prefix: String = "") {
        clientPrefix = Array((prefix + "client:").utf8)
        nodePrefix = Array((prefix + "node:").utf8)
        oncePrefix = Array((prefix + "once:{").utf8)
        nodes = Array((prefix + "roomcast:nodes").utf8)
        epoch = Array((prefix + "epoch").utf8)
    }

    /// The key of the name of the present history of all rooms of a slot, `epoch:{<tag>}`, which is in that slot and
    /// moves with it.
    package func epoch(ofSlot slot: Int) -> [UInt8] { Keys.name(epoch + [UInt8(ascii: ":")], slot) }

    /// A key in a slot on which writes are tried, `client:{<tag>}`: no token has it, as none has a brace.
    package func probe(ofSlot slot: Int) -> [UInt8] { Keys.name(clientPrefix, slot) }

    private static func name(_ prefix: [UInt8], _ slot: Int) -> [UInt8] {
        prefix + [UInt8(ascii: "{")] + HashSlot.tag(of: slot) + [UInt8(ascii: "}")]
    }

    /// The key of a node's report.
    package func node(_ id: String) -> [UInt8] { nodePrefix + Array(id.utf8) }

    /// The key under which a notice to a room was published once: `once:{room:<id>}:<key>`, in the same slot
    /// of a Cluster as the room's stream.
    ///
    /// - Parameter room: the stream's key, which is the channel's name.
    package func once(_ key: OnceKey, of room: [UInt8]) -> [UInt8] {
        oncePrefix + room + Array("}:".utf8) + key.bytes
    }

    /// The length of the key of a token's record.
    package var clientBytes: Int { clientPrefix.count + Token.byteCount }

    /// Appends the key of a token's record.
    package func appendClient(_ token: Token, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: clientPrefix)
        token.append(to: &bytes)
    }

    /// The key of a token's record.
    package func client(_ token: Token) -> [UInt8] { clientPrefix + token.bytes }

    /// The token of a record's key; nil for another key.
    package func token(ofClient key: [UInt8]) -> Token? {
        guard key.starts(with: clientPrefix) else { return nil }
        return Token(Array(key.dropFirst(clientPrefix.count)))
    }

    /// The glob that all keys of records match, for SCAN: special characters in the prefix are escaped.
    package var clientPattern: [UInt8] {
        clientPrefix.flatMap { byte in
            [UInt8]("*?[]^\\".utf8).contains(byte) ? [UInt8(ascii: "\\"), byte] : [byte]
        } + [UInt8(ascii: "*")]
    }
}

/// Fields of the hash `client:<token>`.
package enum ClientField: String, CaseIterable, Sendable {
    /// The identity of a logged-in user; such a record has no `deviceId`.
    case userId
    /// The identity of a device without login; such a record has no `userId`.
    case deviceId
    /// `true` or `false`.
    case isLogin
    /// Unix time in milliseconds.
    case issuedAt
    /// The TTL with which the record was written, in seconds: nodes with other settings use it, too.
    case ttl
    /// The id of the node that holds the connection. Written on connecting, like the six below.
    case node
    /// The client's address.
    case ip
    /// Room ids joined by commas.
    case rooms
    /// Unix time in milliseconds by the node's clock: to show, never to compare.
    case connectedAt
    /// The number by which the node knows the connection.
    case connection
    /// The connection's place among those of its token, given out by Redis: a later one has a higher number.
    case order
    /// The last place given out, if the record does not name that connection yet.
    case allotted
    /// The only rooms that the token may enter, joined by commas; a record without it may enter any. Written
    /// when the token is issued.
    case allowedRooms
}
