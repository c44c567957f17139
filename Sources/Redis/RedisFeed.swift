// Subscribed channels for command-line tools, on a pipeline of their own. Confined to the thread that made it.
//
//     descriptor can be read → receive → next, next, … nil

/// A connection that has subscribed to some channels.
package final class RedisFeed {
    /// A published message.
    package struct Message: Equatable, Sendable {
        package let channel: [UInt8]
        package let payload: [UInt8]
    }

    private let redis: RedisPipeline
    private var waiting: [Message] = []

    /// Connects, subscribes, and returns when Redis has confirmed every channel: what is published from then on
    /// comes.
    ///
    /// - Parameter timeout: the longest wait for the connection, and for each confirmation.
    /// - Throws: `RedisPipelineError`; `loginRefused` also when the user may not subscribe to a channel.
    package init(to url: RedisURL, timeout: Duration, channels: [[UInt8]]) throws(RedisPipelineError) {
        redis = try RedisPipeline(to: url, timeout: timeout)
        for channel in channels { try redis.append([Array("SUBSCRIBE".utf8), channel]) }
        try redis.send()
        var confirmedCount = 0
        while confirmedCount < channels.count {
            guard let reply = try redis.receivedReply() else {
                try redis.receive()
                continue
            }
            if case .refused(let answer) = reply { throw .loginRefused(command: "SUBSCRIBE", answer: answer) }
            // What is published to one channel may come before another one is confirmed.
            if let message = Self.message(reply) { waiting.append(message) } else { confirmedCount += 1 }
        }
    }

    /// The connection, to wait on until it can be read.
    package var descriptor: Int32 { redis.descriptor }

    /// Takes what has come. To be called when `descriptor` can be read; waits otherwise.
    ///
    /// - Throws: `lost` when the connection breaks.
    package func receive() throws(RedisPipelineError) { try redis.receive() }

    /// The next message that has come whole; nil when more has to come.
    ///
    /// - Throws: `lost` when Redis says an error, or no reply at all.
    package func next() throws(RedisPipelineError) -> Message? {
        if !waiting.isEmpty { return waiting.removeFirst() }
        while let reply = try redis.receivedReply() {
            if case .refused(let answer) = reply { throw .lost(answer) }
            if let message = Self.message(reply) { return message }
        }
        return nil
    }

    /// Asks for a sign of life, which makes `descriptor` readable: a link that is dead in silence gives none.
    ///
    /// - Throws: `lost` when the connection breaks.
    package func ping() throws(RedisPipelineError) {
        try redis.append([Array("PING".utf8)])
        try redis.send()
    }

    private static func message(_ reply: RedisPipeline.Reply) -> Message? {
        guard case .array(let parts) = reply, parts.count == 3, parts[0] == .bytes(Array("message".utf8)),
            case .bytes(let channel) = parts[1], case .bytes(let payload) = parts[2]
        else { return nil }
        return Message(channel: channel, payload: payload)
    }
}
