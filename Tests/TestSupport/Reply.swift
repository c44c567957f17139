// Replies of a server that a test keeps and compares.

import Redis

/// A reply, copied out of the client's memory.
package enum Reply: Equatable, Sendable {
    case integer(Int64)
    /// A bulk string or a status line.
    case bytes([UInt8])
    /// The text of an error reply: `NOPERM this user has no permissions …`.
    case refused(String)
    /// Also in place of nil.
    case array([Reply])

    fileprivate init(_ reply: RedisReply) {
        if let integer = reply.integer {
            self = .integer(integer)
        } else if let bytes = reply.bytes {
            self = .bytes(Array(bytes))
        } else if let text = reply.errorMessage {
            self = .refused(text)
        } else {
            self = .array((0..<reply.count).map { Reply(reply[$0]) })
        }
    }
}

extension RedisSession {
    /// The replies to commands, errors among them.
    package func replies(to commands: [[[UInt8]]]) throws -> [Reply] {
        var replies: [Reply] = []
        for command in commands {
            send(RedisCommand(command)) { result in
                switch result {
                case .success(let reply): replies.append(Reply(reply))
                case .failure(.refused(let text)): replies.append(.refused(text))
                case .failure(.unavailable): break
                }
            }
        }
        try wait { replies.count == commands.count }
        return replies
    }
}
