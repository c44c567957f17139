// Compresses messages for all clients of a node that take them compressed. Loop-confined: belongs to its
// feed's loop.

import WebSocket

/// Makes a message's compressed frame, once for the node, while the node has a client that has negotiated
/// it.
///
/// Here and not in the workers: they would have to wait for each other, or each of them compress the message
/// of a large room.
final class MessageCompressor {
    private let minimumBytes: Int
    private let state: NodeState
    private let metrics: FeedMetrics
    private let deflater = Deflater()

    /// - Parameter minimumBytes: a smaller payload stays as it is.
    init(minimumBytes: Int, state: NodeState, metrics: FeedMetrics) {
        self.minimumBytes = minimumBytes
        self.state = state
        self.metrics = metrics
    }

    /// The compressed frame; nil if no client takes it, and if it would be no smaller.
    func frame(of payload: UnsafeRawBufferPointer) -> SharedBytes? {
        guard payload.count >= minimumBytes, payload.count <= Limits.compressedPayloadBytes,
            state.compressedClientCount > 0,
            let frame = deflater.deflate(payload, { SharedBytes.textFrame($0, isCompressed: true) })
        else { return nil }
        metrics.messagesCompressed.add(1)
        return frame
    }
}
