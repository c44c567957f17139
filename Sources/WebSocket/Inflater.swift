// Decompresses messages (RFC 7692 section 7.2.2), for all connections of a thread. Confined to that thread.

import Bytes

/// Inflates one message at a time, each from a state of its own (no context takeover), in pieces of bounded
/// size.
///
///     begin → next … next → (end or malformed) → begin → …
///
/// Nothing of a message stays here for a connection between two reads of its socket: a message is inflated
/// once all of it is there.
package final class Inflater {
    /// One step of a message.
    enum Step {
        /// The next bytes, never empty: valid until the next call.
        case bytes(UnsafeRawBufferPointer)
        case end
        case malformed
    }

    /// What one step gives at most.
    static let pieceBytes = 16 * 1024
    /// What a sender leaves out at the end of each message: an empty block without compression.
    private static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]

    private let stream = ZlibStream(.inflating)
    private let output = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Inflater.pieceBytes, alignment: 16)
    /// How much of the message and of the tail behind it is taken.
    private var takenBytes = 0
    /// A block said that it was the last; a message may all the same go on with another one (section
    /// 7.2.3.4).
    private var hasEnded = false

    package init() {}

    deinit { output.deallocate() }

    /// Begins a message; what was left of the one before is forgotten.
    func begin() {
        stream.reset()
        takenBytes = 0
        hasEnded = false
    }

    /// Goes on with a message.
    ///
    /// - Parameter payload: all of it, the same in each call.
    func next(of payload: UnsafeRawBufferPointer) -> Step {
        while true {
            if hasEnded {
                if takenBytes == payload.count { return .end }
                stream.reset()
                hasEnded = false
            }
            let isTail = takenBytes >= payload.count
            let step =
                isTail
                ? Inflater.tail.withUnsafeBytes {
                    stream.step($0.part(takenBytes - payload.count..<$0.count), into: output)
                } : stream.step(payload.part(takenBytes..<payload.count), into: output)
            takenBytes += step.takenBytes
            hasEnded = step.outcome == .ended
            // The tail is a block that is not the last.
            if step.outcome == .malformed || hasEnded && isTail { return .malformed }
            if step.givenBytes > 0 {
                return .bytes(UnsafeRawBufferPointer(rebasing: output[..<step.givenBytes]))
            }
            if isTail, takenBytes == payload.count + Inflater.tail.count {
                return stream.isBetweenBlocks ? .end : .malformed
            }
        }
    }
}
