// What a node is told when a token of it was revoked. Pure.

/// The message `revoked <token>` on a node's control channel: sent by the publisher, read by the node.
package enum RevocationMessage {
    /// The first word.
    package static let word: Substring = "revoked"

    /// The whole message.
    package static func bytes(_ token: Token) -> [UInt8] { Array(word.utf8) + [UInt8(ascii: " ")] + token.bytes }
}
