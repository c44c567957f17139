// A reply as hiredis holds it. Loop-confined.

import CHiredis

/// A view of a reply that hiredis owns: valid only inside the callback that receives it.
package struct RedisReply {
    private let reply: UnsafePointer<redisReply>

    init(_ reply: UnsafePointer<redisReply>) {
        self.reply = reply
    }

    /// The integer, when the reply is one.
    package var integer: Int64? {
        reply.pointee.type == REDIS_REPLY_INTEGER ? Int64(reply.pointee.integer) : nil
    }

    /// The bytes of a bulk string or a status line.
    package var bytes: UnsafeRawBufferPointer? {
        let type = reply.pointee.type
        guard type == REDIS_REPLY_STRING || type == REDIS_REPLY_STATUS else { return nil }
        return text
    }

    /// A bulk string or status line as text; bytes that are not UTF-8 are replaced.
    package var string: String? {
        bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The server's message, when the reply is an error: `NOAUTH Authentication required.`
    package var errorMessage: String? {
        reply.pointee.type == REDIS_REPLY_ERROR ? String(decoding: text, as: UTF8.self) : nil
    }

    /// How many elements an array has; 0 for anything else.
    package var count: Int {
        reply.pointee.type == REDIS_REPLY_ARRAY ? Int(reply.pointee.elements) : 0
    }

    /// An element of an array.
    package subscript(index: Int) -> RedisReply {
        precondition(index >= 0 && index < count, "no such element in the reply")
        return RedisReply(reply.pointee.element[index]!)
    }

    private var text: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: reply.pointee.str, count: Int(reply.pointee.len))
    }
}

/// Why a command has no reply.
package enum RedisFailure: Error, Equatable, Sendable {
    /// Redis could not be reached, or did not answer in time: nothing is known of what the command did.
    case unavailable(String)
    /// Redis refused the command, with its message.
    case refused(String)

    /// The reason, for a log line or a message.
    package var reason: String {
        switch self {
        case .unavailable(let reason), .refused(let reason): reason
        }
    }

    /// The server is a replica, which takes no writes: a master that was demoted. Within a script Redis 6
    /// puts its own words before the error's.
    package var isReadOnly: Bool {
        guard case .refused(let message) = self else { return false }
        return message.hasPrefix("READONLY") || message.contains("-READONLY ")
    }
}
