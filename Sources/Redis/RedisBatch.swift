// Many small commands at once, for the price of few: publishing a file, a load. Pure value.

import Bytes
import CHiredis

/// PUBLISH commands in one run of bytes, sent in one write. Their answers are numbers, and are counted
/// without an object for each.
package struct RedisBatch {
    /// What has come of a batch, in the order of its commands.
    package enum News {
        /// So many answers, each the number of subscribers that received a message.
        case numbers([Int64])
        /// One answer that is an error: its text.
        case refused(String)
        /// One answer that is something else, as from a server that is no Redis.
        case noNumber
        /// The connection ended: nothing is known of all that have no answer yet.
        case lost

        /// How many commands it is about; nil for all that are left.
        var count: Int? {
            switch self {
            case .numbers(let numbers): numbers.count
            case .refused, .noNumber: 1
            case .lost: nil
            }
        }
    }

    private var bytes: [UInt8] = []
    /// How many commands it has.
    package private(set) var count = 0

    package init() {}

    package var byteCount: Int { bytes.count }

    /// Appends a command.
    ///
    /// - Parameter prefix: what stands before `channel` in the channel's name.
    package mutating func appendPublish(_ payload: [UInt8], to channel: [UInt8], prefix: [UInt8] = []) {
        append("*3\r\n$7\r\nPUBLISH\r\n$")
        bytes.append(decimal: prefix.count + channel.count)
        append("\r\n")
        bytes.append(contentsOf: prefix)
        bytes.append(contentsOf: channel)
        append("\r\n$")
        bytes.append(decimal: payload.count)
        append("\r\n")
        bytes.append(contentsOf: payload)
        append("\r\n")
        count += 1
    }

    /// Makes it empty, for the next commands.
    package mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        count = 0
    }

    private mutating func append(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Gives a copy to hiredis, as if it were one command.
    ///
    /// - Returns: false when memory runs out.
    func append(to context: UnsafeMutablePointer<redisContext>) -> Bool {
        bytes.withUnsafeBytes { bytes in
            let text = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            return redisAppendFormattedCommand(context, text, bytes.count) == REDIS_OK
        }
    }
}
