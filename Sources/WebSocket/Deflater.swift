// Compresses messages (RFC 7692 section 7.2.1). Confined to one thread.

import Bytes

/// Deflates one message at a time, each from a state of its own (no context takeover), so that everyone who
/// has negotiated it can read it.
package final class Deflater {
    /// What ends the flushed data of a message, and is left out.
    private static let tailBytes = 4

    private let stream = ZlibStream(.deflating(windowBits: PermessageDeflate.windowBits))
    private var output: [UInt8] = []

    package init() {}

    /// Runs `body` with the compressed payload of a frame; nil if that is no smaller than the message.
    ///
    /// - Complexity: O(count); memory for the largest message so far is kept.
    package func deflate<Value>(
        _ message: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Value
    ) -> Value? {
        // What does not fit is no smaller.
        let capacity = message.count + Deflater.tailBytes
        if output.count < capacity { output = [UInt8](repeating: 0, count: capacity) }
        stream.reset()
        return output.withUnsafeMutableBytes { output in
            let space = UnsafeMutableRawBufferPointer(rebasing: output[..<capacity])
            let step = stream.step(message, into: space)
            // Unless room is left, zlib may have more to give.
            guard step.givenBytes < capacity, step.givenBytes > Deflater.tailBytes else { return nil }
            return body(
                UnsafeRawBufferPointer(rebasing: output[..<(step.givenBytes - Deflater.tailBytes)]))
        }
    }
}
