// The revocation of a token: a script that puts a tombstone in place of its record and notifies its connection's
// node. Pure.

import Redis

/// What came of the revocation of a token that had a record.
package struct Revocation: Equatable, Sendable {
    /// The node of the token's last connection; nil if it has never connected.
    package let node: String?
    /// How many received it on the node's channel: 0 if the node is gone.
    package let receiverCount: Int64
    /// Why Redis did not notify the node: the record is gone all the same.
    package let refusal: String?

    /// The life of a tombstone in seconds, if there is no record that says the token's.
    private static let defaultLifeSeconds: Int64 = 24 * 3600

    /// Deletes the record and notifies the node, in one step: a connection that begins later finds no record,
    /// and the node closes the one that began before. In the record's place stands a tombstone, for as long as
    /// the token would have lived: a node that has not heard, and restores the records of its connections,
    /// finds the name taken. It stands there also if there was no record, which Redis may just have lost. It is a
    /// text, so that the right to write one is no right to make tokens. A user without it revokes as well. It is
    /// written over the record: the master that a slot of a cluster leaves takes no key that it does not have.
    ///
    /// Replies with nothing if there is no record; otherwise with 1, the node if there is one, and what
    /// PUBLISH has said. ARGV: control channel prefix, the message (see `RevocationMessage`), the life of a
    /// tombstone for a record without one.
    private static let script = """
        local node = redis.pcall('HGET', KEYS[1], 'node')
        if type(node) == 'table' then
            if string.find(node.err, 'WRONGTYPE', 1, true) then return {} end
            return node
        end
        local ttl = redis.call('HGET', KEYS[1], 'ttl')
        if not (ttl and #ttl <= 7 and string.find(ttl, '^[1-9]%d*$')) then ttl = ARGV[3] end
        local found = redis.pcall('SET', KEYS[1], 'revoked', 'EX', ttl, 'XX')
        if type(found) == 'table' and found.err then
            if redis.call('DEL', KEYS[1]) == 0 then return {} end
        elseif not found then
            redis.pcall('SET', KEYS[1], 'revoked', 'EX', ttl)
            return {}
        end
        if not node then return {1} end
        return {1, node, redis.pcall('PUBLISH', ARGV[1] .. node, ARGV[2])}
        """

    /// The command that revokes a token. The script goes with it: it is short, and revocations are few.
    package static func command(_ token: Token, keys: Keys, channels: Channels) -> RedisCommand {
        RedisCommand([
            [UInt8]("EVAL"), [UInt8](script), [UInt8]("1"), keys.client(token), channels.gateway(""),
            RevocationMessage.bytes(token), [UInt8](defaultLifeSeconds),
        ])
    }

    /// Reads the reply to `command`.
    ///
    /// - Returns: nil when there was no such token.
    package init?(_ reply: RedisReply) {
        guard reply.count > 0 else { return nil }
        let published = reply.count > 2 ? reply[2] : nil
        node = reply.count > 1 ? reply[1].string : nil
        receiverCount = published?.integer ?? 0
        refusal = published?.errorMessage
    }
}

/// The message `revoked <token>` on a node's control channel: from any program that revokes, to the node.
package enum RevocationMessage {
    /// The first word.
    package static let word: Substring = "revoked"

    /// The whole message.
    package static func bytes(_ token: Token) -> [UInt8] {
        Array(word.utf8) + [UInt8(ascii: " ")] + token.bytes
    }
}
